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
_AFTER_STATE = re.compile(r"(?<=\(Up\))|(?<=\(Down\))")
_BEFORE_LINK = re.compile(r"(?=link [A-Za-z][\w.-]*/\d+:? )")
_LINK_GOES_ON = re.compile(r"[ \t]+(?:state|physical_state|netdev|lid|sm_lid|lmc) ")
_LINK_WORDS = ("state", "physical_state", "netdev", "lid", "sm_lid", "subnet_prefix")
DEVICE = re.compile(r"(?<![\w./-])(?P<name>[A-Za-z][\w.-]*):\s+(?P<rest>node_type\s.*)")
TABLE = re.compile(r"^\W*device\s+node GUID\s*$")
_TABLE_ROW = re.compile(r"^\W*(?P<name>[A-Za-z][\w.-]*)\s+(?P<guid>[0-9a-f]{16})$")
_ADDRESS = re.compile(r"(?<![\w:.])(?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7](?![\w.])", re.IGNORECASE)


def read(lines: Iterable[Line]) -> list[Hca]:
    """Return an HCA with one port for each line of ibdev2netdev, also where line ends were lost."""
    parts = (part for line in lines for part in _AFTER_STATE.split(line.text))
    return [hca for part in parts if (match := ARROW.search(part)) and (hca := _arrow(part, match))]


def _arrow(text: str, match: re.Match[str]) -> Hca | None:
    front, after = text[: match.start()], text[match.end() :].split()
    address = _ADDRESS.search(front)
    words = front[address.end() if address else 0 :].split()
    name = (words[0] if address or "(" in front else words[-1]).removeprefix("ibdev2netdev") if words else ""
    if not re.fullmatch(r"[A-Za-z][\w.-]*", name):
        return None
    netdev = after[0] if after and not after[0].startswith("(") else None
    port = Port(port=int(match["port"]), state=values.state(match["state"] or ""), netdev=netdev)
    firmware, part = re.search(r"\bfw (\d[\w.]*)", front), re.search(r"\((MT\d+)\b", front)
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
    match = LINK.search(text) if "/" in text else None
    return bool(match and match["rest"].split(maxsplit=1)[0] in _LINK_WORDS)


def read_links(lines: Iterable[Line]) -> list[Hca]:
    """Return an HCA with one port for each link of ``rdma link``, also where lines were wrapped or joined."""
    links: list[str] = []
    for part in (part for line in lines for part in _BEFORE_LINK.split(line.text)):
        if is_link(part):
            links.append(part)
        elif links and _LINK_GOES_ON.match(part):
            links[-1] += f" {part}"
    return [_link(match) for text in links if (match := LINK.search(text))]


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
