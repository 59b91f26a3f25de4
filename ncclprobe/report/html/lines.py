"""A sweep's cells as lines over the sizes: which there are, how each looks, which of them matter most."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from ncclprobe.names import DEFAULT
from ncclprobe.records.base import Record
from ncclprobe.records.sweep import Cell, CellResult, Ratio, Status, SweepDocument, TableRow
from ncclprobe.report.html.figures import INK, Look, look
from ncclprobe.report.text.environments import chosen_environment
from ncclprobe.report.text.ratios import ends
from ncclprobe.units import format_seconds, format_size

DEFAULT_LOOK = Look(colour=INK, symbol="circle", width=4)


class Family(Record, frozen=True, kw_only=True):
    """The cells of one collective and type."""

    collective: str
    """In ncclprobe's spelling."""
    dtype: str
    """``float32``."""
    lines: tuple[Line, ...]
    """The default first."""

    @property
    def sizes(self) -> list[int]:
        """Return every size, ascending."""
        return sorted({cell.size_bytes for line in self.lines for cell in line.cells})

    def by_size(self) -> dict[int, list[CellResult]]:
        """Return the cells of every size, ascending."""
        found: dict[int, list[CellResult]] = {size: [] for size in self.sizes}
        for line in self.lines:
            for cell in line.cells:
                found[cell.size_bytes].append(cell)
        return found


class Line(Record, frozen=True, kw_only=True):
    """One setting at all its sizes."""

    group: str
    """What a checkbox and the traces know it by."""
    label: str
    """``Tree/LL128/8ch``."""
    look: Look
    """In every plot."""
    cells: tuple[CellResult, ...]
    """Ascending in size."""
    best: bool
    """Whether it is the default, chosen, or the fastest other at some size."""

    @property
    def is_default(self) -> bool:
        """Return whether the library chooses."""
        return self.cells[0].algo == DEFAULT and not self.cells[0].env

    @property
    def timed(self) -> list[CellResult]:
        """Return the cells that have a time."""
        return [cell for cell in self.cells if cell.time_us is not None]


def families(document: SweepDocument) -> Iterator[Family]:
    """Yield what is drawn together, in the document's order."""
    found: dict[tuple[str, str], list[CellResult]] = defaultdict(list)
    for cell in document.cells:
        found[cell.collective, cell.dtype].append(cell)
    for (collective, dtype), cells in found.items():
        yield Family(collective=collective, dtype=dtype, lines=_lines(document, cells))


def _lines(document: SweepDocument, cells: Sequence[CellResult]) -> tuple[Line, ...]:
    by_label: dict[str, list[CellResult]] = defaultdict(list)
    for cell in sorted(cells, key=lambda cell: cell.size_bytes):
        by_label[label(cell)].append(cell)
    best = {label(cell) for cell in _best(document, cells)} | {DEFAULT}
    ordered = sorted(by_label, key=lambda name: name != DEFAULT)
    return tuple(
        Line(
            group=f"line-{number}",
            label=name,
            look=DEFAULT_LOOK if name == DEFAULT else look(number - 1),
            cells=tuple(by_label[name]),
            best=name in best,
        )
        for number, name in enumerate(ordered)
    )


def _best(document: SweepDocument, cells: Sequence[CellResult]) -> Iterator[CellResult]:
    by_size: dict[int, list[CellResult]] = defaultdict(list)
    for cell in cells:
        by_size[cell.size_bytes].append(cell)
    for same_size in by_size.values():
        if (found := best_other(document, same_size)) is not None:
            yield found


def label(cell: CellResult) -> str:
    """Return a cell's name for people."""
    own = Cell(algo=cell.algo, proto=cell.proto, nchannels=cell.nchannels)
    return (own.under(tuple(sorted(cell.env.items()))) if cell.env else own).label


def row_label(row: TableRow) -> str:
    """Return the name of a row's setting."""
    return Cell(algo=row.algo, proto=row.proto, nchannels=row.nchannels).label


def best_other(document: SweepDocument, cells: Sequence[CellResult]) -> CellResult | None:
    """Return the chosen cell of one size, else the fastest that is not the default; None where nothing was timed."""
    others = [cell for cell in cells if cell.vs_default and cell.status in (Status.OK, Status.ELIMINATED)]
    return max(others, key=lambda cell: (is_chosen(document, cell), ratio(cell).ratio), default=None)


def is_chosen(document: SweepDocument, cell: CellResult) -> bool:
    """Return whether a cell is what the choice runs at its size, where that is not the default."""
    env = chosen_environment(document)
    row = next((row for row in document.choice.table if covers(row, cell)), None)
    wanted = (row.algo, row.proto, row.nchannels) if row else (DEFAULT, DEFAULT, None)
    return bool(row or env) and cell.env == env and (cell.algo, cell.proto, cell.nchannels) == wanted


def covers(row: TableRow, cell: CellResult) -> bool:
    """Return whether a row of the table is about a cell's collective and size."""
    return row.collective == cell.collective and row.min_bytes <= cell.size_bytes <= row.max_bytes


def ratio(cell: CellResult) -> Ratio:
    """Return how a cell compares with the default, 1 where that is not known."""
    return cell.vs_default or Ratio(ratio=1.0, low=1.0, high=1.0)


def bandwidths(cell: CellResult) -> tuple[float, float, float]:
    """Return the bus bandwidth at the median time and at the ends of its interval: middle, low, high."""
    busbw, time = cell.busbw_gbps or 0.0, cell.time_us
    if time is None:
        return busbw, busbw, busbw
    return busbw, busbw * time.median / time.high, busbw * time.median / time.low


def hover(line: Line, cell: CellResult) -> str:
    """Return what is shown of a cell when it is pointed at, not escaped."""
    return f"{line.label} at {format_size(cell.size_bytes)}\n" + "\n".join(_facts(cell))


def _facts(cell: CellResult) -> Iterator[str]:
    yield time_text(cell)
    middle, low, high = bandwidths(cell)
    yield f"busbw {middle:.4g} GB/s ({low:.4g} to {high:.4g})"
    if cell.vs_default:
        yield f"{ratio_text(cell)} × the default's speed"
    yield f"{cell.samples} samples, {cell.status}"


def time_text(cell: CellResult) -> str:
    """Return the median time with its interval, ``-`` where there is none."""
    if cell.time_us is None:
        return "-"
    low, high = (format_seconds(end / 1e6) for end in (cell.time_us.low, cell.time_us.high))
    return f"{format_seconds(cell.time_us.median / 1e6)} ({low} to {high})"


def ratio_text(cell: CellResult) -> str:
    """Return the comparison with the default, ``-`` for the default itself."""
    return "-" if cell.vs_default is None else f"{cell.vs_default.ratio:.3f} ({' to '.join(ends(cell.vs_default))})"
