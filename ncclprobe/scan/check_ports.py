"""What is wrong with ports and HCAs, by themselves, beside their likes on the node, and beside other nodes.

The fault is the odd one out: a port is judged by the port of the same name on the other nodes, and where there are none
by the ports of its kind on its own node.
"""

from __future__ import annotations

import functools
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

from ncclprobe.findings import Severity
from ncclprobe.names import LinkLayer, PortState
from ncclprobe.nodesets import fold, natural_key
from ncclprobe.records.scan import Hca, Port
from ncclprobe.scan import facts
from ncclprobe.scan.facts import fact
from ncclprobe.scan.rails import LAYERS, Rail, chosen_of, layer_of, main_rate, usable
from ncclprobe.scan.subjects import Node, Remark, listed, majority, port_name


class Seen(NamedTuple):
    """A port and where it is."""

    node: Node
    hca: Hca
    port: Port

    @property
    def kind(self) -> Hashable:
        """Return what ports of the same purpose share: link layer, board, port and PCI function."""
        function = (self.hca.pci_bus_id or "").rpartition(".")[2]
        board = (self.hca.board_id, self.hca.vendor_part_id)
        return self.port.link_layer, board if any(board) else self._netdev_kind, self.port.port, function

    @property
    def _netdev_kind(self) -> str:
        """Return the network interface's name without its place: ``ibps`` for ibp24s0, ``enpsf1`` for enp41s0f1."""
        return re.sub(r"(?<!f)\d+", "", self.port.netdev or "")

    def remark(self, severity: Severity, code: str, message: str, hint: str) -> Remark:
        """Return a remark about this port."""
        return Remark(self.node.label, port_name(self.hca, self.port), severity, code, message, hint)


def check_ports(nodes: Sequence[Node]) -> Iterator[Remark]:
    """Yield what is wrong with the nodes' ports and HCAs."""
    seen = [Seen(node, hca, port) for node in nodes for hca in node.host.hcas for port in hca.ports]
    yield from _states(seen)
    yield from _unknown_states(nodes)
    yield from _unnamed(nodes)
    layer = _layer(nodes)
    rails = {one.node.label: one.rails for one in chosen_of(nodes, layer)}
    yield from _rates(nodes, rails)
    yield from _mtus(rails)
    yield from _firmware(nodes)
    yield from _subnets(rails)


def _layer(nodes: Sequence[Node]) -> LinkLayer | None:
    return next((layer for layer in LAYERS if any(usable(node.host, layer) for node in nodes)), None)


# ---- states


class _Likes:
    """Ports that are alike, counted once for all of them that are DOWN."""

    def __init__(self) -> None:
        self.count = 0
        self.stated: Counter[str] = Counter()
        """Those whose state is known, by node."""
        self.active: Counter[str] = Counter()
        """Those that are ACTIVE, by node."""

    def add(self, one: Seen) -> None:
        self.count += 1
        if one.port.state is not None:
            self.stated[one.node.label] += 1
        if one.port.state is PortState.ACTIVE:
            self.active[one.node.label] += 1

    @functools.cached_property
    def totals(self) -> tuple[int, int]:
        """Return how many have a state, and how many are ACTIVE."""
        return self.stated.total(), self.active.total()

    @functools.cached_property
    def where(self) -> str:
        """Return the nodes of the ACTIVE ones, folded."""
        return fold(self.active)

    def elsewhere(self, node: str) -> str:
        """Return the nodes of the ACTIVE ones but for one node, folded."""
        return fold(name for name in self.active if name != node) if node in self.active else self.where


def _states(seen: Sequence[Seen]) -> Iterator[Remark]:
    by_name: dict[Hashable, _Likes] = defaultdict(_Likes)
    by_kind: dict[Hashable, _Likes] = defaultdict(_Likes)
    for one in seen:
        by_name[one.hca.name, one.port.port].add(one)
        by_kind[one.node.label, one.kind].add(one)
    for one in seen:
        if one.port.state is PortState.DOWN:
            yield _down(one, by_name[one.hca.name, one.port.port], by_kind[one.node.label, one.kind])
        elif one.port.state is PortState.INIT:
            yield _init(one)
        elif one.port.state is PortState.ARMED:
            message = "ARMED: the subnet manager has configured the port but not activated it"
            yield one.remark(Severity.WARNING, "port-armed", message, "scan again; if it stays, look at opensm's log")


def _down(one: Seen, same_name: _Likes, same_kind: _Likes) -> Remark:
    """Return a remark: an error where the port's likes are ACTIVE, else it may just be unused."""
    physical = f" ({one.port.phys_state})" if one.port.phys_state else ""
    stated, active = same_name.totals
    others, active = stated - same_name.stated[one.node.label], active - same_name.active[one.node.label]
    if others and 2 * active >= others:
        message = f"DOWN{physical}, while it is ACTIVE on {same_name.elsewhere(one.node.label)}"
        return one.remark(Severity.ERROR, "port-down", message, _down_hint(one.port))
    _, active = same_kind.totals
    if not others and active >= 2 and 2 * active > same_kind.count:
        message = f"DOWN{physical}, while {active} of the {same_kind.count} ports of its kind are ACTIVE"
        return one.remark(Severity.ERROR, "port-down", message, _down_hint(one.port))
    message = f"DOWN{physical}; it may be unused"
    return one.remark(Severity.INFO, "port-down", message, "nothing to do, unless a cable should be there")


def _down_hint(port: Port) -> str:
    physical = (port.phys_state or "").lower()
    if "disabled" in physical:
        return "it was disabled by an administrator: enable it (ibportstate, ip link set up, mlxlink), or find out why"
    if "polling" in physical:
        return "nothing answers at the other end: check cable, transceiver and switch port (mlxlink -d DEVICE)"
    return "check cable, transceiver and switch port (mlxlink, ibdiagnet), or leave the node out of the job"


def _init(one: Seen) -> Remark:
    if one.port.link_layer is LinkLayer.ETHERNET:
        message, hint = "INIT: the link is not configured yet", "check the network interface above it (ip link)"
    else:
        message = "INIT: the link is up, but no subnet manager has configured it"
        hint = (
            "start or repair the subnet manager (opensm, UFM) and check the port with sminfo; NCCL skips it till then"
        )
    return one.remark(Severity.ERROR, "port-init", message, hint)


def _unknown_states(nodes: Sequence[Node]) -> Iterator[Remark]:
    for node in nodes:
        names = [
            port_name(hca, port)
            for hca in node.host.hcas
            for port in hca.ports
            if port.state is None and port.link_layer in LAYERS
        ]
        if names:
            message = f"no state is given of {listed(names)}; taken for usable"
            hint = "add the output of ibv_devinfo, uncut: a port that is not ACTIVE must not be in NCCL_IB_HCA"
            yield Remark(node.label, "", Severity.WARNING, "port-state-unknown", message, hint)


def _unnamed(nodes: Sequence[Node]) -> Iterator[Remark]:
    for node in nodes:
        ports = fact(node.host, facts.UNNAMED_PORTS)
        if ports and not node.host.hcas:
            message = f"the text has ports without the name of their HCA ({ports}), so nothing is known of any HCA"
            hint = "keep the lines with the names: hca_id of ibv_devinfo, CA of ibstat"
            yield Remark(node.label, "", Severity.WARNING, "hca-unnamed", message, hint)


# ---- rates and MTUs, of rails only: what a management port has is nobody's concern


Rails = dict[str, tuple[Rail, ...]]


def _rates(nodes: Sequence[Node], rails: Rails) -> Iterator[Remark]:
    known: dict[tuple[str, int], list[tuple[str, Rail]]] = defaultdict(list)
    for node in nodes:
        for seen in (Rail(hca, port) for hca in node.host.hcas for port in hca.ports):
            if seen.port.rate_gbps and seen.port.state in (PortState.ACTIVE, None):
                known[seen.key].append((node.label, seen))
    told = set()
    for same_name in known.values():
        for label, rail, expected in _below(same_name):
            told.add((label, rail.key))
            yield _slower_than_elsewhere(label, rail, expected)
    for label, mine in rails.items():
        yield from _slower_than_beside(label, [rail for rail in mine if (label, rail.key) not in told], mine)


def _below(same_name: Sequence[tuple[str, Rail]]) -> Iterator[tuple[str, Rail, Rail]]:
    """Yield the ports slower than most of the same name, each with one of those most; at a tie the faster is right."""
    counted = Counter(rail.port.rate_gbps or 0.0 for _, rail in same_name)
    expected = max(counted, key=lambda rate: (counted[rate], rate))
    model = next(rail for _, rail in same_name if rail.port.rate_gbps == expected)
    yield from ((label, rail, model) for label, rail in same_name if (rail.port.rate_gbps or 0.0) < expected)


def _slower_than_elsewhere(label: str, rail: Rail, model: Rail) -> Remark:
    rates = f"{rail.port.rate_gbps:g} Gbit/s where most nodes have {model.port.rate_gbps:g}"
    if rail.hca.board_id and model.hca.board_id and rail.hca.board_id != model.hca.board_id:
        message = f"{rates}; it is another board ({rail.hca.board_id}, not {model.hca.board_id})"
        hint = "nodes of different hardware run at the slower one's speed; keep them in jobs of their own"
        return Remark(label, rail.name, Severity.WARNING, "rate-below-majority", message, hint)
    hint = "the link trained with fewer lanes or a lower speed: reseat or replace cable and transceiver, then mlxlink"
    return Remark(label, rail.name, Severity.ERROR, "rate-below-majority", rates, hint)


def _slower_than_beside(label: str, candidates: Sequence[Rail], rails: Sequence[Rail]) -> Iterator[Remark]:
    best = main_rate(rails)
    boards = {rail.hca.board_id for rail in rails if rail.port.rate_gbps == best}
    for rail in candidates:
        if best is None or not rail.port.rate_gbps or rail.port.rate_gbps >= best:
            continue
        message = f"{rail.port.rate_gbps:g} Gbit/s where the node's rails have {best:g}"
        alike = rail.hca.board_id in boards
        severity = Severity.WARNING if alike else Severity.INFO
        hint = "check its cable and switch port" if alike else "take it out of NCCL_IB_HCA if it is a storage port"
        yield Remark(label, rail.name, severity, "rate-below-majority", message, hint)


def _mtus(rails: Rails) -> Iterator[Remark]:
    expected = majority(rail.port.active_mtu for mine in rails.values() for rail in mine if rail.port.active_mtu)
    for label, mine in rails.items() if expected else ():
        odd = defaultdict(list)
        for rail in mine:
            if rail.port.active_mtu not in (expected, None):
                odd[rail.port.active_mtu].append(rail.name)
        for mtu, names in odd.items():
            message = f"MTU {mtu} on {listed(names)} where most rails have {expected}"
            hint = "set the same MTU on both ends of every rail (IB: the partition; RoCE: network interface and switch)"
            yield Remark(label, "", Severity.WARNING, "mtu-differs", message, hint)


# ---- firmware and subnets


def _firmware(nodes: Sequence[Node]) -> Iterator[Remark]:
    versions: dict[Hashable, Counter[str]] = defaultdict(Counter)
    for node in nodes:
        for hca in node.host.hcas:
            versions[_model(hca)].update([hca.fw_version] if hca.fw_version else [])
    common = {model: _most_common_version(counted) for model, counted in versions.items()}
    for node in nodes:
        odd = defaultdict(list)
        for hca in node.host.hcas:
            expected = common[_model(hca)]
            if hca.fw_version and hca.fw_version != expected:
                odd[hca.fw_version, expected, hca.board_id or f"part {hca.vendor_part_id}"].append(hca.name)
        for (version, expected, board), names in odd.items():
            message = f"firmware {version} on {listed(names)} where most HCAs of {board} have {expected}"
            hint = "bring all HCAs of a kind to one version (mlxfwmanager)"
            yield Remark(node.label, "", Severity.WARNING, "firmware-differs", message, hint)


def _model(hca: Hca) -> Hashable:
    """Return what HCAs with the same firmware share; the name where the source states no model."""
    return hca.board_id or hca.vendor_part_id or hca.name


def _most_common_version(versions: Counter[str]) -> str:
    return max(versions, key=lambda version: (versions[version], natural_key(version)), default="")


def _subnets(rails: Rails) -> Iterator[Remark]:
    """Remark where InfiniBand ports have different subnet managers: another LID of the manager is another subnet."""
    by_rail: dict[tuple[str, int], dict[str, int]] = defaultdict(dict)
    for label, mine in rails.items():
        managers = {rail.name: rail.port.sm_lid for rail in mine if _managed(rail.port) and rail.port.sm_lid}
        for rail in mine:
            if rail.name in managers:
                by_rail[rail.key][label] = managers[rail.name]
        if len(set(managers.values())) > 1:
            yield _several_subnets(label, managers)
    for (name, port), lids in by_rail.items():
        if len(set(lids.values())) > 1:
            yield _other_fabric(name, port, lids)


def _managed(port: Port) -> bool:
    return layer_of(port) is LinkLayer.INFINIBAND and port.state is PortState.ACTIVE


def _by_lid(lids: dict[str, int]) -> list[tuple[int, list[str]]]:
    """Return the names that have each LID, in its order."""
    found: dict[int, list[str]] = defaultdict(list)
    for name, lid in lids.items():
        found[lid].append(name)
    return sorted(found.items())


def _several_subnets(label: str, managers: dict[str, int]) -> Remark:
    shown = "; ".join(f"LID {lid}: {listed(names, 4)}" for lid, names in _by_lid(managers))
    message = f"the rails belong to {len(set(managers.values()))} subnets, by their subnet manager's LID ({shown})"
    hint = "fine where rails are separate fabrics on every node; traffic must then stay on its rail (NCCL_CROSS_NIC=0)"
    return Remark(label, "", Severity.INFO, "several-subnets", message, hint)


def _other_fabric(name: str, port: int, lids: dict[str, int]) -> Remark:
    shown = "; ".join(f"LID {lid} on {fold(labels)}" for lid, labels in _by_lid(lids))
    message = f"the subnet manager differs between nodes ({shown}), so this rail is not one fabric"
    hint = "check where it is cabled to, and that the HCAs are numbered alike on every node"
    return Remark("", f"{name}:{port}", Severity.WARNING, "rail-subnet-differs", message, hint)
