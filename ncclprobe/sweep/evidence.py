"""What a sweep has measured so far, arranged for judgement.

Letters of shapes: ``B`` blocks, ``C`` cells at a point, ``G`` groups (a cell at a point), ``L`` launches.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from ncclprobe.records.base import Record
from ncclprobe.records.sweep import DEFAULT_CELL, Cell, Environment, Launch, Measurement, Point, Status
from ncclprobe.stats import biweight, pair_scale
from ncclprobe.sweep.pace import HOPELESS

Floats = npt.NDArray[np.float64]

FORGIVEN = 1
"""Mishaps of a cell after which it is measured again: a kill from outside hits whatever is running."""
BROKEN = (Status.WRONG, Status.TIMEOUT)
"""A cell that did one of these once, at any size, is out at every size."""


class LaunchSummary(Record, frozen=True, kw_only=True):
    """One cell's paired log-ratios (default over cell) in one launch at one point."""

    location: float
    """Robust centre."""
    count: int
    """Pairs."""
    psi2: float
    """Sum of psi squared, for the variance within a launch."""
    slope: float
    """Sum of psi's derivative."""
    ratios: tuple[float, ...]
    """All of them."""


class Evidence:
    """Collects measurements; a pure function of the journal's lines in their order."""

    def __init__(self) -> None:
        self.launches: dict[int, Launch] = {}
        self.spent_s = 0.0
        self.out: dict[Cell, tuple[Status, str]] = {}
        """Cells that are out at every size, with why."""
        self.refused: dict[tuple[Point, Cell], str] = {}
        """Cells that a point does not have, with why."""
        self.wrong: dict[tuple[Point, Cell], int] = defaultdict(int)
        """Wrong elements."""
        self.operations: dict[Point, int] = {}
        """Operations within a sample; its time is their mean."""
        self.own_channels: int | None = None
        """The most channels that a cell without a number of them ran with, None where the library does not say."""
        self.deaths: list[str] = []
        """How ranks died or were stopped, once each time."""
        self.samples = 0
        """Measurements that no hang ended."""
        self._mishaps: dict[Cell, int] = defaultdict(int)
        self._samples: dict[Point, tuple[float, int]] = defaultdict(lambda: (0.0, 0))
        self._logs: dict[tuple[Point, int], dict[int, dict[Cell, float]]] = defaultdict(lambda: defaultdict(dict))
        self._summaries: dict[tuple[Point, int], tuple[int, dict[Cell, LaunchSummary]]] = {}
        self._scales: dict[Point, float] = {}

    def begin(self, launch: Launch) -> None:
        """Note that a launch starts."""
        self.launches[launch.index] = launch

    def add(self, measurement: Measurement) -> None:
        """Take in a measurement."""
        self.spent_s += measurement.spent_s
        self.samples += Status.TIMEOUT not in measurement.statuses
        self._note_channels(measurement)
        if not measurement.warmup:
            self.operations[measurement.point] = measurement.operations
            seconds, count = self._samples[measurement.point]
            self._samples[measurement.point] = seconds + measurement.spent_s, count + len(measurement.cells)
        block = self._logs[measurement.point, measurement.launch][measurement.block] if not measurement.warmup else {}
        for cell, time, status, wrong in zip(
            measurement.cells, measurement.times_us, measurement.statuses, measurement.wrong, strict=True
        ):
            self.wrong[measurement.point, cell] += wrong
            if status is Status.OK and time is not None:
                block[cell] = math.log(time)
            elif status is Status.REFUSED:
                self.refused[measurement.point, cell] = measurement.message
            elif status in BROKEN and not self._forgiven(cell, measurement):
                self.out.setdefault(cell, (status, measurement.message))

    def _forgiven(self, cell: Cell, measurement: Measurement) -> bool:
        """Return whether a cell stays in the race though its ranks died or were stopped: the first time it does."""
        if not measurement.mishap:
            return False
        self.deaths.append(measurement.message)
        self._mishaps[cell] += 1
        return self._mishaps[cell] <= FORGIVEN

    def _note_channels(self, measurement: Measurement) -> None:
        for cell, ran in zip(measurement.cells, measurement.ran, strict=False):
            if cell.nchannels is None and ran.nchannels is not None:
                self.own_channels = max(self.own_channels or 0, ran.nchannels)

    def sample_s(self, point: Point) -> float:
        """Return how long a sample at a point has taken on average; 0 where there is none."""
        seconds, count = self._samples[point]
        return seconds / count if count else 0.0

    def under(self, env: Environment) -> Evidence:
        """Return what was measured in the processes of an environment, as if there were no others."""
        own = Evidence()
        own.launches = dict(self.launches)
        own.out = {cell.under(()): why for cell, why in self.out.items() if cell.env == env}
        own.refused = {(p, cell.under(())): why for (p, cell), why in self.refused.items() if cell.env == env}
        for key, blocks in self._logs.items():
            for number, block in blocks.items():
                own._logs[key][number] = {cell.under(()): log for cell, log in block.items() if cell.env == env}
        return own

    def usable(self, point: Point, cell: Cell) -> bool:
        """Return whether nothing speaks against measuring a cell at a point."""
        return cell not in self.out and (point, cell) not in self.refused

    def hopeless(self, point: Point, cell: Cell) -> bool:
        """Return whether a cell took HOPELESS times the default's time in every block so far."""
        times = [
            math.exp(block[cell] - block[DEFAULT_CELL])
            for index in self.launches
            for block in self._logs.get((point, index), {}).values()
            if cell in block and DEFAULT_CELL in block
        ]
        return min(times, default=0.0) >= HOPELESS

    def log_times(self, point: Point, cell: Cell) -> Iterator[Floats]:
        """Yield a cell's log times in µs at a point, an array a launch."""
        for index in self.launches:
            blocks = self._logs.get((point, index), {})
            times = [block[cell] for block in blocks.values() if cell in block]
            if times:
                yield np.array(times)

    def pairs_done(self, point: Point, index: int, cell: Cell) -> int:
        """Return how many pairs of a cell and the default a launch has measured at a point."""
        return sum(DEFAULT_CELL in block and cell in block for block in self._logs.get((point, index), {}).values())

    def blocks_done(self, point: Point, index: int) -> int:
        """Return how many blocks with the default in them a launch has measured at a point."""
        return sum(DEFAULT_CELL in block for block in self._logs.get((point, index), {}).values())

    def scale(self, point: Point) -> float:
        """Return the standard deviation of a paired log-ratio at a point, without outliers.

        Taken once, from the launches that are there when it is first asked for, so that it never moves under them.
        """
        if point not in self._scales:
            columns = [column for index in self.launches for column in self._ratios(point, index).T]
            self._scales[point] = pair_scale(_apart(columns))
        return self._scales[point]

    def summaries(self, point: Point, index: int) -> dict[Cell, LaunchSummary]:
        """Return each cell's summary in a launch at a point."""
        done = len(self._logs.get((point, index), {}))
        cached = self._summaries.get((point, index))
        if cached is None or cached[0] != done:
            self._summaries[point, index] = cached = (done, self._summarise(point, index))
        return cached[1]

    def _summarise(self, point: Point, index: int) -> dict[Cell, LaunchSummary]:
        ratios_BC = self._ratios(point, index)
        if not ratios_BC.size:
            return {}
        measured = np.atleast_1d(np.isfinite(ratios_BC).any(axis=0))
        cells = [cell for cell, seen in zip(self._cells(point, index), measured, strict=True) if seen]
        ratios_BC = ratios_BC[:, measured]
        location, psi2, slope = biweight(ratios_BC, self.scale(point)) if cells else (np.array([]),) * 3
        return {
            cell: LaunchSummary(
                location=float(location[i]),
                count=int(np.isfinite(ratios_BC[:, i]).sum()),
                psi2=float(psi2[i]),
                slope=float(slope[i]),
                ratios=tuple(ratios_BC[np.isfinite(ratios_BC[:, i]), i].tolist()),
            )
            for i, cell in enumerate(cells)
        }

    def _cells(self, point: Point, index: int) -> list[Cell]:
        blocks = self._logs.get((point, index), {})
        return sorted(
            {cell for block in blocks.values() for cell in block if not cell.is_default}, key=lambda cell: cell.key
        )

    def _ratios(self, point: Point, index: int) -> Floats:
        """Return log(default's time / cell's time) within each block, shape ``BC``."""
        cells = self._cells(point, index)
        blocks = [b for _, b in sorted(self._logs.get((point, index), {}).items()) if DEFAULT_CELL in b]
        rows = [[block[DEFAULT_CELL] - block.get(cell, math.nan) for cell in cells] for block in blocks]
        return np.array(rows, dtype=float).reshape(len(blocks), len(cells))


def _apart(columns: list[Floats]) -> Floats:
    """Return all columns as one, with a gap after each, so that no difference crosses from one to the next."""
    return np.concatenate([np.append(column, np.nan) for column in columns] or [np.array([np.nan])])[:, None]


def matrix(rows: Iterable[dict[int, float]], columns: list[int]) -> Floats:
    """Return rows of values by launch as an array of shape ``GL``, NaN where a row has none."""
    return np.array([[row.get(column, math.nan) for column in columns] for row in rows], dtype=float)
