"""``ibv_devinfo``, with and without ``-v``, whole or filtered (``grep -E 'hca_id|link_layer'``) -> HCAs.

Source: rdma-core 58, libibverbs/examples/devinfo.c (the tabs of ``print_hca_cap``); MLNX_OFED's copy pads with blanks
and prints ``Device ports:``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ncclprobe.captured import Line
from ncclprobe.records.scan import Gid, Hca, Port
from ncclprobe.scan.parsers import keyed, values

START = re.compile(r"(?<![\w.])h?ca_id[ \t]*:")
_DEVICE_KEYS = (
    "transport", "fw_ver", "node_guid", "sys_image_guid", "vendor_id", "vendor_part_id", "hw_ver", "board_id",
    "phys_port_cnt", "num_comp_vectors",
)  # fmt: skip
_PORT_KEYS = (
    "state", "max_mtu", "active_mtu", "sm_lid", "port_lid", "port_lmc", "link_layer", "active_width", "active_speed",
    "effective_speed", "phys_state", "gid_tbl_len",
)  # fmt: skip
_KEYS = keyed.keys("h?ca_id", "port", r"GID\[\s{0,8}\d{1,6}\]", *_DEVICE_KEYS, *_PORT_KEYS)


def read(lines: Iterable[Line]) -> list[Hca]:
    """Return one HCA for each ``hca_id``, in the text's order."""
    return [_hca(record) for record in keyed.split(_pairs(lines), "hca_id") if record[0][1]]


def read_unnamed(lines: Iterable[Line]) -> list[Port]:
    """Return the ports of a text that doesn't say whose they are."""
    return _ports(list(_pairs(lines)))


def _pairs(lines: Iterable[Line]) -> Iterable[tuple[str, str]]:
    for key, value in keyed.pairs(lines, _KEYS):
        yield ("hca_id" if key == "ca_id" else key), value


def _hca(record: keyed.Pairs) -> Hca:
    name = record[0][1].split()[0].strip("'\"`,;")
    stated = dict(reversed([(key, value) for key, value in record if key in _DEVICE_KEYS]))
    return Hca(
        name=name,
        ports=tuple(_ports(record)),
        fw_version=values.word(stated.get("fw_ver", "")),
        board_id=values.word(stated.get("board_id", "")),
        node_guid=values.guid(stated.get("node_guid", "")),
        vendor_part_id=values.integer(stated.get("vendor_part_id", "")),
        transport=values.word(stated.get("transport", "")),
        bond=values.is_bond(name),
    )


def _ports(record: keyed.Pairs) -> list[Port]:
    ports = keyed.split_ports(_joined_gids(record), frozenset((*_PORT_KEYS, "GIDs")), "port", "phys_port_cnt")
    return [_port(number, stated) for stated in ports if (number := values.integer(stated["port"])) is not None]


def _joined_gids(record: keyed.Pairs) -> keyed.Pairs:
    """Return the pairs with each run of GIDs as one value, so that a second GID is no sign of a second port."""
    joined: keyed.Pairs = []
    for key, value in record:
        if not key.startswith("GID["):
            joined.append((key, value))
        elif joined and joined[-1][0] == "GIDs":
            joined[-1] = ("GIDs", f"{joined[-1][1]}\n{key[4:-1].strip()} {value}")
        else:
            joined.append(("GIDs", f"{key[4:-1].strip()} {value}"))
    return joined


def _port(number: int, stated: dict[str, str]) -> Port:
    return Port(
        port=number,
        state=values.state(stated.get("state", "")),
        phys_state=values.word(stated.get("phys_state", "")),
        link_layer=values.link_layer(stated.get("link_layer", "")),
        rate_gbps=_rate(stated),
        active_mtu=values.integer(stated.get("active_mtu", "")),
        lid=values.integer(stated.get("port_lid", "")),
        sm_lid=values.integer(stated.get("sm_lid", "")),
        gids=tuple(_gids(stated.get("GIDs", ""))),
    )


def _rate(stated: dict[str, str]) -> float | None:
    lanes = values.port_rate(stated.get("active_width", ""), stated.get("active_speed", ""))
    return lanes or values.gbps(stated.get("effective_speed", ""))


def _gids(text: str) -> Iterable[Gid]:
    for entry in text.splitlines():
        index, _, rest = entry.partition(" ")
        printed, _, kind = rest.partition(",")
        if gid := values.gid(printed):
            yield Gid(index=int(index), gid=gid, type=values.gid_type(kind))
