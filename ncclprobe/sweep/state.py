"""Where a size stands in a race."""

from __future__ import annotations

import enum
from collections.abc import Iterable

from ncclprobe.records.base import Record
from ncclprobe.records.sweep import Cell


class Stage(enum.Enum):
    """Where a point stands."""

    EXPLORE = "explore"
    CONFIRM = "confirm"
    SETTLED = "settled"


class Due(Record, frozen=True, kw_only=True):
    """What a point needs before it is looked at again."""

    launches: int
    """Fresh ones."""
    pairs: int
    """In each."""


class PointState:
    """A point's place in the race."""

    def __init__(self, cells: Iterable[Cell], due: Due) -> None:
        self.stage = Stage.EXPLORE
        self.active = list(cells)
        self.looks = 0
        self.due: Due | None = due
        self.finalist: Cell | None = None
        self.confirmed = False
