"""That a cell runs at a point as it was asked for. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ncclprobe.errors import BackendError
from ncclprobe.records.sweep import Cell, Point
from ncclprobe.records.tuner import Answer


class Refused(BackendError):
    """NCCL cannot run the cell here, or ran something else."""


class Proof(NamedTuple):
    """That a cell runs at a point."""

    ran: Cell | None
    """What NCCL's log says that it runs."""
    each_s: float
    """What one operation took on the slowest rank."""


class Captured(NamedTuple):
    """A graph of a cell's operations."""

    replay: Callable[[], object]
    """Launches it."""
    operations: int
    """In it."""


def judge_answers(cell: Cell, point: Point, answers: tuple[Answer, ...]) -> None:
    """Compare what the tuner plugin was asked and answered with what was wished.

    Raises:
        Refused: NCCL has no such entry, or did not ask.
    """
    if cell.is_default:
        return
    if not answers:
        raise Refused(f"{cell.label}: NCCL did not ask the tuner plugin about {point.collective}")
    for answer in answers:
        if answer.refused:
            raise Refused(f"{cell.label}: NCCL says {answer.refused.value}")
