"""``ibstat`` and ``ibstatus`` -> HCAs.

Source: rdma-core 58, infiniband-diags/ibstat.c (``ca_dump``, ``port_dump``) and infiniband-diags/scripts/ibstatus.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ncclprobe.captured import Line
from ncclprobe.records.scan import Gid, Hca, Port
from ncclprobe.scan.parsers import keyed, values

_QUOTES = "'\"`\u2018\u2019\u201c\u201d\u00b4"
_QUOTED = rf":?[ \t]+[{_QUOTES}]([\w.-]+)[{_QUOTES}]"
START = re.compile(
    rf"(?:^\W*C?A|(?<!\w)(?:CA|Switch|Router|iWARP RNIC|\?\?\?)){_QUOTED}|^\W*CA:?[ \t]+([A-Za-z]\w*_\w+)$"
)
STATUS_START = re.compile(
    rf"nfiniband device [{_QUOTES}]?([\w.-]+?)[{_QUOTES}]? port (\d{{1,18}}) status", re.IGNORECASE
)

_PORT_KEYS = ("State", "Physical state", "Rate", "Base lid", "SM lid", "LMC", "Capability mask", "Port GUID",
              "Link layer", "Effective speed")  # fmt: skip
_DEVICE_KEYS = ("CA type", "Firmware version", "Hardware version", "Node GUID", "System image GUID", "Number of ports")
_KEYS = keyed.keys(r"[Pp]ort \d{1,4}", *_PORT_KEYS, *_DEVICE_KEYS)
_STATUS_KEYS = keyed.keys("default gid", "base lid", "sm lid", "state", "phys state", "rate", "link_layer")


def read(lines: Iterable[Line]) -> list[Hca]:
    """Return one HCA for each ``CA 'name'`` of ibstat, in the text's order."""
    return [_hca(record) for record in keyed.split(_pairs(lines), "CA")]


def read_unnamed(lines: Iterable[Line]) -> list[Port]:
    """Return the ports of an ibstat output that doesn't say whose they are."""
    return _ports(list(_pairs(lines)))


def read_status(lines: Iterable[Line]) -> list[Hca]:
    """Return one HCA with one port for each ``Infiniband device 'name' port N status`` of ibstatus."""
    return [_status(record) for record in keyed.split(_status_pairs(lines), "device")]


def _pairs(lines: Iterable[Line]) -> Iterator[tuple[str, str]]:
    for line in lines:
        start = 0
        for match in START.finditer(line.text):
            yield from _keyed(line.text[start : match.start()])
            yield "CA", match[1] or match[2]
            start = match.end()
        yield from _keyed(line.text[start:])


def _keyed(text: str) -> Iterator[tuple[str, str]]:
    for key, value in keyed.pairs((Line(0, text),), _KEYS):
        yield ("Port", key[len("Port ") :]) if key[-1].isdigit() else (key, value)


def _hca(record: keyed.Pairs) -> Hca:
    stated = dict(reversed([(key, value) for key, value in record if key in _DEVICE_KEYS]))
    return Hca(
        name=record[0][1],
        ports=tuple(_ports(record)),
        fw_version=values.word(stated.get("Firmware version", "")),
        node_guid=values.guid(stated.get("Node GUID", "")),
        vendor_part_id=values.part_id(stated.get("CA type", "")),
        bond=values.is_bond(record[0][1]),
    )


def _ports(record: keyed.Pairs) -> list[Port]:
    return [_port(stated) for stated in keyed.split_ports(record, frozenset(_PORT_KEYS), "Port", "Number of ports")]


def _port(stated: dict[str, str]) -> Port:
    return Port(
        port=int(stated["Port"]),
        state=values.state(stated.get("State", "")),
        phys_state=values.word(stated.get("Physical state", "")),
        link_layer=values.link_layer(stated.get("Link layer", "")),
        rate_gbps=values.gbps(stated.get("Rate", "")),
        lid=values.integer(stated.get("Base lid", "")),
        sm_lid=values.integer(stated.get("SM lid", "")),
    )


def _status_pairs(lines: Iterable[Line]) -> Iterator[tuple[str, str]]:
    for line in lines:
        match = STATUS_START.search(line.text)
        if match:
            yield "device", match[1]
            yield "port", match[2]
            yield "state", line.text[match.end() :].strip(": ")  # empty, but in summaries that people write
        yield from keyed.pairs((Line(line.number, line.text[match.end() if match else 0 :]),), _STATUS_KEYS)


def _status(record: keyed.Pairs) -> Hca:
    stated = dict(reversed([(key, value) for key, value in record if value]))
    gid = values.gid(stated.get("default gid", ""))
    port = Port(
        port=int(stated["port"]),
        state=values.state(stated.get("state", "")),
        phys_state=values.word(stated.get("phys state", "")),
        link_layer=values.link_layer(stated.get("link_layer", "")),
        rate_gbps=values.gbps(stated.get("rate", "")),
        lid=values.integer(stated.get("base lid", "")),
        sm_lid=values.integer(stated.get("sm lid", "")),
        gids=(Gid(index=0, gid=gid),) if gid else (),  # the script prints gids/0
    )
    return Hca(name=stated["device"], ports=(port,), bond=values.is_bond(stated["device"]))
