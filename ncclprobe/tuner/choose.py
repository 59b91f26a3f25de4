"""From winners to a choice: the per-size table, and the variables where one setting fits all sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from ncclprobe.names import DEFAULT, MORE_CHANNELS
from ncclprobe.records.sweep import Cell, Choice, Point, Ratio, TableRow, Verdict

REACH = 8
"""How many times smaller or larger than a measured size others are for which what won there is a guess worth having."""


def choose(
    points: Sequence[Point],
    winners: Mapping[Point, Cell],
    ratios: Mapping[tuple[Point, Cell], Ratio],
    gain: Ratio,
    environment: Callable[[str, Cell], dict[str, str]],
    own_channels: int | None = None,
) -> Choice:
    """Return what to change, or that the defaults stay.

    Args:
        points: Every measured point, ascending in size.
        winners: Those that should change, and to what: cells of one environment, which holds for the whole process.
        ratios: Default's time / cell's time of every measured cell.
        gain: Over all points.
        environment: The variables that make a collective run with a cell everywhere; empty where none says it safely.
        own_channels: The most that NCCL runs of itself; None where that is not known.
    """
    if not winners:
        return Choice(verdict=Verdict.KEEP_DEFAULTS, env={}, table=(), gain=Ratio(ratio=1.0, low=1.0, high=1.0))
    everywhere = _fits_all(points, winners, ratios)
    env = environment(points[0].collective, everywhere.under(())) if everywhere else {}
    own = {name: value for cell in winners.values() for name, value in cell.env}
    forced = {point: cell.under(()) for point, cell in winners.items() if cell.algo != DEFAULT}
    wide = channels_variable(forced.values(), own_channels)
    return Choice(verdict=Verdict.CHANGE, env=own | env | wide, table=table(points, forced), gain=gain)


def channels_variable(cells: Iterable[Cell], own_channels: int | None) -> dict[str, str]:
    """Return what a job has to set so that a table may use more channels than NCCL's communicators have of themselves.

    Source: NCCL 2.28.9, docs env.rst (NCCL_MIN_NCHANNELS); src/graph/connect.cc (``ncclMinNchannels``)
    """
    most = max((cell.nchannels or 0 for cell in cells), default=0)
    return {MORE_CHANNELS: str(most)} if own_channels is not None and most > own_channels else {}


def _fits_all(
    points: Sequence[Point], winners: Mapping[Point, Cell], ratios: Mapping[tuple[Point, Cell], Ratio]
) -> Cell | None:
    """Return the one cell that wins somewhere and is estimated no slower than the default anywhere."""
    cells = set(winners.values())
    if len(cells) != 1:
        return None
    cell = cells.pop()
    known = [ratios.get((point, cell)) for point in points]
    return cell if all(ratio is not None and ratio.ratio >= 1.0 for ratio in known) else None


def table(points: Sequence[Point], winners: Mapping[Point, Cell]) -> tuple[TableRow, ...]:
    """Return rows from winner to winner: closed outside them, so the library decides where nothing was shown.

    Neighbouring winners of the same cell share a row; between different ones the border is the sizes' geometric mean,
    and where they are far apart the library decides about what lies more than ``REACH`` from both.
    """
    rows: list[TableRow] = []
    for i, point in enumerate(points):
        cell = winners.get(point)
        if cell is None:
            continue
        before = points[i - 1] if i and points[i - 1] in winners else None
        if rows and before and winners[before] == cell:
            rows[-1] = rows[-1].with_(max_bytes=point.size_bytes)
            continue
        start = point.size_bytes
        if rows and before:
            border = max(before.size_bytes + 1, math.isqrt(before.size_bytes * point.size_bytes))
            rows[-1] = rows[-1].with_(max_bytes=min(border - 1, REACH * before.size_bytes))
            start = max(border, point.size_bytes // REACH)
        rows.append(_row(point, cell, start))
    return tuple(rows)


def widened(rows: Sequence[TableRow], extents: Mapping[int, tuple[int, int]]) -> tuple[TableRow, ...]:
    """Return rows whose ends reach as far as the sizes that the measured ones stand for; none overlap.

    Args:
        rows: Of one collective, ascending.
        extents: Measured size -> the smallest and the largest size that it stands for.
    """
    found: list[TableRow] = []
    for i, row in enumerate(rows):
        least = found[-1].max_bytes + 1 if found else 0
        low, _ = extents.get(row.min_bytes, (row.min_bytes, 0))
        _, high = extents.get(row.max_bytes, (0, row.max_bytes))
        high = min([high, *(after.min_bytes - 1 for after in rows[i + 1 : i + 2])])
        found.append(row.with_(min_bytes=max(low, least), max_bytes=high))
    return tuple(found)


def _row(point: Point, cell: Cell, start: int) -> TableRow:
    return TableRow(
        collective=point.collective,
        min_bytes=start,
        max_bytes=point.size_bytes,
        algo=cell.algo,
        proto=cell.proto,
        nchannels=cell.nchannels,
    )
