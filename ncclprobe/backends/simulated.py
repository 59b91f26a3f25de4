"""The ``sim`` backend: draws samples from a described fabric. It never sleeps, and says that it is a simulator.

Source of the drift: the Ornstein-Uhlenbeck process; Gillespie, Phys. Rev. E 54 (1996) 2084, eq. 2.47 (exact update).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ncclprobe.backends.base import BackendOptions, Capabilities
from ncclprobe.backends.fabric import Fabric, read_fabric
from ncclprobe.backends.nccl_names import cell_environment
from ncclprobe.errors import UsageError
from ncclprobe.names import Collective
from ncclprobe.records.sweep import Block, Cell, Launch, Measurement, Point, Status
from ncclprobe.units import format_size

Floats = npt.NDArray[np.float64]

DRIFT_TIME_S = 2.0
"""Correlation time of the drift, in simulated seconds (docs/sweep.md)."""


class SimulatedBackend:
    """Draws what a described fabric would show."""

    name = "sim"

    def __init__(self, options: BackendOptions) -> None:
        if options.fabric is None:
            raise UsageError("the backend sim needs a fabric's description; add --fabric FILE.toml")
        self.fabric = read_fabric(options.fabric)
        if options.nranks not in (None, self.fabric.nranks):
            raise UsageError(f"--nranks {options.nranks}, but {options.fabric} describes {self.fabric.nranks} ranks")

    @classmethod
    def of(cls, fabric: Fabric) -> SimulatedBackend:
        """Return the backend of a fabric that is already read."""
        backend = cls.__new__(cls)
        backend.fabric = fabric
        return backend

    def capabilities(self, collective: Collective) -> Capabilities:
        """Return the fabric's cells.

        Raises:
            UsageError: The fabric has no times for the collective.
        """
        cells = self.fabric.cells(collective)
        if not cells:
            raise UsageError(f"the fabric {self.fabric.name!r} has no times for {collective}")
        return Capabilities(
            library=f"simulated fabric {self.fabric.name}",
            nranks=self.fabric.nranks,
            nnodes=len(self.fabric.nodes),
            cells=cells,
        )

    def points(self, collective: Collective) -> tuple[Point, ...]:
        """Return the points that the fabric's table has for a collective; empty with a model."""
        return tuple(sorted(point for point in self.fabric.times if point.collective == collective))

    def environment(self, collective: Collective, cell: Cell) -> dict[str, str]:
        """Return NCCL's variables for a cell."""
        return cell_environment(collective, cell)

    def close(self) -> None:
        """Return; nothing is started ahead."""

    def measure(self, launch: Launch) -> Iterator[Measurement]:
        """Draw the launch's samples; a hang ends the iterator, as it ends real ranks.

        Raises:
            UsageError: The fabric has no time for one of the points.
        """
        draw = _Draw(self.fabric, launch)
        for number, block, warmup in draw.order():
            measurement = draw.run(number, block, warmup=warmup)
            yield measurement
            if Status.TIMEOUT in measurement.statuses:
                return


class _Draw:
    """The random state of one launch."""

    def __init__(self, fabric: Fabric, launch: Launch) -> None:
        self.fabric, self.launch = fabric, launch
        self.rng = np.random.default_rng([launch.seed, launch.index])
        self.drift = float(self.rng.standard_normal())
        self.medians = {block.point: self._medians(block.point) for block in launch.blocks}
        self.factors = {
            (block.point, cell): self._launch_factor()
            for block in launch.blocks
            for cell in sorted(block.cells, key=lambda cell: cell.key)
        }
        self.broken: set[Cell] = set()
        self.refused: set[tuple[Point, Cell]] = set()

    def _medians(self, point: Point) -> dict[Cell, float]:
        times = self.fabric.median_times(point, self.launch.env)
        if not times:
            size = format_size(point.size_bytes)
            raise UsageError(
                f"the fabric {self.fabric.name!r} has no times for {point.collective} {point.dtype} {size}"
            )
        return times

    def _launch_factor(self) -> float:
        noise = self.fabric.noise
        factor = float(np.exp(_sigma(noise.launch_cv) * self.rng.standard_normal()))
        return factor * (noise.launch_outlier_factor if self.rng.random() < noise.launch_outlier_rate else 1.0)

    def order(self) -> Iterator[tuple[int, Block, bool]]:
        """Yield warm-ups, then the blocks with the points interleaved and the cells in a new order each time."""
        blocks = self.launch.blocks
        for number, block in itertools.product(range(self.launch.warmups), self.launch.warmup_blocks()):
            yield number, block, True
        for number in range(max((block.repeat for block in blocks), default=0)):
            due = [block for block in blocks if block.repeat > number]
            for place in self.rng.permutation(len(due)):
                cells = tuple(due[place].cells[i] for i in self.rng.permutation(len(due[place].cells)))
                yield number, due[place].with_(cells=cells), False

    def run(self, number: int, block: Block, *, warmup: bool) -> Measurement:
        cells = [c for c in block.cells if c not in self.broken and (block.point, c) not in self.refused]
        medians = self.medians[block.point]
        statuses = [self._status(cell, block.point, medians) for cell in cells]
        if Status.TIMEOUT in statuses:
            cells = cells[: statuses.index(Status.TIMEOUT) + 1]
            statuses = statuses[: len(cells)]
        present = [medians.get(cell, 1.0) * self.factors[block.point, cell] for cell in cells]
        times = self._times(np.array(present))
        self.refused.update((block.point, c) for c, s in zip(cells, statuses, strict=True) if s is Status.REFUSED)
        self.broken.update(c for c, s in zip(cells, statuses, strict=True) if s in (Status.WRONG, Status.TIMEOUT))
        ran = [s in (Status.OK, Status.WRONG) for s in statuses]
        spent = sum(float(t) for t, r in zip(times, ran, strict=True) if r) / 1e6
        return Measurement(
            launch=self.launch.index,
            point=block.point,
            block=number,
            cells=tuple(cells),
            times_us=tuple(float(t) if r else None for t, r in zip(times, ran, strict=True)),
            statuses=tuple(statuses),
            wrong=tuple(block.point.size_bytes // 4 or 1 if s is Status.WRONG else 0 for s in statuses),
            spent_s=spent + self.launch.timeout_s * statuses.count(Status.TIMEOUT),
            warmup=warmup,
        )

    def _status(self, cell: Cell, point: Point, medians: dict[Cell, float]) -> Status:
        if cell not in medians:
            return Status.REFUSED
        for fault in self.fabric.faults:
            if fault.concerns(cell, point.size_bytes) and self.rng.random() < fault.rate:
                return Status.WRONG if fault.kind == "wrong" else Status.TIMEOUT
        return Status.OK

    def _times(self, medians: Floats) -> Floats:
        noise, count = self.fabric.noise, len(medians)
        times: Floats = medians * np.exp(_sigma(noise.cv) * self.rng.standard_normal(count))
        if noise.outlier_rate:
            times = np.where(self.rng.random(count) < noise.outlier_rate, times * noise.outlier_factor, times)
        return times * np.exp(noise.drift * self._drifts(times / 1e6)) if noise.drift else times

    def _drifts(self, seconds: Floats) -> Floats:
        """Return the drift at each sample's start, in standard deviations, and go on by its length."""
        values = []
        for step, push in zip(np.exp(-seconds / DRIFT_TIME_S), self.rng.standard_normal(len(seconds)), strict=True):
            values.append(self.drift)
            self.drift = float(step * self.drift + np.sqrt(1 - step * step) * push)
        return np.array(values)


def _sigma(cv: float) -> float:
    """Return the standard deviation of the log of a log-normal value with this coefficient of variation."""
    return float(np.sqrt(np.log1p(cv * cv)))
