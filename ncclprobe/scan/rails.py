"""Which ports NCCL should use on a node, and what is left out and why.

Ports that are ACTIVE (or whose state the source doesn't say), InfiniBand where any is, else RoCE; what NCCL's
InfiniBand transport doesn't serve is left out with its reason.

Source: NCCL 2.28.9, src/transport/net_ib.cc (``ncclIbInit`` takes ACTIVE ports of either link layer).
"""

from __future__ import annotations

import functools
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ncclprobe.findings import Severity
from ncclprobe.names import LinkLayer, PortState
from ncclprobe.records.scan import Hca, Host, Port
from ncclprobe.scan.subjects import Node, Remark, listed, majority, port_name

LAYERS = (LinkLayer.INFINIBAND, LinkLayer.ETHERNET)
"""In order of preference."""

_USABLE = (PortState.ACTIVE, None)
_EFA_PARTS = (0xEFA0, 0xEFA1, 0xEFA2, 0xEFA3)
_VIRTUAL_PARTS = (0x1004, 0x1012, 0x1014, 0x1016, 0x1018, 0x101A, 0x101C, 0x101E, 0xA2D3)
"""NVIDIA's virtual functions (SR-IOV). Source: the PCI ID database, vendor 15b3."""


Identity = tuple[object, ...]
"""What is the same of a rail on every node, with its board."""
Usual = Mapping[Identity, float]
"""The rails of half of the nodes or more, with their highest rate."""


class Rail(NamedTuple):
    """A port that NCCL could use."""

    hca: Hca
    port: Port

    @property
    def key(self) -> tuple[str, int]:
        """Return what is the same on every node."""
        return self.hca.name, self.port.port

    @property
    def name(self) -> str:
        """Return how NCCL_IB_HCA names it."""
        return port_name(self.hca, self.port)


class Chosen(NamedTuple):
    """What one node has to offer."""

    node: Node
    rails: tuple[Rail, ...]
    remarks: tuple[Remark, ...]


def usable(host: Host, layer: LinkLayer) -> tuple[Rail, ...]:
    """Return the ports of one link layer that NCCL could use."""
    return tuple(
        Rail(hca, port)
        for hca in host.hcas
        if unserved(hca) is None
        for port in hca.ports
        if port.state in _USABLE and layer_of(port) is layer
    )


def layer_of(port: Port) -> LinkLayer | None:
    """Return a port's link layer; one that has a subnet manager is InfiniBand, as rdma link shows it."""
    return port.link_layer or (LinkLayer.INFINIBAND if port.sm_lid else None)


def chosen_of(nodes: Sequence[Node], layer: LinkLayer | None) -> list[Chosen]:
    """Return each node's rails of the fleet's link layer, and remarks on what is left out.

    A port that is a rail on most nodes is one where its link trained slower, too: it is repaired, not left out.

    Args:
        nodes: Those that have ports.
        layer: None where no node has a usable port.
    """
    alone = [chosen_rails(node, layer) for node in nodes]
    usual = _usual(alone)
    return [chosen_rails(node, layer, usual) for node in nodes] if usual else alone


def _usual(alone: Sequence[Chosen]) -> Usual:
    rates: dict[Identity, list[float]] = defaultdict(list)
    for rail in (rail for one in alone for rail in one.rails):
        rates[_identity(rail)].append(rail.port.rate_gbps or 0.0)
    return {identity: max(found) for identity, found in rates.items() if 2 * len(found) >= len(alone) > 1}


def _identity(rail: Rail) -> Identity:
    return *rail.key, rail.hca.board_id


def chosen_rails(node: Node, layer: LinkLayer | None, usual: Usual | None = None) -> Chosen:
    """Return one node's rails; those of ``usual`` are rails where they, or the node's others, trained slower, too."""
    rails, virtual = _left_out(node, usable(node.host, layer) if layer else (), _virtual)
    remarks = [*_not_served(node), *_unknown_layer(node), *_ethernet_among_infiniband(node, layer), *virtual]
    if layer is LinkLayer.ETHERNET:
        rails, left_out = _without_management(node, rails, usual or {})
        remarks += left_out
    remarks += [] if rails else _nothing_usable(node, layer)
    return Chosen(node, rails, tuple(remarks))


def unserved(hca: Hca) -> str | None:
    """Return why NCCL's InfiniBand transport doesn't serve an HCA well, None where it does."""
    transport = (hca.transport or "").lower()
    if re.match(r"hfi1|opa", hca.name) or "omni-path" in (hca.board_id or "").lower():
        return "Omni-Path, whose own path is PSM2 or OPX through an OFI plugin"
    if hca.name.startswith("efa") or hca.vendor_part_id in _EFA_PARTS:
        return "EFA, which NCCL reaches through the AWS OFI plugin"
    if re.match(r"rxe|siw", hca.name):
        return "RDMA in software, no faster than NCCL's sockets"
    if transport and not transport.startswith(("infiniband", "ib")):
        return f"transport {hca.transport}, which NCCL's InfiniBand transport doesn't serve"
    if hca.vendor_part_id == 0:  # rxe and siw under names that udev gave them
        return "part number 0, as RDMA in software has, which is no faster than NCCL's sockets"
    return None


def _not_served(node: Node) -> list[Remark]:
    hint = "nothing to do for NCCL_IB_HCA"
    return [
        Remark(node.label, hca.name, Severity.INFO, "hca-not-served", f"left out of NCCL_IB_HCA: {reason}", hint)
        for hca in node.host.hcas
        if (reason := unserved(hca))
    ]


def _unknown_layer(node: Node) -> list[Remark]:
    names = [
        port_name(hca, port)
        for hca in node.host.hcas
        if unserved(hca) is None
        for port in hca.ports
        if layer_of(port) not in LAYERS and port.state in _USABLE
    ]
    if not names:
        return []
    message = f"left out of NCCL_IB_HCA: neither InfiniBand nor Ethernet is said of {listed(names)}"
    return [Remark(node.label, "", Severity.WARNING, "link-layer-unknown", message, "add the output of ibv_devinfo")]


def _ethernet_among_infiniband(node: Node, layer: LinkLayer | None) -> list[Remark]:
    names = [rail.name for rail in usable(node.host, LinkLayer.ETHERNET)]
    if layer is not LinkLayer.INFINIBAND or not names or not usable(node.host, layer):
        return []
    message = f"Ethernet among InfiniBand: {listed(names)} left out of NCCL_IB_HCA"
    hint = "NCCL by itself takes them too, which fails or slows the job; set NCCL_IB_HCA as recommended here"
    return [Remark(node.label, "", Severity.WARNING, "ethernet-among-infiniband", message, hint)]


def _nothing_usable(node: Node, layer: LinkLayer | None) -> list[Remark]:
    """Remark that a node has no port to offer, where the source says enough to know it."""
    ports = [port for hca in node.host.hcas if unserved(hca) is None for port in hca.ports]
    if not ports or any(layer_of(port) not in LAYERS and port.state in _USABLE for port in ports):
        return []
    states = ", ".join(f"{count} × {state}" for state, count in sorted(Counter(map(_state, ports)).items()))
    message = f"no {f'{layer} ' if layer else ''}port that NCCL can use; its ports are {states}"
    if not any(layer_of(port) is layer for port in ports) and any(usable(node.host, other) for other in LAYERS):
        hint = "keep it in jobs of its own: NCCL does not connect ports of InfiniBand and of RoCE"
    else:
        hint = "bring the ports up, or leave this node out of the job; NCCL would fall back to sockets or fail"
    return [Remark(node.label, "", Severity.ERROR, "no-usable-hca", message, hint)]


def _state(port: Port) -> str:
    return " ".join(str(part) for part in (port.link_layer, port.state) if part) or "unknown"


Outlier = Callable[[Rail], str | None]


def _left_out(
    node: Node, rails: Sequence[Rail], *outliers: Callable[[Sequence[Rail]], Outlier]
) -> tuple[tuple[Rail, ...], list[Remark]]:
    """Return the rails that are no outliers, and remarks on those that are; each kind among what the last one left."""
    remarks: list[Remark] = []
    hint = "name it in NCCL_IB_HCA yourself if it is a rail after all"
    for outlier in outliers:
        reasons = [(rail, outlier(rails)(rail)) for rail in rails]
        remarks += [
            Remark(node.label, rail.name, Severity.INFO, "hca-left-out", f"left out of NCCL_IB_HCA: {reason}", hint)
            for rail, reason in reasons
            if reason
        ]
        rails = [rail for rail, reason in reasons if not reason]
    return tuple(rails), remarks


def _virtual(rails: Sequence[Rail]) -> Outlier:
    """Tell virtual functions beside physical ones of their board; alone, as in a virtual machine, they are rails."""
    physical = {_link(rail) for rail in rails if rail.hca.vendor_part_id and not _is_virtual(rail.hca)}

    def reason(rail: Rail) -> str | None:
        shares = _is_virtual(rail.hca) and _board(rail.hca) and _link(rail) in physical
        return "a virtual function, which shares the link of a physical one" if shares else None

    return reason


def _is_virtual(hca: Hca) -> bool:
    return hca.vendor_part_id in _VIRTUAL_PARTS


def _link(rail: Rail) -> tuple[str | None, float | None]:
    """Return what a virtual function has from its physical one."""
    return _board(rail.hca), rail.port.rate_gbps


def _board(hca: Hca) -> str | None:
    return hca.board_id or hca.fw_version  # ibstat states no board


# ---- RoCE: rails among all kinds of Ethernet ports


def _without_management(node: Node, rails: Sequence[Rail], usual: Usual) -> tuple[tuple[Rail, ...], list[Remark]]:
    """Return the rails of the rate with the most bandwidth in all, without bonds and boards that stand apart."""
    return _left_out(node, rails, functools.partial(_other_rate, usual=usual), _other_bonding, _other_board)


def _other_rate(rails: Sequence[Rail], usual: Usual) -> Outlier:
    best = main_rate(rails)

    def reason(rail: Rail) -> str | None:
        rate = rail.port.rate_gbps
        if best is None or rate in (best, None):
            return None
        if (expected := usual.get(_identity(rail))) and (rate < expected or rate > best):
            return None
        return f"{rate:g} Gbit/s where the rails have {best:g}; a management or storage port"

    return reason


def _other_bonding(rails: Sequence[Rail]) -> Outlier:
    bonds = sum(rail.hca.bond for rail in rails)
    return lambda rail: "a bond among single ports" if rail.hca.bond and 2 * bonds <= len(rails) > 1 else None


def _other_board(rails: Sequence[Rail]) -> Outlier:
    """Tell rails from the rest by their board, only where no rate does."""
    board = None if any(rail.port.rate_gbps for rail in rails) else majority(rail.hca.board_id for rail in rails)

    def reason(rail: Rail) -> str | None:
        if board is None or rail.hca.board_id in (board, None):
            return None
        return f"board {rail.hca.board_id} where most have {board}, and no rate is given"

    return reason


def main_rate(rails: Sequence[Rail]) -> float | None:
    """Return the rate at which the rails have the most bandwidth in all, in Gbit/s; None where none is known.

    Eight rails at 400 outweigh four management ports at 100, and a lone fast uplink.
    """
    totals: Counter[float] = Counter()
    for rail in rails:
        totals.update({rail.port.rate_gbps: 1} if rail.port.rate_gbps else {})
    return max(totals, key=lambda rate: (rate * totals[rate], rate), default=None)
