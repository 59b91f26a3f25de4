"""Which setting an operation gets: rows of a table by shape and size, words of a control variable by number."""

from __future__ import annotations

from collections.abc import Sequence

from ncclprobe.names import Collective
from ncclprobe.records.inspect import TunerRow


def matching(table: Sequence[TunerRow], size: int, nranks: int, nnodes: int) -> TunerRow | None:
    """Return the first row that matches an all-reduce of that many bytes, None where the library chooses."""
    shapes = ((row, (row.nranks in (None, nranks) and row.nnodes in (None, nnodes))) for row in table)
    fits = (row for row, shape in shapes if shape and row.collective == Collective.ALL_REDUCE)
    return next((row for row in fits if row.min_bytes <= size <= row.max_bytes), None)


def numbered(words: Sequence[str], initial: int, began_with: str) -> dict[str, int]:
    """Return a variable's words with their numbers: consecutive, from where the variable began.

    Args:
        words: In the library's order.
        initial: The number at the start.
        began_with: The word that the environment gave, which that number stands for.

    Source: MPICH 5.0, maint/extractcvars
    """
    if began_with not in words:
        return {word: number for number, word in enumerate(words)}
    first = initial - words.index(began_with)
    return {word: first + place for place, word in enumerate(words)}
