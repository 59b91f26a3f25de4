"""Tuner tables: a sweep's per-size choice, and the CSV text that tuner plugins load.

Columns: ``collective_type,min_bytes,max_bytes,algorithm,protocol,channels,nNodes,nRanks,numPipeOps,regBuff``. The
first row that matches wins; -1 matches anything, and leaves channels or the protocol to the library.

Source: NCCL 2.28.9, ext-tuner/example/plugin.c and nccl_tuner.conf (columns, ``MAX_LINE_LENGTH``).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from typing import TypeVar

from ncclprobe.errors import ParseError, UsageError
from ncclprobe.names import DEFAULT, Algo, Collective, Proto
from ncclprobe.records.inspect import TunerRow
from ncclprobe.records.sweep import CellResult, Status, SweepDocument, TableRow

COLUMNS = "collective_type,min_bytes,max_bytes,algorithm,protocol,channels,nNodes,nRanks,numPipeOps,regBuff"
WILDCARD = -1
LONGEST_LINE = 254
"""A longer line is read in two halves by NVIDIA's plugin, and the second half as a row of its own."""
MOST_CHANNELS = 64
"""Of a communicator. Source: NCCL 2.28.9, src/include/device.h (``MAXCHANNELS``)."""
REQUIRED_FIELDS = 8
"""numPipeOps and regBuff may be absent."""
OWN_CHANNELS = 0
"""What leaves the number of channels to NCCL through NVIDIA's plugin: it sets 1 beforehand, which -1 lets stand.

Source: NCCL 2.28.9, ext-tuner/example/plugin.c (``pluginGetCollInfo``) and src/enqueue.cc (``nMaxChannels == 0``)
"""

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_NUMBER = re.compile(r"-1|\d{1,19}")
_Name = TypeVar("_Name", Algo, Proto)


def sweep_rows(document: SweepDocument) -> tuple[TunerRow, ...]:
    """Return a sweep's choice as rows that match only the number of ranks and nodes that was measured.

    A row within which the sweep saw the library refuse its setting is not among them: LL128 that is unsafe, say.

    Raises:
        UsageError: Rows overlap, which no sweep's do.
    """
    rows = tuple(
        TunerRow(
            collective=row.collective,
            min_bytes=row.min_bytes,
            max_bytes=row.max_bytes,
            algo=row.algo,
            proto=row.proto,
            nchannels=row.nchannels,
            nnodes=document.nnodes,
            nranks=document.nranks,
        )
        for row in document.choice.table
        if not _was_refused(row, document.cells)
    )
    for earlier, later in itertools.combinations(rows, 2):
        if sizes := earlier.contested(later):
            raise UsageError(f"two rows of the choice have sizes {sizes[0]} to {sizes[1]}; was the document edited?")
    return rows


def _was_refused(row: TableRow, cells: Iterable[CellResult]) -> bool:
    statuses: dict[int, set[Status]] = {}
    for cell in cells:
        if (cell.collective, cell.algo, cell.proto, cell.nchannels) == (
            row.collective, row.algo, row.proto, row.nchannels,
        ):  # fmt: skip
            statuses.setdefault(cell.size_bytes, set()).add(cell.status)
    return any(row.min_bytes <= size <= row.max_bytes and seen == {Status.REFUSED} for size, seen in statuses.items())


def table_text(rows: Iterable[TunerRow], comments: Sequence[str] = ()) -> str:
    """Return the CSV text of a table.

    Args:
        rows: In order of precedence.
        comments: A line each, put on top; cut where a plugin's line buffer would end.

    Raises:
        UsageError: A row holds what no table can say.
    """
    return "\n".join([*_head(comments), *map(_line, rows)]) + "\n"


def nvidia_text(rows: Iterable[TunerRow], comments: Sequence[str] = ()) -> str:
    """Return the CSV text of a table for NVIDIA's example plugin, which takes what it does not know for something else.

    Args:
        rows: In order of precedence.
        comments: A line each, put on top; cut where the plugin's line buffer would end.

    Raises:
        UsageError: A row holds what that plugin would misread.
    """
    return "\n".join([*_head(comments), *map(_nvidia_line, rows)]) + "\n"


def _head(comments: Sequence[str]) -> list[str]:
    return [f"# {comment}".encode()[:LONGEST_LINE].decode(errors="ignore") for comment in (*comments, COLUMNS)]


def _nvidia_line(row: TunerRow) -> str:
    if Algo.parse(row.algo) is None or Proto.parse(row.proto) is None:
        raise UsageError(
            f"NVIDIA's plugin has no word for {row.algo}/{row.proto} ({row.collective} of {row.min_bytes} to "
            f"{row.max_bytes} bytes) and would run ring or simple; use --format tuner with ncclprobe's plugin"
        )
    return _line(row.with_(nchannels=row.nchannels or OWN_CHANNELS))


def _line(row: TunerRow) -> str:
    collective = Collective.parse(row.collective)
    if collective is None:
        raise UsageError(f"{row.collective!r} is no collective; a tuner table takes {', '.join(Collective)}")
    limits = (_wild(row.nchannels), _wild(row.nnodes), _wild(row.nranks), WILDCARD, WILDCARD)
    words = (_spelled(Algo, row.algo), _spelled(Proto, row.proto))
    return ",".join(map(str, (collective.csv, row.min_bytes, row.max_bytes, *words, *limits)))


def _wild(number: int | None) -> int:
    return WILDCARD if number is None else number


def _spelled(names: type[_Name], text: str) -> str:
    """Return a table's spelling; a name that NCCL does not have (an MPI library's algorithm) stays as it is."""
    if text == DEFAULT:
        return str(WILDCARD)
    if (name := names.parse(text)) is not None:
        return name.csv
    if not _WORD.fullmatch(text):
        raise UsageError(f"{text!r} cannot stand in a tuner table; a name has letters, digits and underscores")
    return text


def parse_table(text: str, source: str) -> tuple[TunerRow, ...]:
    """Return a table's rows in order of precedence.

    A word that is none of NCCL's is kept as it is: it may be an MPI library's. NVIDIA's plugin would read it as ring
    or simple without a word.

    Raises:
        ParseError: A line is no row, or restricts pipelined operations or registered buffers, which no row here keeps.
    """
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
    return tuple(_row(line, source, number) for number, line in lines if line and not line.startswith("#"))


def _row(line: str, source: str, number: int) -> TunerRow:
    fields = [field.strip() for field in line.split(",")]
    if not REQUIRED_FIELDS <= len(fields) <= COLUMNS.count(",") + 1:
        raise ParseError(f"a row has the fields {COLUMNS}", source=source, line=number, text=line)
    collective = Collective.parse(fields[0])
    words, numbers = fields[3:5], fields[1:3] + fields[5:]
    if collective is None or not all(_NUMBER.fullmatch(field) for field in numbers) or not all(map(_is_word, words)):
        raise ParseError(f"not a row of {COLUMNS}", source=source, line=number, text=line)
    low, high, channels, nnodes, nranks, *rest = map(int, numbers)
    if channels > MOST_CHANNELS:
        raise ParseError(f"NCCL has {MOST_CHANNELS} channels at most", source=source, line=number, text=line)
    if any(value != WILDCARD for value in rest) or not 0 <= low <= high:
        raise ParseError("numPipeOps and regBuff must be -1, and min_bytes 0 to max_bytes", source=source, line=number)
    return TunerRow(
        collective=collective.value,
        min_bytes=low,
        max_bytes=high,
        algo=_read(Algo, words[0]),
        proto=_read(Proto, words[1]),
        nchannels=_tame(channels),
        nnodes=_tame(nnodes),
        nranks=_tame(nranks),
    )


def _is_word(text: str) -> bool:
    return text == str(WILDCARD) or _WORD.fullmatch(text) is not None


def _tame(number: int) -> int | None:
    return None if number == WILDCARD else number


def _read(names: type[_Name], text: str) -> str:
    if text == str(WILDCARD):
        return DEFAULT
    return name.value if (name := names.parse(text)) is not None else text
