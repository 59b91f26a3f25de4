"""``ibdev2netdev`` with and without ``-v``, ``rdma link``, ``rdma dev`` and ``ibv_devices`` -> HCAs: one for each line.

The ``(Up)`` that ibdev2netdev ends in is the network interface's state; the port's stands before the arrow, with
``-v`` alone.

Source: MLNX_OFED 24.10, ibdev2netdev; iproute2 6.11, rdma/link.c (old versions print ``8/1: mlx5_0/1:`` for
``link mlx5_0/1``) and rdma/dev.c; rdma-core 58, libibverbs/examples/device_list.c.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable

from ncclprobe.captured import Line
from ncclprobe.records.scan import Hca, Port
from ncclprobe.scan.parsers import values

ARROW = re.compile(r"(?<![\w.:-])port\s+(?P<port>\d{1,3})\s*(?:\((?P<state>[A-Z_ ]{2,20})\)\s*)?=+>")
LINK = re.compile(r"(?<![\w./:-])(?P<name>[A-Za-z][\w.-]*)/(?P<port>\d{1,3}):?\s+(?P<rest>\w.*)")
_LINK_WORDS = ("state", "physical_state", "netdev", "lid", "sm_lid", "subnet_prefix")
DEVICE = re.compile(r"(?<![\w./-])(?P<name>[A-Za-z][\w.-]*):\s+(?P<rest>node_type\s.*)")
TABLE = re.compile(r"^\W*device\s+node GUID\s*$")
_TABLE_ROW = re.compile(r"^\W*(?P<name>[A-Za-z][\w.-]*)\s+(?P<guid>[0-9a-f]{16})$")
_ADDRESS = re.compile(r"(?<![\w:.])(?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7](?![\w.])", re.IGNORECASE)


def read(lines: Iterable[Line]) -> list[Hca]:
    """Return an HCA with one port for each line of ibdev2netdev."""
    return [hca for line in lines if (match := ARROW.search(line.text)) and (hca := _arrow(line.text, match))]


def _arrow(text: str, match: re.Match[str]) -> Hca | None:
    before, after = text[: match.start()].split(), text[match.end() :].split()
    address = _ADDRESS.search(text[: match.start()])
    if address:
        before = text[address.end() : match.start()].split()
    name = (before[0] if address or "(" in text[: match.start()] else before[-1]) if before else ""
    if not re.fullmatch(r"[A-Za-z][\w.-]*", name):
        return None
    netdev = after[0] if after and not after[0].startswith("(") else None
    port = Port(port=int(match["port"]), state=values.state(match["state"] or ""), netdev=netdev)
    firmware = re.search(r"\bfw (\d[\w.]*)", text[: match.start()])
    part = re.search(r"\((MT\d+)\b", text[: match.start()])
    return Hca(
        name=name,
        ports=(port,),
        fw_version=firmware[1] if firmware else None,
        vendor_part_id=values.part_id(part[1]) if part else None,
        pci_bus_id=values.pci_bus_id(address[0]) if address else None,
        bond=values.is_bond(name, netdev),
    )


def is_link(text: str) -> bool:
    """Return whether a line is one of ``rdma link``."""
    match = LINK.search(text) if "state" in text else None
    return bool(match and match["rest"].split(maxsplit=1)[0] in _LINK_WORDS)


def read_links(lines: Iterable[Line]) -> list[Hca]:
    """Return an HCA with one port for each line of ``rdma link``."""
    return [_link(match) for line in lines if is_link(line.text) and (match := LINK.search(line.text))]


def _link(match: re.Match[str]) -> Hca:
    words = match["rest"].split()
    stated = dict(reversed(list(itertools.pairwise(words))))
    port = Port(
        port=int(match["port"]),
        state=values.state(stated.get("state", "")),
        phys_state=values.word(stated.get("physical_state", "")),
        lid=values.integer(stated.get("lid", "")),
        sm_lid=values.integer(stated.get("sm_lid", "")),
        netdev=stated.get("netdev"),
    )
    return Hca(name=match["name"], ports=(port,), bond=values.is_bond(match["name"], port.netdev))


def read_devices(lines: Iterable[Line]) -> list[Hca]:
    """Return an HCA without ports for each line of ``rdma dev``."""
    return [_device(match) for line in lines if (match := DEVICE.search(line.text))]


def _device(match: re.Match[str]) -> Hca:
    words = match["rest"].split()
    stated = dict(reversed(list(itertools.pairwise(words))))
    return Hca(
        name=match["name"],
        fw_version=stated.get("fw"),
        node_guid=values.guid(stated.get("node_guid", "")),
        bond=values.is_bond(match["name"]),
    )


def read_table(lines: Iterable[Line]) -> list[Hca]:
    """Return an HCA without ports for each row of ``ibv_devices``."""
    rows = [match for line in lines if (match := _TABLE_ROW.match(line.text))]
    return [Hca(name=row["name"], node_guid=values.guid(row["guid"]), bond=values.is_bond(row["name"])) for row in rows]
