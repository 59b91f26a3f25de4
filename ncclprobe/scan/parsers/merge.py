"""What several tools say of one host -> one record; what they say of several hosts -> one record each.

A device seen again with another node GUID (or another first GID, where no tool states GUIDs) is another host's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from ncclprobe.nodesets import natural_key
from ncclprobe.records.base import Record
from ncclprobe.records.scan import Gid, Gpu, Hca, Port
from ncclprobe.scan.parsers import values

_UNASSIGNED_LIDS = (None, 0, 0xFFFF)

AnyRecord = TypeVar("AnyRecord", bound=Record)


def merge_hcas(hcas: Iterable[Hca]) -> tuple[Hca, ...]:
    """Return each HCA once, in natural order of names, with its ports and GIDs in theirs."""
    merged: dict[str, Hca] = {}
    for hca in hcas:
        merged[hca.name] = _merge_hca(merged[hca.name], hca) if hca.name in merged else hca
    tidy = (hca.with_(ports=merge_ports(hca.ports)) for hca in merged.values())
    return tuple(sorted(tidy, key=lambda hca: natural_key(hca.name)))


def _merge_hca(one: Hca, other: Hca) -> Hca:
    both = _merge_fields(one, other)
    return both.with_(ports=(*one.ports, *other.ports), bond=one.bond or other.bond)


def merge_ports(ports: Iterable[Port]) -> tuple[Port, ...]:
    """Return each port once, in ascending order."""
    merged: dict[int, Port] = {}
    for port in ports:
        known = merged.get(port.port)
        merged[port.port] = _merge_port(known, port) if known else port
    return tuple(port.with_(gids=_merge_gids(port.gids)) for _, port in sorted(merged.items()))


def _merge_port(one: Port, other: Port) -> Port:
    """Return both, at the higher rate: to an ibv_devinfo from before XDR the kernel says NDR, sysfs tells 800 Gbit/s.

    Source: Linux 6.8, drivers/infiniband/core/uverbs_std_types_device.c (``copy_port_attr_to_resp``).
    """
    rates = [port.rate_gbps for port in (one, other) if port.rate_gbps]
    return _merge_fields(one, other).with_(gids=(*one.gids, *other.gids), rate_gbps=max(rates, default=None))


def _merge_gids(gids: Iterable[Gid]) -> tuple[Gid, ...]:
    merged: dict[int | None, Gid] = {}
    for gid in gids:
        merged[gid.index] = _merge_fields(merged[gid.index], gid) if gid.index in merged else gid
    return tuple(sorted(merged.values(), key=lambda gid: -1 if gid.index is None else gid.index))


def merge_gpus(gpus: Iterable[Gpu]) -> tuple[Gpu, ...]:
    """Return each GPU once, in order of index."""
    merged: dict[int, Gpu] = {}
    for gpu in gpus:
        merged[gpu.index] = _merge_fields(merged[gpu.index], gpu) if gpu.index in merged else gpu
    return tuple(gpu for _, gpu in sorted(merged.items()))


def _merge_fields(one: AnyRecord, other: AnyRecord) -> AnyRecord:
    """Return ``one`` with what it does not state taken from ``other``."""
    missing = {field: getattr(other, field) for field in one.__struct_fields__ if getattr(one, field) in (None, ())}
    return one.with_(**missing)


def hosts_of(hcas: Iterable[Hca]) -> Iterator[tuple[Hca, ...]]:
    """Yield the HCAs of each host from one tool's output, in which a device's second coming may be another host's."""
    found: dict[str, Hca] = {}
    rows: set[Hca] = set()
    last, again = None, False
    for hca in hcas:
        if hca.name != last:
            rows.clear()
        elif hca in rows:  # a line of a table once more, perhaps the thousandth
            continue
        rows.add(hca)
        known = found.get(hca.name)
        again = again or bool(known and hca.name != last and same(known, hca))
        if known and (conflicts(known, hca) or (hca.name != last and not again and _states_again(known, hca))):
            yield tuple(found.values())
            found, known = {}, None
        found[hca.name] = _merge_hca(known, hca) if known else hca
        last = hca.name
    if found:
        yield tuple(found.values())


def same(one: Hca, other: Hca) -> bool:
    """Return whether two records are surely about the same device: they state the same GUID or first GID."""
    guids = values.hexadecimal(one.node_guid), values.hexadecimal(other.node_guid)
    if all(guids):
        return guids[0] == guids[1]
    mine, its = _gids_by_place(one), _gids_by_place(other)
    common = mine.keys() & its.keys()
    return bool(common) and all(mine[place] == its[place] for place in common)


def identities(hca: Hca) -> list[object]:
    """Return the node GUID and the first GIDs; records that are ``same`` have one of them in common."""
    guid = values.hexadecimal(hca.node_guid)
    return [*([guid] if guid else []), *_gids_by_place(hca).items()]


def conflicts(one: Hca, other: Hca) -> bool:
    """Return whether two records cannot be about the same device."""
    if values.hexadecimal(one.node_guid) and values.hexadecimal(other.node_guid):
        return not same(one, other)
    stated = ((getattr(one, field), getattr(other, field)) for field in ("board_id", "pci_bus_id", "vendor_part_id"))
    if any(None not in pair and pair[0] != pair[1] for pair in stated):
        return True
    mine, its = _gids_by_place(one), _gids_by_place(other)
    if any(mine[place] != its[place] for place in mine.keys() & its.keys()):
        return True
    ports = {port.port: port for port in one.ports}
    return any(_ports_conflict(ports[port.port], port) for port in other.ports if port.port in ports)


def _ports_conflict(one: Port, other: Port) -> bool:
    layers = {one.link_layer, other.link_layer} - {None}
    lids = {lid for lid in (one.lid, other.lid) if lid not in _UNASSIGNED_LIDS}
    return len(layers) > 1 or len(lids) > 1


def _gids_by_place(hca: Hca) -> dict[tuple[int, int], object]:
    """Return the first GIDs, which hold the port's own address, by port and index; others may change."""
    return {
        (port.port, gid.index): address
        for port in hca.ports
        for gid in port.gids
        if gid.index == 0 and (address := values.address(gid.gid)) and int(address) % (1 << 64)
    }


def differs(one: Hca, other: Hca) -> bool:
    """Return whether two records state anything differently."""
    return conflicts(one, other) or any(mine != its for mine, its in _stated_by_both(one, other))


def _states_again(one: Hca, other: Hca) -> bool:
    return any(_stated_by_both(one, other))


def _stated_by_both(one: Hca, other: Hca) -> Iterator[tuple[object, object]]:
    """Yield both values of what two records of a device state; a device without ports says nothing again."""
    mine, its = ({port.port: port for port in hca.ports} for hca in (one, other))
    for number in mine.keys() & its.keys():
        gids = [{gid.index: gid.gid for gid in port.gids} for port in (mine[number], its[number])]
        if not all(gids) or gids[0].keys() & gids[1].keys():  # else they are rows of one table
            yield from _pairs(mine[number], its[number])
        yield from zip(*_common(*gids), strict=True)
    if not mine or not its:
        yield from _pairs(one, other)


def _common(mine: dict[int | None, str], its: dict[int | None, str]) -> tuple[list[str], list[str]]:
    indices = mine.keys() & its.keys()
    return [mine[index] for index in indices], [its[index] for index in indices]


def _pairs(one: Record, other: Record) -> Iterator[tuple[object, object]]:
    for field in one.__struct_fields__:
        pair = getattr(one, field), getattr(other, field)
        if field not in ("name", "port", "ports", "gids", "bond") and None not in pair:
            yield pair
