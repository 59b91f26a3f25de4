"""Files of ``/sys/class/infiniband`` -> HCAs, in the three ways that people show them.

With the path before each value (``grep -r .``), with the path as a heading (``tail -n +1``), and as one line a device
with ``name=value`` pairs. ``ls -l /sys/class/infiniband`` gives the PCI addresses.

Source: Linux 6.8, Documentation/ABI/stable/sysfs-class-infiniband.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ncclprobe.captured import Line
from ncclprobe.records.scan import Gid, Hca, Port
from ncclprobe.scan.parsers import values

_ATTRIBUTES = (
    r"state|phys_state|rate|link_layer|lid|sm_lid|gids/\d{1,6}|gid_attrs/types/\d{1,6}|gid_attrs/ndevs/\d{1,6}"
    r"|fw_ver|board_id|node_guid|hca_type|device/numa_node"
)
PATH = re.compile(
    rf"(?:infiniband/|(?<![\w./-]))(?P<name>[A-Za-z][\w.-]*)/(?:ports/(?P<port>\d{{1,18}})/)?(?P<attribute>{_ATTRIBUTES})"
    r"(?::[ \t]*(?P<value>\S.*)|[ \t]*<==[ \t]*)?$"
)
SYMLINK = re.compile(r"(?P<address>[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])/infiniband/(?P<name>[A-Za-z][\w.-]*)")
ROW = re.compile(
    r"^\W*(?P<name>[A-Za-z][\w.-]*)[ \t]++(?=[\w /-]+=)(?=.*\b(?:pci|state|link_layer|rate)=)(?P<rest>.*)$"
)
_ROW_NAMES = {"pci": "pci", "numa": "device/numa_node", "numa_node": "device/numa_node", "fw": "fw_ver"}

_Stated = dict[str, str]


class _Value(NamedTuple):
    name: str
    port: int
    """0 for what belongs to the device."""
    attribute: str
    value: str


def starts(text: str) -> bool:
    """Return whether a line names a file of ``/sys/class/infiniband``, or shows a device with ``name=value`` pairs."""
    if "/" in text and (PATH.search(text) or SYMLINK.search(text)):
        return True
    return "=" in text and bool(ROW.match(text))


def read(lines: Iterable[Line]) -> list[Hca]:
    """Return one HCA for each device; one whose values come a second time is there twice."""
    rounds: list[dict[str, dict[int, _Stated]]] = [{}]
    for name, port, attribute, value in _values(lines):
        stated = rounds[-1].setdefault(name, {}).setdefault(port, {})
        if attribute in stated:
            rounds.append({})
            stated = rounds[-1].setdefault(name, {}).setdefault(port, {})
        stated[attribute] = value
    return [_hca(name, ports) for devices in rounds for name, ports in devices.items()]


def _values(lines: Iterable[Line]) -> Iterator[_Value]:
    heading: re.Match[str] | None = None
    for line in lines:
        match = PATH.search(line.text)
        if match and match["value"]:
            yield _Value(match["name"], int(match["port"] or 0), match["attribute"], match["value"])
        elif match:
            heading = match
            continue
        elif link := SYMLINK.search(line.text):
            yield _Value(link["name"], 0, "pci", link["address"])
        elif heading and line.text.strip():
            yield _Value(heading["name"], int(heading["port"] or 0), heading["attribute"], line.text.strip())
        elif row := ROW.match(line.text):
            yield from _row(row)
        heading = heading if not line.text.strip() else None


def _row(row: re.Match[str]) -> Iterator[_Value]:
    stated = dict(
        part.split("=", 1) for part in re.split(r"(?<![ \t,;])[ \t,;]+(?=\w{1,40}=)", row["rest"]) if "=" in part
    )
    port = values.integer(stated.pop("port", "1")) or 1
    for key, value in stated.items():
        attribute = _ROW_NAMES.get(key, key)
        of_device = attribute in ("pci", "device/numa_node", "fw_ver", "board_id", "node_guid", "hca_type")
        yield _Value(row["name"], 0 if of_device else port, attribute, value.strip())


def _hca(name: str, ports: dict[int, _Stated]) -> Hca:
    stated = ports.get(0, {})
    return Hca(
        name=name,
        ports=tuple(_port(number, of_port) for number, of_port in sorted(ports.items()) if number),
        fw_version=values.word(stated.get("fw_ver", "")),
        board_id=values.word(stated.get("board_id", "")),
        node_guid=values.guid(stated.get("node_guid", "")),
        vendor_part_id=values.part_id(stated.get("hca_type", "")),
        pci_bus_id=values.pci_bus_id(stated.get("pci", "")),
        numa_node=values.numa_node(stated.get("device/numa_node", "")),
        bond=values.is_bond(name),
    )


def _port(number: int, stated: _Stated) -> Port:
    return Port(
        port=number,
        state=values.state(stated.get("state", "")),
        phys_state=values.word(stated.get("phys_state", "")),
        link_layer=values.link_layer(stated.get("link_layer", "")),
        rate_gbps=values.gbps(stated.get("rate", "")),
        lid=values.integer(stated.get("lid", "")),
        sm_lid=values.integer(stated.get("sm_lid", "")),
        gids=tuple(_gids(stated)),
    )


def _gids(stated: _Stated) -> Iterator[Gid]:
    for attribute, value in stated.items():
        printed = values.gid(value) if attribute.startswith("gids/") else None
        if printed:
            index = attribute.removeprefix("gids/")
            kind, netdev = stated.get(f"gid_attrs/types/{index}", ""), stated.get(f"gid_attrs/ndevs/{index}")
            # The kernel says "IB/RoCE v1": only an interface makes it RoCE.
            known = values.gid_type(kind) if netdev or "2" in kind else None
            yield Gid(index=int(index), gid=printed, type=known, netdev=netdev)
