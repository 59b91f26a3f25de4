"""nccl-tests' tables, old and new, and what its ``-J`` writes.

Source: nccl-tests 2.19.6, src/util.cu (``writeResultHeader``, ``writeBenchmarkLineBody``, JSON version 3), and the
tables of 2.0 to 2.13 with an ``error`` column and without ``root``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ncclprobe.captured import Line, by_source, cells
from ncclprobe.decoding import finite, whole_number
from ncclprobe.findings import Finding, error, warning
from ncclprobe.inspect import nccl_tests_json
from ncclprobe.inspect.nccl_tests_ranks import Bandwidths, halfwidth, ranks_of
from ncclprobe.inspect.source import Reading, Source
from ncclprobe.names import Collective
from ncclprobe.records.inspect import Half, NcclTests, Row
from ncclprobe.units import format_size

_HINTS = ("algbw", "Avg bus bandwidth", "nThread", "Collective test starting", "Out of bounds values", "_perf")
_PROGRAM = re.compile(
    r"(?<![a-z_])(all_reduce|all_gather|reduce_scatter|broadcast|reduce|sendrecv|alltoallv?|scatter|gather|hypercube)_perf"
)
_PREAMBLE = re.compile(r"# nccl-tests version|# Collective test starting|#? ?nThread \d+ nGpus \d+")
_DEVICE = re.compile(r"Rank +(\d{1,18}) (?:Group +\d+ )?Pid +\d+ on +(\S+) device +\d+")
_HEADER = re.compile(r"size\b.{0,12}\bcount\b.*\balgbw\b")
_AVERAGE = re.compile(r"Avg bus bandwidth +: +([-+\d.einaf]+)")
_OUT_OF_BOUNDS = re.compile(r"Out of bounds values +: +(\d{1,18}) +(\w+)")
_ROW = re.compile(r"(?<![\w.])(\d{1,18})\s{1,40}(\d{1,18})\s{1,40}([a-z]\w{1,15})\s{1,40}(\S.*)$")
_OPEN_ROW = re.compile(
    r"(?<![\w.])\d{1,18}\s{1,40}\d{1,18}\s{1,40}[a-z]\w{1,15}(?:\s{1,40}[a-z]{1,15})?(?:\s{1,40}-?\d{1,4})?\s*$"
)
"""A row's start, where NCCL's first messages came before its times."""
_ONLY_VALUES = re.compile(r"\s*\d[\d.]*(?:\s+(?:\d[\d.e+-]*|N/A))+\s*$")
_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|nan|inf|N/A)$")
_TIMESTAMP = re.compile(r"\s\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\S*$")
_FAILED = re.compile(r"Test (?:NCCL |CUDA )?(?:failure|timeout)\b.*|Invalid number of GPUs.*")
_NARROWEST = 3
"""Columns of a half at least: time, algbw, busbw."""
_HALVES = 2
_LAYOUTS = {4: (4, 1), 5: (4, 1), 8: (4, 2), 9: (4, 2), 16: (8, 2), 17: (8, 2)}
"""Values in a row -> width and number of its halves; one more is the root. With ``-I 1`` a half has eight."""


class Table:
    """The table that is being read."""

    def __init__(self) -> None:
        self.collective: str | None = None
        self.devices: set[int] = set()
        self.columns: list[str] | None = None
        self.rows: list[Row] = []
        self.bandwidths: list[Bandwidths] = []
        self.average: float | None = None
        self.out_of_bounds = 0
        self.failure: str | None = None
        self.open_row = ""

    @property
    def is_begun(self) -> bool:
        """Return whether there is anything that makes a table."""
        return bool(self.devices) or self.is_filled

    @property
    def is_filled(self) -> bool:
        """Return whether the table's own head or more has been read."""
        return bool(self.rows) or self.average is not None or self.columns is not None


def read(source: Source) -> Reading | None:
    """Return the tables of a text, None where it has none."""
    if document := nccl_tests_json.read(source):
        return Reading(documents=(document,), findings=tuple(_judge_values(document, 0)))
    if not any(hint in source.text for hint in _HINTS):
        return None
    tables = [table for lines in _apart(source.lines) for table in _tables(lines)]
    if not tables:
        return None
    documents = tuple(_document(source.name, table) for table in tables)
    findings = [finding for pair in zip(documents, tables, strict=True) for finding in _judge(*pair)]
    return Reading(documents=documents, findings=tuple(findings))


def _apart(lines: list[Line]) -> Iterator[Iterable[Line]]:
    """Yield all lines; where several ranks printed a table each, every rank's lines."""
    groups = by_source(lines)
    if sum(any(_HEADER.search(line.text) for line in group) for group in groups.values()) > 1:
        yield from groups.values()
    else:
        yield lines


def _tables(lines: Iterable[Line]) -> Iterator[Table]:
    table, program = Table(), None
    for line in lines:
        text = "  ".join(cells(line.text) or [line.text])
        if named := _PROGRAM.search(text):
            program = named[1]
        if _begins(table, text):
            _close_row(table)
            yield table
            table = Table()
        _take(table, text)
        if table.is_begun and table.collective is None:
            table.collective = program
    _close_row(table)
    if table.is_begun:
        yield table


def _begins(table: Table, text: str) -> bool:
    """Return whether a line belongs to the next table."""
    if _PREAMBLE.search(text):
        return table.is_begun
    if _HEADER.search(text):
        return table.is_filled
    if table.average is not None and _ROW.search(text):
        return True
    return table.is_filled and _DEVICE.search(text) is not None


def _take(table: Table, text: str) -> None:
    if match := _DEVICE.search(text):
        table.devices.add(int(match[1]))
    elif _HEADER.search(text):
        table.columns = [word for word in text[text.index("size") :].split() if not word.startswith("(")]
    elif match := _AVERAGE.search(text):
        table.average = finite(match[1])
    elif match := _OUT_OF_BOUNDS.search(text):
        table.out_of_bounds = int(match[1])
    elif match := _FAILED.search(text):
        table.failure = table.failure or match[0]
    else:
        _take_row(table, text)


# ---- rows


def _take_row(table: Table, text: str) -> None:
    text = _TIMESTAMP.sub("", text)
    if table.open_row and _ONLY_VALUES.match(text):
        table.open_row, text = "", f"{table.open_row} {text}"
    if not _ROW.search(text) and not _OPEN_ROW.search(text):
        return
    _close_row(table)
    if _OPEN_ROW.search(text) or _lacks_half(text, table.columns):
        table.open_row = text
    else:
        _add_row(table, text)


def _close_row(table: Table) -> None:
    """Take what there is of a row that was cut and never ended."""
    text, table.open_row = table.open_row, ""
    _add_row(table, text)


def _add_row(table: Table, text: str) -> None:
    match = _ROW.search(text)
    if not match:
        return
    tokens = match[4].split()
    redop = tokens.pop(0) if tokens[0].isalpha() else None
    halves = list(_halves(tokens, table.columns))
    if not halves:
        return
    counted = table.columns is None or "error" not in table.columns
    table.rows.append(
        Row(
            size_bytes=int(match[1]),
            count=int(match[2]),
            dtype=match[3],
            redop=None if redop == "none" else redop,
            out_of_place=_half(halves[0], counted=counted),
            in_place=_half(halves[1], counted=counted) if len(halves) > 1 else None,
        )
    )
    table.bandwidths += [_bandwidths(half) for half in halves]


def _lacks_half(text: str, columns: list[str] | None) -> bool:
    """Return whether a row that was cut has its times out of place alone so far."""
    if columns is None or columns.count("algbw") != _HALVES:
        return False
    values = [word for word in text.split() if _NUMBER.match(word)][2:]  # without size and count
    return len(values) - _width(columns) in (0, 1)


def _halves(tokens: list[str], columns: list[str] | None) -> Iterator[list[str]]:
    """Yield the values of each half; nothing where the tokens are no row's."""
    layout = _layout(len(tokens), columns)
    if layout is None or not all(_NUMBER.match(value) for value in tokens):
        return
    width, number = layout
    for start in range(len(tokens) - width * number, len(tokens), width):
        yield tokens[start : start + width]


def _layout(count: int, columns: list[str] | None) -> tuple[int, int] | None:
    """Return the width and the number of halves of a row with ``count`` values, of which the first may be the root."""
    if columns and "algbw" in columns[1:]:
        number, width = columns.count("algbw"), _width(columns)
        if width >= _NARROWEST and count - width * number in (0, 1):
            return width, number
    return _LAYOUTS.get(count)


def _width(columns: list[str]) -> int:
    """Return the number of columns of a half, which begins with the time's."""
    first = columns.index("algbw") - 1
    rest = columns[first + 1 :]
    ends = [rest.index(name) for name in (columns[first], "timestamp") if name in rest]
    return min(ends, default=len(rest)) + 1


def _half(values: list[str], *, counted: bool) -> Half:
    return Half(
        time_us=finite(values[0]),
        algbw_gbps=finite(values[1]),
        busbw_gbps=finite(values[2]),
        wrong=_wrong(values[3], counted=counted) if len(values) > 3 else None,
    )


def _wrong(word: str, *, counted: bool) -> int | None:
    """Return the count of wrong elements; an old version's error column holds a difference, not a count."""
    if (count := whole_number(word)) is not None:
        return count
    value = finite(word) if counted else None
    return int(value) if value is not None and 1 <= value < 1e18 else None


def _bandwidths(values: list[str]) -> Bandwidths:
    return Bandwidths(finite(values[1]) or 0.0, finite(values[2]) or 0.0, halfwidth(values[1]), halfwidth(values[2]))


# ---- documents and findings


def _document(name: str, table: Table) -> NcclTests:
    return NcclTests(
        source=name,
        collective=_collective(table.collective),
        nranks=max(table.devices) + 1 if table.devices else ranks_of(table.bandwidths, table.collective),
        rows=tuple(table.rows),
        avg_busbw_gbps=table.average,
    )


def _collective(program: str | None) -> str | None:
    known = Collective.parse(program) if program else None
    return known.value if known else program


def _judge(document: NcclTests, table: Table) -> Iterator[Finding]:
    yield from _judge_values(document, table.out_of_bounds)
    if table.failure:
        yield error(
            "nccl-tests-failed",
            document.source,
            f"the test ended early: {table.failure[:300]}",
            "look for the first NCCL WARN line; run it again with NCCL_DEBUG=INFO",
        )
    elif not document.rows:
        yield warning(
            "nccl-tests-no-rows",
            document.source,
            "the table has a head and no row",
            "the test was ended or hung before its first size was done",
        )


def _judge_values(document: NcclTests, out_of_bounds: int) -> Iterator[Finding]:
    """Yield a finding where a table has wrong values, or those of a copy within one GPU."""
    if document.nranks == 1 and document.rows:
        yield warning(
            "nccl-tests-one-rank",
            document.source,
            "one rank: nothing was sent, the times are those of a copy within one GPU",
            "give it more GPUs (-g N); where a launcher started several processes, each ran alone: build with MPI=1",
        )
    wrong = [
        (row.size_bytes, half.wrong)
        for row in document.rows
        for half in (row.out_of_place, row.in_place)
        if half is not None and half.wrong
    ]
    if wrong or out_of_bounds:
        sizes = ", ".join(dict.fromkeys(format_size(size) for size, _ in wrong))
        yield error(
            "wrong-results",
            document.source,
            f"wrong values: {sum(count for _, count in wrong)} elements at sizes {sizes}"
            if wrong
            else f"out of bounds values: {out_of_bounds}",
            "data was corrupted: unset NCCL_PROTO and NCCL_ALGO (LL128 can be unsafe), then test node by node",
        )
