"""Which setting an operation gets, and which operations a setting is about: rows of a table, words of a variable."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from ncclprobe.names import Collective
from ncclprobe.records.e2e import ArmSettings
from ncclprobe.records.inspect import TunerRow

BY_COLLECTIVE = ("NCCL_ALGO", "NCCL_PROTO")
"""Variables whose words may name a collective: ``allreduce:tree;broadcast:ring``.

Source: NCCL 2.28.9, src/graph/tuning.cc (parseList)
"""


def matching(table: Sequence[TunerRow], size: int, nranks: int, nnodes: int) -> TunerRow | None:
    """Return the first row that matches an all-reduce of that many bytes, None where the library chooses."""
    shapes = ((row, (row.nranks in (None, nranks) and row.nnodes in (None, nnodes))) for row in table)
    fits = (row for row, shape in shapes if shape and row.collective == Collective.ALL_REDUCE)
    return next((row for row in fits if row.min_bytes <= size <= row.max_bytes), None)


def concerned(arms: Iterable[ArmSettings]) -> tuple[str, ...]:
    """Return the collectives that settings name, each once; what is set for all collectives names none."""
    return tuple(dict.fromkeys(name for arm in arms for name in _named(arm)))


def _named(arm: ArmSettings) -> Iterator[str]:
    yield from (row.collective for row in arm.table)
    words = (word for name in BY_COLLECTIVE for word in re.findall(r"(\w{1,40}):", arm.env.get(name, "")))
    yield from (collective.value for word in words if (collective := Collective.parse(word)))


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
