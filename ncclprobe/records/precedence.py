"""Which row of a tuner table stands in front of which: the first that matches wins."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator

from ncclprobe.records.inspect import TunerRow

MOST_ALIKE = 500
"""Rows for the same cases that later ones are compared with: a table has one a size."""


class Precedence:
    """The rows of a table so far, by the cases that they are for."""

    def __init__(self) -> None:
        self._rows: dict[tuple[object, ...], list[tuple[int, TunerRow]]] = defaultdict(list)
        self._count = 0

    def add(self, row: TunerRow) -> None:
        """Take the table's next row."""
        alike = self._rows[row.collective, row.nnodes, row.nranks, row.num_pipe_ops, row.reg_buff]
        if len(alike) < MOST_ALIKE:
            alike.append((self._count, row))
        self._count += 1

    def hiding(self, later: TunerRow) -> int | None:
        """Return the number, from 0, of the first row that matches all that a later one does; None for none."""
        low, high = later.min_bytes, later.max_bytes
        if low > high:
            return None
        return self._first(later, lambda row: row.min_bytes <= low and high <= row.max_bytes)

    def contesting(self, later: TunerRow) -> int | None:
        """Return the number of the first row that takes sizes from a later one (``TunerRow.contested``)."""
        low, high = later.min_bytes, later.max_bytes
        return self._first(later, lambda row: max(row.min_bytes, low) <= min(row.max_bytes, high))

    def _first(self, later: TunerRow, fits: Callable[[TunerRow], bool]) -> int | None:
        groups = (self._rows.get(key, ()) for key in _cases(later))
        found = (next((number for number, row in group if fits(row)), None) for group in groups)
        return min((number for number in found if number is not None), default=None)


def _cases(later: TunerRow) -> Iterator[tuple[object, ...]]:
    """Yield what rows are for that match in all cases of a later one: each key is the same, or any."""
    keys = (later.nnodes, later.nranks, later.num_pipe_ops, later.reg_buff)
    for chosen in itertools.product(*(dict.fromkeys((key, None)) for key in keys)):
        yield (later.collective, *chosen)
