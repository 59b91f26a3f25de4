"""The variables that there are grounds for, each with its reason.

NCCL_IB_HCA in exact form; in a fleet the names that every node can use, since different names hang the job. For RoCE
also NCCL_IB_GID_INDEX, where every port has its RoCE v2 address at the same index: IPv4, or IPv6 where none has IPv4.

Source: NCCL 2.28.9, src/misc/utils.cc (``matchIf``: after ``=`` exact, else a prefix), src/transport/net_ib.cc
(``MAX_IB_DEVS``, ``ncclIbGetGidIndex``); different names a node: NVIDIA/nccl#1277.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ncclprobe.findings import Finding, Severity
from ncclprobe.names import LinkLayer
from ncclprobe.nodesets import fold, natural_key
from ncclprobe.records.base import EnvVariable
from ncclprobe.records.scan import Gid, Host
from ncclprobe.scan.rails import LAYERS, Chosen, Rail, chosen_of, main_rate, usable
from ncclprobe.scan.subjects import Remark, labelled, listed, told

MAX_HCAS = 32
"""Source: NCCL 2.28.9, src/transport/net_ib.cc (``MAX_IB_DEVS``)."""

Key = tuple[str, int]


class Recommendation(NamedTuple):
    """What to set, and what was left out and why."""

    env: tuple[EnvVariable, ...]
    findings: tuple[Finding, ...]


def recommend(hosts: Iterable[Host]) -> Recommendation:
    """Return the variables for all of the hosts together; none where nothing is usable."""
    nodes = [node for node in labelled(hosts) if any(hca.ports for hca in node.host.hcas)]
    layer = next((layer for layer in LAYERS if any(usable(node.host, layer) for node in nodes)), None)
    chosen = chosen_of(nodes, layer)
    having = [one for one in chosen if one.rails]
    keys, remarks = _common(having)
    remarks = [remark for one in chosen for remark in one.remarks] + remarks
    if not keys or layer is None:
        return Recommendation((), told(remarks, nodes))
    names = _names(keys, having)
    env = [EnvVariable(name="NCCL_IB_HCA", value="=" + ",".join(names), reason=_reason(names, layer, chosen))]
    if layer is LinkLayer.ETHERNET:
        gid_env, gid_remarks = _gid_index(keys, having)
        env, remarks = env + gid_env, remarks + gid_remarks
    return Recommendation(tuple(env), told(remarks, nodes))


def _common(having: Sequence[Chosen]) -> tuple[list[Key], list[Remark]]:
    """Return the rails that every node has, the main rate's first, and remarks on the others."""
    if not having:
        return [], []
    on: dict[Key, list[Chosen]] = defaultdict(list)
    for one in having:
        for rail in one.rails:
            on[rail.key].append(one)
    common = [key for key, nodes in on.items() if len(nodes) == len(having)]
    remarks = [_not_everywhere(key, nodes, having) for key, nodes in on.items() if len(nodes) < len(having)]
    if not common:
        return [], [*remarks, _no_common(having)]
    best = main_rate([rail for one in having for rail in one.rails])
    slower = {rail.key for one in having for rail in one.rails if best and rail.port.rate_gbps not in (best, None)}
    ordered = sorted(common, key=lambda key: (key in slower, natural_key(key[0]), key[1]))
    return ordered[:MAX_HCAS], remarks + _too_many(ordered)


def _not_everywhere(key: Key, nodes: Sequence[Chosen], having: Sequence[Chosen]) -> Remark:
    there = {one.node.label for one in nodes}
    lacking = fold(one.node.label for one in having if one.node.label not in there)
    rail = next(rail for rail in nodes[0].rails if rail.key == key)
    message = f"usable on {fold(there)} but not on {lacking}; left out of NCCL_IB_HCA on every node"
    hint = f"repair or rename it on {lacking}, or leave {lacking} out of the job: different HCAs a node hang or slow it"
    return Remark("", rail.name, Severity.WARNING, "rail-not-on-every-node", message, hint)


def _no_common(having: Sequence[Chosen]) -> Remark:
    some = "; ".join(f"{one.node.label}: {listed([rail.name for rail in one.rails], 4)}" for one in having[:4])
    message = f"no HCA is usable on every node under the same name ({some}), so there is no NCCL_IB_HCA for all of them"
    hint = "give the HCAs the same names on every node (rdma-core's persistent naming), or run jobs on nodes that agree"
    return Remark("", "", Severity.ERROR, "no-common-hca", message, hint)


def _too_many(keys: Sequence[Key]) -> list[Remark]:
    if len(keys) <= MAX_HCAS:
        return []
    message = f"{len(keys)} usable ports, of which NCCL takes {MAX_HCAS}; the rest is left out of NCCL_IB_HCA"
    hint = "choose the rails by hand if these are not the ones nearest to the GPUs"
    return [Remark("", "", Severity.WARNING, "too-many-hcas", message, hint)]


def _names(keys: Sequence[Key], having: Sequence[Chosen]) -> list[str]:
    """Return NCCL's notation: with the port where the HCA has several on any node."""
    several = {rail.hca.name for one in having for rail in one.rails if len(rail.hca.ports) > 1}
    return [f"{name}:{port}" if name in several else name for name, port in keys]


def _reason(names: Sequence[str], layer: LinkLayer, chosen: Sequence[Chosen]) -> str:
    known = [rail.port.state is not None for one in chosen for rail in one.rails]
    state = "" if not any(known) else "ACTIVE " if all(known) else "ACTIVE, as far as is known, "
    ports = {(hca.name, port.port) for one in chosen for hca in one.node.host.hcas for port in hca.ports}
    kind = "InfiniBand" if layer is LinkLayer.INFINIBAND else "RoCE"
    where = f" on all {len(chosen)} nodes" if len(chosen) > 1 else ""
    return f"{len(names)} of {len(ports)} ports are {state}{kind} rails{where}; {_exactness(names, ports)}"


def _exactness(names: Sequence[str], ports: Iterable[Key]) -> str:
    """Say why the list begins with ``=``, by the HCAs' own names where they show it."""
    hcas = sorted({name for name, _ in ports}, key=natural_key)
    for name in names:
        longer = [other for other in hcas if other != name and other.startswith(name)]
        if longer:
            return f"= matches exactly, without it {name} also takes {listed(longer, 3)}"
    return "= matches exactly, without it a name is a prefix"


# ---- RoCE's GID index


def roce_v2_indices(gids: Iterable[Gid], family: str = "IPv4") -> set[int]:
    """Return the indices of a port's RoCE v2 GIDs that hold an address of a family, link-local ones left out."""
    return {
        gid.index
        for gid in gids
        if gid.index is not None and (gid.type or "").lower().endswith("v2") and _family(gid.gid) == family
    }


def _family(gid: str) -> str | None:
    try:
        address = ipaddress.IPv6Address(gid)
    except ValueError:
        return None
    if address.is_link_local or address.is_unspecified or address.is_loopback:
        return None
    return "IPv4" if address.ipv4_mapped else "IPv6"


def _gid_index(keys: Sequence[Key], having: Sequence[Chosen]) -> tuple[list[EnvVariable], list[Remark]]:
    """Return NCCL_IB_GID_INDEX where every rail agrees, else a remark that says why not.

    By itself NCCL looks for IPv4 alone (NCCL_IB_ADDR_FAMILY); the index holds for IPv6, too.
    """
    rails = [(one.node.label, rail) for one in having for rail in one.rails if rail.key in keys]
    indices = [roce_v2_indices(rail.port.gids) for _, rail in rails]
    family = "IPv4" if any(indices) else "IPv6"
    shared = set.intersection(*(roce_v2_indices(rail.port.gids, family) for _, rail in rails))
    if shared:
        reason = f"RoCE v2 with an {family} address is at index {min(shared)} on every rail"
        return [EnvVariable(name="NCCL_IB_GID_INDEX", value=str(min(shared)), reason=reason)], []
    return [], [_gid_doubt(rails, indices)]


def _disagree(indices: Sequence[set[int]]) -> bool:
    """Return whether the rails that have indices have none in common."""
    known = [found for found in indices if found]
    return bool(known) and not set.intersection(*known)


def _gid_doubt(rails: Sequence[tuple[str, Rail]], indices: Sequence[set[int]]) -> Remark:
    shown_ones = [
        (one, found) for one, found in zip(rails, indices, strict=True) if any(gid.type for gid in one[1].port.gids)
    ]
    if len(shown_ones) < len(rails) and not _disagree(indices):
        message = "the source shows no GID table with types for every rail: there are no grounds for NCCL_IB_GID_INDEX"
        return Remark("", "", Severity.INFO, "gid-index-unknown", message, "add ibv_devinfo -v or show_gids")
    named: dict[str, list[str]] = defaultdict(list)
    for (label, rail), found in shown_ones:
        named[fold(map(str, sorted(found))) or "none"].append("/".join(filter(None, (label, rail.name))))
    rarest_first = sorted(named.items(), key=lambda item: len(item[1]))
    shown = "; ".join(f"{found} on {listed(names, 4)}" for found, names in rarest_first[:4])
    message = f"no GID index is RoCE v2 with an IPv4 address on every rail: {shown}"
    remedy = (
        "further addresses of the odd ones shift theirs" if "none" not in named else "give every rail an IPv4 address"
    )
    hint = f"{remedy}; till then NCCL 2.21 and later looks for an index on each port by itself"
    return Remark("", "", Severity.WARNING, "gid-index-differs", message, hint)
