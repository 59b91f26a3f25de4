"""How many operations a sample has, and which cells are not worth another sample in this launch. Pure.

All times are the maximum over ranks, so that every rank decides alike.
"""

from __future__ import annotations

import math

from ncclprobe.records.sweep import Cell, Point

MOST_OPERATIONS = 1024
"""In one sample."""
SLOWER = 2.0
"""A cell whose operation takes so many times the default's has fewer of them in a sample."""
HOPELESS = 3.0
"""A cell that takes so many times the default's time each time that it is looked at, twice, is not measured again: more
than launches differ by, and two wild times in a row are needed to misjudge it."""
COSTLY_S = 5e-3
"""Samples that are shorter are all taken, and have two operations or more: they cost little, and are the noisier ones;
what the ranks begin and end apart is then shared by two."""


def wanted_operations(each_s: float, operations: int, sample_s: float) -> int:
    """Return how many operations the next sample should have, the same number where that is enough.

    Args:
        each_s: What one of them took.
        operations: In the sample that showed it.
        sample_s: How long a sample should last at least: clocks and the barrier's own spread are then small beside it.
    """
    shortest = operations * each_s
    if operations == 1 and 0 < shortest < COSTLY_S:
        return max(2, min(MOST_OPERATIONS, math.ceil(sample_s / each_s)))
    if not 0 < shortest < sample_s:
        return operations
    return min(MOST_OPERATIONS, max(2 * operations, math.ceil(sample_s / each_s)))


class Pace:
    """Knows what the cells of one launch have taken so far."""

    def __init__(self) -> None:
        self._operations: dict[Point, int] = {}
        self._default_s: dict[tuple[Point, bool], float] = {}
        self._ratios: dict[tuple[Point, Cell], list[float]] = {}
        self._last_s: dict[tuple[Point, Cell], float] = {}

    def knows(self, point: Point) -> bool:
        """Return whether the default's number of operations is set."""
        return point in self._operations

    def set(self, point: Point, operations: int) -> None:
        """Set how many operations the default's samples have."""
        self._operations[point] = operations

    def note(self, point: Point, cell: Cell, seconds: float, operations: int | None) -> None:
        """Take in a sample, or with None an operation that ran alone; each is compared with the default's of its kind.

        Args:
            point: Where.
            cell: Which.
            seconds: Of the whole sample.
            operations: In it.
        """
        each_s, alone = seconds / (operations or 1), operations is None
        self._last_s[point, cell] = seconds
        if cell.is_default:
            self._default_s[point, alone] = each_s
        elif default_s := self._default_s.get((point, alone)):
            self._ratios.setdefault((point, cell), []).append(each_s / default_s)

    def operations(self, point: Point, cell: Cell) -> int:
        """Return how many operations a cell's sample has: about as long as the default's, never more of them."""
        most, ratios = self._operations[point], self._ratios.get((point, cell), [1.0])
        return max(1, math.ceil(most / ratios[-1])) if ratios[-1] >= SLOWER else most

    def hopeless(self, point: Point, cell: Cell) -> bool:
        """Return whether a cell was several times slower than the default each time, and its samples take long."""
        ratios, last_s = self._ratios.get((point, cell), []), self._last_s.get((point, cell), 0.0)
        return len(ratios) > 1 and min(ratios) >= HOPELESS and last_s >= COSTLY_S
