"""The order of a launch's samples: warm-ups, then the points interleaved, the cells shuffled in each block."""

from __future__ import annotations

import random
from collections.abc import Iterator

from ncclprobe.records.base import Record
from ncclprobe.records.sweep import Cell, Launch, Point


class Step(Record, frozen=True, kw_only=True):
    """One block's turn."""

    point: Point
    """Where."""
    block: int
    """Its running number at the point, counted apart for warm-ups."""
    cells: tuple[Cell, ...]
    """In the order in which they run."""
    warmup: bool
    """Whether the samples are thrown away."""


def schedule(launch: Launch) -> Iterator[Step]:
    """Yield a launch's steps; the same launch gives the same ones on every rank."""
    rng = random.Random(f"{launch.seed} {launch.index}")  # noqa: S311, orders are no secret
    for number in range(launch.warmups):
        for block in launch.warmup_blocks():
            yield Step(point=block.point, block=number, cells=block.cells, warmup=True)
    for number in range(max((block.repeat for block in launch.blocks), default=0)):
        due = [block for block in launch.blocks if block.repeat > number]
        for block in rng.sample(due, len(due)):
            cells = tuple(rng.sample(block.cells, len(block.cells)))
            yield Step(point=block.point, block=number, cells=cells, warmup=False)
