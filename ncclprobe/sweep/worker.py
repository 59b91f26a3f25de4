"""One rank of a sweep: ``python -m ncclprobe.sweep.worker BACKEND [SETTINGS]``, started by a backend and a launcher.

Rank 0 reads the request, shares it, and sends what comes of it; all ranks run the same steps in the same order.
"""

from __future__ import annotations

import importlib
import itertools
import sys
import time
from collections.abc import Generator, Iterator
from typing import Protocol

import msgspec

from ncclprobe.backends.messages import Begun, Described, Measured, Message, Request, Timed, encode
from ncclprobe.backends.mpi_names import Choices
from ncclprobe.errors import BackendError, LaunchError, MeasurementTimeout, RankLostError
from ncclprobe.launchers.channel import Channel
from ncclprobe.records.sweep import DEFAULT_CELL, Cell, Launch, Measurement, Point, Status
from ncclprobe.sweep.pace import Pace, wanted_operations
from ncclprobe.sweep.schedule import Step, schedule

RANK_SIDES = {
    "mpi": "ncclprobe.backends.mpi_ranks:MpiRank",
    "nccl": "ncclprobe.backends.nccl_ranks:NcclRank",
}
"""Backend -> module and class of its rank side, made from the worker's further arguments."""


class RankSide(Protocol):
    """What a backend does on each rank."""

    rank: int
    nranks: int
    ran: Cell | None
    """What the library says that the last sample ran with, None where it does not say."""

    def choices(self) -> Choices:
        """Return what the library can choose from."""
        ...

    def abort(self) -> None:
        """End all ranks at once."""
        ...

    def finish(self) -> None:
        """Leave, all messages being sent; it may end the process."""
        ...

    def share(self, content: bytes | None) -> bytes:
        """Return rank 0's content on every rank."""
        ...

    def largest(self, values: tuple[float, ...]) -> list[float]:
        """Return the maximum over ranks of each value."""
        ...

    def total(self, value: int) -> int:
        """Return the sum over ranks."""
        ...

    def prepare(self, points: tuple[Point, ...]) -> None:
        """Make the buffers of all points."""
        ...

    def fill(self, point: Point, salt: int, operations: int) -> None:
        """Put a sample's data into the buffers that it is going to use, and rubbish where results go."""
        ...

    def unproven(self, point: Point, cell: Cell) -> bool:
        """Return whether a cell is to be proven at a point before it is timed there."""
        ...

    def prove(self, point: Point, cell: Cell) -> float:
        """Run as few operations as connect a cell's peers and show that it runs; return this rank's seconds for one.

        Raises:
            BackendError: As for ``run``.
            MeasurementTimeout: As for ``run``.
        """
        ...

    def run(self, point: Point, cell: Cell, operations: int) -> float:
        """Run a cell's operations, one after the other, and return this rank's seconds for all of them.

        Raises:
            BackendError: The cell cannot be run here.
            MeasurementTimeout: It did not end in time; no rank can go on, and every rank says so.
        """
        ...

    def count_wrong(self, point: Point) -> int:
        """Return the wrong elements in all buffers that the last sample used on this rank."""
        ...


def main() -> None:
    """Do what the request says, as one rank of many."""
    channel = Channel()
    side = _rank_side(*sys.argv[1:])
    channel.abort = side.abort
    received = channel.receive() if side.rank == 0 else None
    request = msgspec.json.decode(side.share(received), type=Request)
    _check_ranks(side, request.launch)
    messages = _describe(side) if request.launch is None else Worker(side, request.launch).messages()
    for message in messages:
        if side.rank == 0:
            channel.send(encode(message))
    side.finish()


def _check_ranks(side: RankSide, launch: Launch | None) -> None:
    """Refuse to measure with fewer ranks than were started, each of them alone.

    Raises:
        LaunchError: The launcher and the library do not belong together.
    """
    if launch is not None and side.nranks != launch.nranks:
        raise LaunchError(
            f"{launch.nranks} ranks were started, but {side.choices().library} sees {side.nranks}: the launcher belongs"
            " to another MPI library than mpi4py's; load the matching module, or `pip install 'ncclprobe[embedded]'`"
        )


def _rank_side(backend: str, *settings: str) -> RankSide:
    module, _, class_name = RANK_SIDES[backend].partition(":")
    side: RankSide = getattr(importlib.import_module(module), class_name)(*settings)
    return side


def _describe(side: RankSide) -> Iterator[Message]:
    yield Described(choices=side.choices())


class Worker:
    """Runs one launch's samples on one rank."""

    def __init__(self, side: RankSide, launch: Launch) -> None:
        self._side, self._launch = side, launch
        self._pace = Pace()
        self._out: set[Cell] = set()
        self._refused: set[tuple[Point, Cell]] = set()
        self._salt = abs(launch.seed)
        self._sampling: tuple[Step, Cell] | None = None

    def messages(self) -> Iterator[Message]:
        """Yield what rank 0 is to say; every rank goes through it. A hang is the last that is said."""
        self._side.prepare(tuple(dict.fromkeys(block.point for block in self._launch.blocks)))
        try:
            for step in schedule(self._launch):
                if not self._pace.knows(step.point):
                    yield from self._calibrate(step.point)
                for cell in step.cells:
                    yield from self._cell(step, cell)
        except MeasurementTimeout as problem:
            yield self._timed_out(problem)

    def _cell(self, step: Step, cell: Cell) -> Iterator[Message]:
        """Run a cell's sample unless it is out, after one operation where that has to show that the cell runs."""
        if not step.warmup and self._usable(step.point, cell) and self._side.unproven(step.point, cell):
            yield from self._sample(step.with_(warmup=True), cell, None)
        if self._usable(step.point, cell):
            yield from self._sample(step, cell, None if step.warmup else self._pace.operations(step.point, cell))

    def _usable(self, point: Point, cell: Cell) -> bool:
        if cell in self._out or (point, cell) in self._refused:
            return False
        return self._launch.thorough or not self._pace.hopeless(point, cell)

    def _sample(self, step: Step, cell: Cell, operations: int | None) -> Iterator[Message]:
        """Fill, run, check, and tell; without a number of operations, it proves that the cell runs."""
        self._salt += 1
        self._sampling = step, cell
        self._side.fill(step.point, self._salt, operations or 1)
        yield Begun(point=step.point, cell=cell, block=step.block, warmup=step.warmup)
        begin = time.perf_counter()
        seconds, message = self._run(step.point, cell, operations)
        spent = time.perf_counter() - begin
        # Every rank says whether it refused: the library decides by what all ranks share, but it is not trusted here.
        slowest, refused, spent = self._side.largest((seconds, float(bool(message)), spent))
        yield Timed()
        own = 0 if refused else self._side.count_wrong(step.point)
        wrong = 0 if refused else self._side.total(own)
        status = Status.REFUSED if refused else Status.WRONG if wrong else Status.OK
        self._note(step.point, cell, status)
        if status is Status.OK:
            self._pace.note(step.point, cell, slowest, operations)
        yield Measured(
            measurement=Measurement(
                launch=self._launch.index,
                point=step.point,
                block=step.block,
                cells=(cell,),
                times_us=(None if refused else slowest / (operations or 1) * 1e6,),
                statuses=(status,),
                wrong=(wrong,),
                spent_s=max(slowest, spent),
                warmup=step.warmup,
                operations=operations or 1,
                message=message or (self._whose(own, wrong) if wrong else ""),
                ran=(self._side.ran,) if self._side.ran is not None else (),
            )
        )

    def _whose(self, own: int, wrong: int) -> str:
        """Return how many elements were wrong, and on which ranks; every rank asks, as all know of it."""
        rank, last = self._side.rank, self._side.nranks - 1
        high, low = self._side.largest((float(rank if own else -1), float(last - rank if own else -1)))
        first, final = last - int(low), int(high)
        where = f"rank {first}" if first == final else f"ranks between {first} and {final}"
        return f"{wrong} wrong elements on {where}"

    def _timed_out(self, problem: MeasurementTimeout) -> Measured:
        """Return the measurement of the sample that hung.

        Raises:
            MeasurementTimeout: None was being taken.
        """
        if self._sampling is None:
            raise problem
        step, cell = self._sampling
        return Measured(
            measurement=Measurement(
                launch=self._launch.index,
                point=step.point,
                block=step.block,
                cells=(cell,),
                times_us=(None,),
                statuses=(Status.TIMEOUT,),
                wrong=(0,),
                spent_s=self._launch.timeout_s,
                warmup=step.warmup,
                message=str(problem),
                mishap=isinstance(problem, RankLostError),
            )
        )

    def _run(self, point: Point, cell: Cell, operations: int | None) -> tuple[float, str]:
        """Return the seconds that this rank took, and why it was refused."""
        try:
            if operations is None:
                return self._side.prove(point, cell), ""
            return self._side.run(point, cell, operations), ""
        except MeasurementTimeout:
            raise
        except BackendError as problem:
            return 0.0, str(problem)

    def _note(self, point: Point, cell: Cell, status: Status) -> None:
        if status is Status.WRONG:
            self._out.add(cell)
        elif status is Status.REFUSED:
            self._refused.add((point, cell))

    def _calibrate(self, point: Point) -> Iterator[Message]:
        """Find how many operations of the default make a sample long enough.

        The lesser of two times decides: one that was interrupted would make samples too short.
        """
        step = Step(point=point, block=0, cells=(), warmup=True)
        yield from self._sample(step, DEFAULT_CELL, None)
        operations = 1
        while self._usable(point, DEFAULT_CELL):
            times = yield from self._times_us(step, operations)
            wanted = wanted_operations(min(times, default=0.0) / 1e6, operations, self._launch.sample_s)
            if wanted == operations:
                break
            operations = wanted
        self._pace.set(point, operations)

    def _times_us(self, step: Step, operations: int) -> Generator[Message, None, list[float]]:
        """Return the times of two of the default's samples."""
        times: list[float] = []
        for message in itertools.chain.from_iterable(self._sample(step, DEFAULT_CELL, operations) for _ in range(2)):
            yield message
            if isinstance(message, Measured):
                times += filter(None, message.measurement.times_us)
        return times


if __name__ == "__main__":
    main()
