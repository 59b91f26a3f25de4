"""What every backend keeps: a backend's tests subclass ``BackendContract`` and say how to make one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ncclprobe.backends.base import Backend
from ncclprobe.errors import UsageError
from ncclprobe.names import Collective
from ncclprobe.records.sweep import DEFAULT_CELL, Block, Cell, Launch, Measurement, Point, Status

UNKNOWN = Cell(algo="NoSuchAlgorithm")


_MADE: dict[tuple[type, str], Any] = {}


def _once(owner: type, what: str, make: Callable[[], Any]) -> Any:
    """Return what was made for a class, made at the first call: real ranks take seconds to start."""
    if (owner, what) not in _MADE:
        _MADE[owner, what] = make()
    return _MADE[owner, what]


class BackendContract:
    """Subclass it as ``Test…`` with ``make``; the launch is run once for all tests of the class."""

    collective = Collective.ALL_REDUCE
    sizes = (1024, 65536)
    absent = Collective.REDUCE
    """A collective that the backend does not have."""
    repeat = 3
    warmups = 1

    def make(self) -> Backend:
        raise NotImplementedError

    def chosen(self, cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
        """Return the cells that it has wherever the test runs; the first three are run."""
        return cells

    @pytest.fixture
    def backend(self) -> Backend:
        return _once(type(self), "backend", self.make)

    @pytest.fixture
    def launch(self, backend: Backend) -> Launch:
        return _once(type(self), "launch", lambda: self._launch(backend))

    @pytest.fixture
    def measured(self, backend: Backend, launch: Launch) -> list[Measurement]:
        return _once(type(self), "measured", lambda: list(backend.measure(launch)))

    def _launch(self, backend: Backend) -> Launch:
        capabilities = backend.capabilities(self.collective)
        cells = (DEFAULT_CELL, *self.chosen(capabilities.cells)[:3], UNKNOWN)
        points = [Point(collective=self.collective, dtype="float32", size_bytes=size) for size in self.sizes]
        return Launch(
            index=7,
            stage="explore",
            nranks=capabilities.nranks,
            blocks=tuple(Block(point=point, cells=cells, repeat=self.repeat) for point in points),
            warmups=self.warmups,
            timeout_s=30,
            seed=11,
            thorough=True,
        )

    def test_it_says_what_it_has(self, backend: Backend) -> None:
        capabilities = backend.capabilities(self.collective)
        assert capabilities.library
        assert capabilities.nranks >= 2
        assert capabilities.cells
        assert len(set(capabilities.cells)) == len(capabilities.cells)
        assert not any(cell.is_default for cell in capabilities.cells)

    def test_it_refuses_a_collective_that_it_does_not_have(self, backend: Backend) -> None:
        with pytest.raises(UsageError):
            backend.capabilities(self.absent)

    def test_a_measurement_has_a_value_a_cell(self, measured: list[Measurement]) -> None:
        assert measured
        for measurement in measured:
            lengths = {len(measurement.times_us), len(measurement.statuses), len(measurement.wrong)}
            assert lengths == {len(measurement.cells)}
            assert measurement.launch == 7
            assert measurement.operations >= 1

    def test_every_cell_runs_in_every_block(self, measured: list[Measurement], launch: Launch) -> None:
        known = [cell for cell in launch.blocks[0].cells if cell is not UNKNOWN]
        for block in launch.blocks:
            for cell in known:
                numbers = [b for p, b, c, *_ in _samples(measured) if (p, c) == (block.point, cell)]
                assert sorted(numbers) == list(range(self.repeat)), cell

    def test_times_are_positive_and_sums_right(self, measured: list[Measurement]) -> None:
        timed = [sample for sample in _samples(measured) if sample[2] != UNKNOWN]
        assert all(status is Status.OK and time and time > 0 and not wrong for _, _, _, time, status, wrong in timed)

    def test_what_was_spent_covers_what_was_timed(self, measured: list[Measurement]) -> None:
        for measurement in measured:
            timed_us = sum(time or 0.0 for time in measurement.times_us) * measurement.operations
            assert measurement.spent_s * 1e6 >= timed_us * 0.999

    def test_an_unknown_cell_is_refused_and_not_run_again(self, measured: list[Measurement], launch: Launch) -> None:
        refused = [
            (measurement.point, time, status)
            for measurement in measured
            for cell, time, status in zip(measurement.cells, measurement.times_us, measurement.statuses, strict=True)
            if cell == UNKNOWN
        ]
        points = [point for point, *_ in refused]
        assert refused
        assert len(points) == len(set(points)) <= len(launch.blocks)
        assert all(time is None and status is Status.REFUSED for _, time, status in refused)

    def test_warm_ups_come_first_and_are_marked(self, measured: list[Measurement]) -> None:
        assert measured[0].warmup
        assert any(cell == DEFAULT_CELL for m in measured if m.warmup for cell in m.cells)

    def test_points_are_interleaved(self, measured: list[Measurement], launch: Launch) -> None:
        blocks = list(dict.fromkeys((b, p) for p, b, *_ in _samples(measured)))
        assert [number for number, _ in blocks] == sorted(number for number, _ in blocks)
        assert len(blocks) == len(launch.blocks) * self.repeat

    def test_the_order_within_blocks_varies(self, measured: list[Measurement]) -> None:
        orders: dict[tuple[Point, int], list[Cell]] = {}
        for point, number, cell, *_ in _samples(measured):
            orders.setdefault((point, number), []).append(cell)
        assert len({tuple(cells) for cells in orders.values()}) > 1

    def test_it_may_be_left_early(self, backend: Backend, launch: Launch) -> None:
        measurements: Iterator[Measurement] = iter(backend.measure(launch))
        assert next(measurements).launch == 7
        measurements.close()  # type: ignore[attr-defined]


def _samples(measured: list[Measurement]) -> list[tuple[Point, int, Cell, float | None, Status, int]]:
    return [
        (m.point, m.block, *sample)
        for m in measured
        if not m.warmup
        for sample in zip(m.cells, m.times_us, m.statuses, m.wrong, strict=True)
    ]
