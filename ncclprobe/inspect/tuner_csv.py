"""Tuner tables in the format of NVIDIA's example plugin, and variants with a header.

Source: NCCL 2.28.9, ext-tuner/example/plugin.c (``loadConfig``): collective, min bytes, max bytes, algorithm, protocol,
channels, nodes, ranks and, both optional, pipe operations and buffer registration; -1 keeps the default or matches any;
the first row that matches wins. That plugin takes an unknown collective for allreduce, an unknown algorithm for ring
and an unknown protocol for simple, and sets 1 channel where no row matches.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from ncclprobe.captured import Line
from ncclprobe.findings import Finding, warning
from ncclprobe.inspect.source import Reading, Source
from ncclprobe.names import Algo, Collective, Proto
from ncclprobe.records.inspect import TunerCsv, TunerRow
from ncclprobe.records.precedence import Precedence
from ncclprobe.units import format_size

FIELDS = (
    "collective",
    "min_bytes",
    "max_bytes",
    "algo",
    "proto",
    "nchannels",
    "nnodes",
    "nranks",
    "num_pipe_ops",
    "reg_buff",
)
"""In the order of a file without a header."""
_REQUIRED, _LEAST = 8, 6
"""Fields that NVIDIA's plugin wants, and fields that make a line a row of a tuner table at all."""
_ALIASES = {
    "collective": ("collective", "collectivetype", "colltype", "coll", "func"),
    "min_bytes": ("minbytes", "minsize", "sizemin", "from"),
    "max_bytes": ("maxbytes", "maxsize", "sizemax", "to"),
    "algo": ("algo", "algorithm"),
    "proto": ("proto", "protocol"),
    "nchannels": ("channels", "nchannels", "numchannels"),
    "nnodes": ("nnodes", "nodes", "numnodes"),
    "nranks": ("nranks", "ranks", "numranks"),
    "num_pipe_ops": ("numpipeops", "pipeops"),
    "reg_buff": ("regbuff", "registered"),
}
_BY_ALIAS = {alias: field for field, aliases in _ALIASES.items() for alias in aliases}
_DATA = re.compile(r",[ \t]{0,8}\"?(?:ll|ll128|simple)\"?[ \t]{0,8}(?:,|$)", re.IGNORECASE | re.MULTILINE)
_INTEGER = re.compile(r"-?\d{1,20}$")


class Numbered(NamedTuple):
    """A row and where it stands."""

    line: int
    row: TunerRow
    fields: int
    """As many as the line has; under a header, which says what is left out, as many as are wanted."""
    unknown: tuple[str, ...]
    """Words that name no collective, algorithm or protocol."""


def read(source: Source) -> Reading | None:
    """Return a tuner table, None where no line is a row of one."""
    if not _DATA.search(source.text):
        return None
    rows, skipped = _rows(source.lines)
    known = [row for row in rows if not row.unknown]
    if not known or len(skipped) > len(rows):
        return None
    document = TunerCsv(source=source.name, rows=tuple(numbered.row for numbered in rows))
    findings = (*_skipped(source.name, skipped), *_judge(source.name, rows))
    return Reading(documents=(document,), findings=findings)


def _rows(lines: Iterable[Line]) -> tuple[list[Numbered], list[Line]]:
    """Return the rows, and the lines that are neither row, header nor comment."""
    rows: list[Numbered] = []
    skipped: list[Line] = []
    order: tuple[str | None, ...] = FIELDS
    for line in lines:
        text = line.text.strip()
        if not text or text.startswith(("#", "//")):
            continue
        values = [value.strip() for value in next(csv.reader([text]))]
        if header := _header(values):
            order = header
        elif row := _row(line.number, values, order):
            rows.append(row)
        else:
            skipped.append(line)
    return rows, skipped


def _header(values: list[str]) -> tuple[str | None, ...] | None:
    """Return the fields that a header names, None for a row."""
    named = tuple(_BY_ALIAS.get(re.sub(r"[^a-z]", "", value.lower())) for value in values)
    wanted = {"collective", "min_bytes", "max_bytes", "algo", "proto"}
    return named if wanted <= set(named) else None


def _row(number: int, values: list[str], order: tuple[str | None, ...]) -> Numbered | None:
    fields = {field: value for field, value in zip(order, values, strict=False) if field and value}
    if len(values) < _LEAST or not all(_INTEGER.match(fields.get(name, "")) for name in ("min_bytes", "max_bytes")):
        return None
    if any(not _INTEGER.match(fields[name]) for name in FIELDS[5:] if name in fields):
        return None
    collective, algo, proto = (_word(kind, fields, name) for kind, name in _WORDS)
    row = TunerRow(
        collective=collective[0],
        min_bytes=int(fields["min_bytes"]),
        max_bytes=int(fields["max_bytes"]),
        algo=algo[0],
        proto=proto[0],
        nchannels=_number(fields, "nchannels"),
        nnodes=_number(fields, "nnodes"),
        nranks=_number(fields, "nranks"),
        num_pipe_ops=_number(fields, "num_pipe_ops"),
        reg_buff=None if (registered := _number(fields, "reg_buff")) is None else registered != 0,
    )
    unknown = tuple(word for word, is_known in (collective, algo, proto) if not is_known)
    count = len(values) if order == FIELDS else _REQUIRED
    return None if len(unknown) == len(_WORDS) else Numbered(number, row, count, unknown)


_WORDS: tuple[tuple[type[Collective] | type[Algo] | type[Proto], str], ...] = (
    (Collective, "collective"),
    (Algo, "algo"),
    (Proto, "proto"),
)


def _word(kind: type[Collective] | type[Algo] | type[Proto], fields: Mapping[str, str], name: str) -> tuple[str, bool]:
    """Return the field's spelling, or the word as it stands, and whether it is known."""
    word = fields.get(name, "")
    known = kind.parse(word)
    return (known.value, True) if known else (word, False)


def _number(fields: Mapping[str, str], name: str) -> int | None:
    """Return a number, None for -1 and for a field that is absent."""
    value = int(fields.get(name, "-1"))
    return None if value < 0 else value


# ---- findings


def _skipped(source: str, lines: list[Line]) -> Iterator[Finding]:
    for line in lines:
        yield warning(
            "tuner-row-skipped",
            f"{source}:{line.number}",
            f"not a row of a tuner table: {line.text[:120]!r}",
            "a row is collective, min_bytes, max_bytes, algorithm, protocol, channels, nNodes, nRanks, and optionally "
            "numPipeOps and regBuff",
        )


def _judge(source: str, rows: list[Numbered]) -> Iterator[Finding]:
    before = Precedence()
    for line, row, fields, unknown in rows:
        where = f"{source}:{line}"
        if unknown:
            yield warning(
                "tuner-unknown-word",
                where,
                f"{', '.join(map(repr, unknown))} names no collective, algorithm or protocol",
                "NVIDIA's example plugin silently takes allreduce, ring or simple instead; correct the word",
            )
        if fields < _REQUIRED:
            yield warning(
                "tuner-row-short",
                where,
                f"the row has {fields} fields, and NVIDIA's example plugin skips rows under {_REQUIRED}",
                "append -1 for channels, nNodes and nRanks that shall not matter",
            )
        if row.min_bytes > row.max_bytes:
            yield warning(
                "tuner-empty-range",
                where,
                f"min_bytes {row.min_bytes} exceeds max_bytes {row.max_bytes}: the row matches nothing",
                "swap the two",
            )
        if (hiding := before.hiding(row)) is not None:
            yield warning(
                "tuner-row-hidden",
                where,
                f"line {rows[hiding].line} matches all that this row matches, and the first match wins",
                "move the narrower row up, or take it out",
            )
        elif (contesting := before.contesting(row)) is not None:
            yield _overlap(where, row, rows[contesting])
        before.add(row)
    yield from _gaps(source, [row.row for row in rows])


def _overlap(where: str, row: TunerRow, earlier: Numbered) -> Finding:
    low, high = max(row.min_bytes, earlier.row.min_bytes), min(row.max_bytes, earlier.row.max_bytes)
    return warning(
        "tuner-rows-overlap",
        where,
        f"line {earlier.line} matches this row's sizes {format_size(low)} to {format_size(high)}, too, and wins",
        "let the ranges end where the next ones begin, so that the table says what runs",
    )


def _gaps(source: str, rows: list[TunerRow]) -> Iterator[Finding]:
    """Yield a finding for sizes between a collective's rows that none of them has."""
    by_collective: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for row in rows:
        if row.min_bytes <= row.max_bytes:
            by_collective[row.collective].append((row.min_bytes, row.max_bytes))
    for collective, ranges in by_collective.items():
        ranges.sort()
        reached = ranges[0][1]
        for low, high in ranges[1:]:
            if low > reached + 1:
                yield warning(
                    "tuner-gap",
                    f"{source}: {collective}",
                    f"no row has sizes {format_size(reached + 1)} to {format_size(low - 1)}",
                    "NVIDIA's example plugin sets 1 channel where no row matches, which is slow; close the gap",
                )
            reached = max(reached, high)
