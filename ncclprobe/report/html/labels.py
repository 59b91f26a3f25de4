"""Names that are short enough for a plot's axis and still tell apart what they name."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any

from ncclprobe.report.html.markup import plain

LONGEST = 20
"""Characters of a label: 120 pixels or so, a third of a phone's width."""
MOST_UPRIGHT = 40
"""More characters on one axis overlap on a phone, so they stand aslant."""
SHORTENED = " Long names are shortened; pointing at a value shows its whole name."
_HEADS = (LONGEST // 2, 0, LONGEST - 1)
"""So many characters stand before an ellipsis; the first number that leaves no two names alike is taken."""


def named_axis(places: Sequence[int], labels: Sequence[str]) -> dict[str, Any]:
    """Return an axis that names places, aslant where there are many names or long ones."""
    crowded = len(labels) > 4 or sum(map(len, labels)) > MOST_UPRIGHT
    return {"tickvals": [*places], "ticktext": [*labels], "tickangle": -60 if crowded else 0}


def short_names(names: Sequence[str]) -> list[str]:
    """Return a label for each name, in their order and without secrets; no two different names share one.

    Where one is too long, all lose the pieces that all end with, then as many as they have to of those that all begin
    with, and last each its middle: ``worker-3.pool.svc.local`` beside ``worker-4.pool.svc.local`` is ``worker-3``.
    """
    whole = [*map(plain, names)]
    if _fit(whole) or len({*whole}) < 2:
        return _cut(whole)
    pieces = [re.split(r"(?=[-._])", name) for name in whole]
    ended = ["".join(own[: len(own) - _shared(one[::-1] for one in pieces)]) for own in pieces]
    return _cut(_without_beginning(ended))


def shortened(names: Sequence[str], labels: Sequence[str]) -> str:
    """Return what a caption says where a label is not the name."""
    return SHORTENED if [*map(plain, names)] != [*labels] else ""


def _without_beginning(names: Sequence[str]) -> list[str]:
    if _fit(names):
        return [*names]
    pieces = [re.split(r"(?<=[-._])", name) for name in names]
    dropped = [[f"…{''.join(own[number:])}" for own in pieces] for number in range(1, _shared(pieces) + 1)]
    return next(filter(_fit, dropped), dropped[-1] if dropped else [*names])


def _shared(pieces: Iterator[list[str]] | Sequence[list[str]]) -> int:
    """Return how many pieces all begin with; each name keeps one."""
    known = [*pieces]
    alike = itertools.takewhile(lambda column: len({*column}) == 1, zip(*known, strict=False))
    return min(sum(1 for _ in alike), *(len(own) - 1 for own in known))


def _cut(names: Sequence[str]) -> list[str]:
    if _fit(names):
        return [*names]
    for head in _HEADS:
        labels = [_elided(name, head) for name in names]
        if len({*labels}) == len({*names}):
            return labels
    numbers = {name: f"… {number}" for number, name in enumerate(dict.fromkeys(names), 1)}
    return [name[: LONGEST - len(numbers[name])] + numbers[name] for name in names]


def _elided(name: str, head: int) -> str:
    tail = LONGEST - 1 - head
    return name if len(name) <= LONGEST else f"{name[:head]}…{name[len(name) - tail :]}"


def _fit(names: Sequence[str]) -> bool:
    return all(len(name) <= LONGEST for name in names)
