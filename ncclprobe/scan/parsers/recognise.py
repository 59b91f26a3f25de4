"""Captured text -> sightings: one tool's output about one host, with what the text says about that host's name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from ncclprobe.captured import Line, by_source
from ncclprobe.records.scan import Gpu, Hca, Host, Port
from ncclprobe.scan.parsers import gids, gpus, hostnames, ibdev2netdev, ibstat, ibv_devinfo, merge, sysfs, topo

KINDS = "ibv_devinfo, ibstat, ibstatus, show_gids, ibdev2netdev, rdma link, nvidia-smi topo -m"
"""For messages: what is read."""

_NONE_FOUND = re.compile(
    r"No IB devices found|\b0 HCAs? found|Failed to get IB devices list|Unable to get IB device list"
)


UNNAMED = "another host from line "
"""Begins the keys of labels of hosts that a text tells from others without naming them."""


class Label(NamedTuple):
    """What tells one host's part of a text from another's."""

    key: str
    name: str | None
    """None for a rank, which tells hosts apart without naming them."""


class Sighting(NamedTuple):
    """What one tool says of one host."""

    label: Label | None
    output: int
    """Which of the text's outputs it is from: one output says things of a host once."""
    hcas: tuple[Hca, ...] = ()
    gpus: tuple[Gpu, ...] = ()


class _Kind(NamedTuple):
    starts: Callable[[str], object]
    read: Callable[[list[Line]], Iterable[Host]]


def _of_hcas(read: Callable[[list[Line]], list[Hca]]) -> Callable[[list[Line]], Iterable[Host]]:
    """Return a reader of hosts from one of HCAs: a device seen again may be another host's."""
    return lambda lines: (Host(host=None, hcas=hcas) for hcas in merge.hosts_of(read(lines)))


def _is_arrow(text: str) -> bool:
    return "=>" in text and bool(ibdev2netdev.ARROW.search(text))


def _is_gid(text: str) -> bool:
    return ":" in text and bool(gids.ROW.search(gids.row(text)))


_READERS = (
    _Kind(ibv_devinfo.START.search, _of_hcas(ibv_devinfo.read)),
    _Kind(ibstat.STATUS_START.search, _of_hcas(ibstat.read_status)),
    _Kind(ibstat.START.search, _of_hcas(ibstat.read)),
    _Kind(_is_arrow, _of_hcas(ibdev2netdev.read)),
    _Kind(ibdev2netdev.is_link, _of_hcas(ibdev2netdev.read_links)),
    _Kind(ibdev2netdev.DEVICE.search, _of_hcas(ibdev2netdev.read_devices)),
    _Kind(ibdev2netdev.TABLE.search, _of_hcas(ibdev2netdev.read_table)),
    _Kind(_is_gid, _of_hcas(gids.read)),
    _Kind(sysfs.starts, _of_hcas(sysfs.read)),
    _Kind(topo.is_header, topo.read),
    _Kind(topo.is_row, topo.read),
    _Kind(gpus.ROW.search, gpus.read),
    _Kind(_NONE_FOUND.search, lambda lines: [Host(host=None)]),
)
_TOPO, _TOPO_ROW = 9, 10


class _Seen(NamedTuple):
    line: Line
    kind: int | None
    """Which tool's output the line starts, None where it may go on with the one before."""
    mark: hostnames.Mark | None
    remark: bool = False
    """Whether the mark may as well be somebody's remark among the lines of an output."""


class _Segment(NamedTuple):
    kind: int
    label: Label | None
    lines: list[Line]


def sightings(lines: Iterable[Line]) -> list[Sighting]:
    """Return what each tool's output says, in the text's order."""
    seen = {source: list(_seen(of_source)) for source, of_source in by_source(lines).items()}
    marks = [one.mark for of_source in seen.values() for one in of_source if one.mark]
    believed = hostnames.believed(marks)
    first = Label(f"{UNNAMED}0", None) if any(mark.another for mark in marks) else None
    segments = [
        segment
        for source, of_source in seen.items()
        for segment in _segments(of_source, _source_label(source) or first, believed)
    ]
    return [
        Sighting(segment.label, number, host.hcas, host.gpus)
        for number, segment in enumerate(segments)
        for host in _READERS[segment.kind].read(segment.lines)
    ]


def _seen(lines: list[Line]) -> Iterator[_Seen]:
    kinds = [_kind(line.text) for line in lines]
    texts = ["", *(line.text for line in lines), ""]
    for number, (line, kind) in enumerate(zip(lines, kinds, strict=True)):
        above, below = texts[number], texts[number + 2]
        mark = hostnames.mark(line.text, above) if kind is None else None
        starts_below = number + 1 < len(kinds) and kinds[number + 1] is not None
        yield _Seen(line, kind, mark, bool(mark) and not starts_below and hostnames.is_remark(line.text, above, below))


def _kind(text: str) -> int | None:
    return next((number for number, kind in enumerate(_READERS) if kind.starts(text)), None)


def _segments(lines: Iterable[_Seen], label: Label | None, believed: set[str]) -> Iterator[_Segment]:
    """Yield runs of lines of one tool; a prompt or a heading ends one."""
    current: _Segment | None = None
    asks_name = False
    for seen in lines:
        mark = None if _commented(seen, current, believed) else seen.mark
        if current and (mark or _is_other(seen.kind, current.kind)):
            yield current
            current = None
        if asks_name and seen.line.text.strip():
            label, asks_name = _label(seen.line.text.strip()) or label, False
        elif mark:
            asks_name = mark.asks_name
            label = _label_of(mark, believed, seen.line.number) or label
        if seen.kind is not None and current is None:
            current = _Segment(seen.kind, label, [])
        if current:
            current.lines.append(seen.line)
    if current:
        yield current


def _is_other(kind: int | None, current: int) -> bool:
    """Return whether a line starts another tool's output; a matrix's rows belong to its header."""
    return kind is not None and kind != current and (current, kind) != (_TOPO, _TOPO_ROW)


def _commented(seen: _Seen, current: _Segment | None, believed: set[str]) -> bool:
    """Return whether a ``#`` marks no heading, since it goes on with an output.

    It is a remark in it, or the output is commented out as a whole.
    """
    if current is None or (seen.mark and seen.mark.host in believed):
        return False
    whole = all(text.lstrip().startswith("#") for text in (seen.line.text, current.lines[0].text))
    return whole or seen.remark


def _source_label(source: str | None) -> Label | None:
    if source is None:
        return None
    name = hostnames.of_source(source)
    return Label(name or source, name)


def _label_of(mark: hostnames.Mark, believed: set[str], line: int) -> Label | None:
    if mark.another:
        return Label(f"{UNNAMED}{line}", None)
    return _label(mark.host) if mark.host and (mark.sure or mark.host in believed) else None


def _label(name: str) -> Label | None:
    return Label(name, name) if re.fullmatch(r"[\w. #-]{1,80}", name) else None


def unnamed_ports(lines: list[Line]) -> list[Port]:
    """Return the ports that a text shows without saying whose they are."""
    return ibv_devinfo.read_unnamed(lines) or ibstat.read_unnamed(lines)
