"""One rank of the ``mpi`` backend: chooses algorithms live and runs collectives between the MPI library's own ranks."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import numpy as np
from mpi4py import MPI

from ncclprobe import segments
from ncclprobe.backends.geometry import Geometry, geometry
from ncclprobe.backends.mpi_names import (
    MPICH_COMPOSED,
    MPICH_FALLBACK,
    Choices,
    cell_name,
    library_name,
    mpich_algorithm,
    mpich_device,
    open_mpi_algorithm,
)
from ncclprobe.backends.mpit import ControlVariables, Variable
from ncclprobe.backends.pattern import Array, Pattern
from ncclprobe.errors import BackendError
from ncclprobe.names import Collective
from ncclprobe.records.sweep import DEFAULT_CELL, Cell, Point

ARENA_BYTES = 16 << 20
"""Buffers rotate through as much, so that small sizes do not only measure a cache (docs/performance.md). A sample's
operations have a buffer each, as far as they fit: no result is overwritten before it has been looked at."""
MOST_SLOTS = 1024
"""Buffers that a size rotates through at most: the operations of the longest sample (sweep/pace.py)."""
_PAGE, _LINE = 4096, 64


class Refused(BackendError):
    """The library cannot run the cell here."""


class MpiRank:
    """This process among its ranks."""

    ran: Cell | None = None
    """The library does not say what it ran."""

    def __init__(self) -> None:
        self.world = MPI.COMM_WORLD
        self.rank, self.nranks = self.world.rank, self.world.size
        self.world.Barrier()
        segments.unname()
        self._selector = _Selector(self.world)
        self._patterns: dict[str, Pattern] = {}
        self._buffers: dict[Point, _Buffers] = {}
        self._arenas: dict[str, Array] = {}
        self._proven: set[tuple[str, Cell]] = set()

    def choices(self) -> Choices:
        """Return what the library can choose from."""
        return self._selector.choices()

    def abort(self) -> None:
        """End all ranks at once."""
        self.world.Abort(1)

    def finish(self) -> None:
        """Leave; the MPI library ends with the interpreter."""

    def share(self, content: bytes | None) -> bytes:
        """Return rank 0's content on every rank."""
        shared: bytes = self.world.bcast(content)
        return shared

    def largest(self, values: tuple[float, ...]) -> list[float]:
        """Return the maximum over ranks of each value."""
        own = np.array(values)
        everyone = np.empty((self.nranks, len(values)))
        self.world.Allgather(own, everyone)
        return [float(value) for value in everyone.max(axis=0)]

    def total(self, value: int) -> int:
        """Return the sum over ranks."""
        everyone = np.empty(self.nranks, np.int64)
        self.world.Allgather(np.array([value], np.int64), everyone)
        return int(everyone.sum())

    def prepare(self, points: tuple[Point, ...]) -> None:
        """Make the buffers of all points."""
        shapes = {point: geometry(point, self.rank, self.nranks) for point in points}
        sizes = [_Buffers.bytes_needed(point, shape) for point, shape in shapes.items()]
        # Touched once, so that no sample pays for the first touch of its pages.
        self._arenas = {side: np.full(max(sizes), 255, np.uint8) for side in ("send", "receive")}
        self._buffers = {point: _Buffers(point, shape, self._arenas) for point, shape in shapes.items()}
        for dtype in {point.dtype for point in points}:
            self._patterns[dtype] = Pattern(dtype, self.nranks)

    def fill(self, point: Point, salt: int, operations: int) -> None:
        """Put a sample's data into the buffers that it is going to use, and rubbish where results go."""
        pattern = self._patterns[point.dtype]
        pattern.salt(salt)
        self._buffers[point].fill(pattern, operations)

    def unproven(self, point: Point, cell: Cell) -> bool:
        """Return whether a cell has connected no peers yet, at whatever size."""
        return (point.collective, cell) not in self._proven

    def prove(self, point: Point, cell: Cell) -> float:
        """Run one operation, which connects a cell's peers, and return this rank's seconds.

        Raises:
            Refused: The library cannot run the cell here.
        """
        self._proven.add((point.collective, cell))
        return self.run(point, cell, 1)

    def run(self, point: Point, cell: Cell, operations: int) -> float:
        """Run a cell's operations one after the other and return this rank's seconds for all of them.

        Raises:
            Refused: The library cannot run the cell here.
        """
        collective = Collective(point.collective)
        comm = self._selector.select(collective, cell)
        try:
            calls = [_operation(comm, collective, send, receive) for send, receive in self._buffers[point].used()]
            self.world.Barrier()
            begin = time.perf_counter()
            for number in range(operations):
                calls[number % len(calls)]()
            return time.perf_counter() - begin
        except MPI.Exception as problem:
            raise Refused(f"{cell.algo}: {_reason(problem.Get_error_string())}") from problem
        finally:
            self._selector.select(collective, DEFAULT_CELL)

    def count_wrong(self, point: Point) -> int:
        """Return the wrong elements in all buffers that the last sample used on this rank."""
        return self._buffers[point].count_wrong(self._patterns[point.dtype])


class _Buffers:
    """One point's buffers in the arenas that all points share, used in turn from sample to sample."""

    def __init__(self, point: Point, shape: Geometry, arenas: dict[str, Array]) -> None:
        self._shape, self._in_place = shape, point.collective == Collective.BROADCAST
        stride, self._slots = self._layout(point, shape)
        self._send, self._receive = (
            arenas[side][: self._slots * stride].view(point.dtype).reshape(self._slots, -1)[:, :count]
            for side, count in (("send", shape.send.count), ("receive", shape.received))
        )
        self._next, self._used = 0, 1

    @staticmethod
    def _layout(point: Point, shape: Geometry) -> tuple[int, int]:
        """Return the bytes from one buffer to the next, whole pages or cache lines, and how many buffers there are."""
        size = max(shape.send.count, shape.received) * np.dtype(point.dtype).itemsize
        unit = _PAGE if size >= _PAGE else _LINE
        stride = -(-size // unit) * unit
        return stride, max(2, min(MOST_SLOTS, ARENA_BYTES // stride))

    @classmethod
    def bytes_needed(cls, point: Point, shape: Geometry) -> int:
        """Return the arena's size that this point needs."""
        stride, slots = cls._layout(point, shape)
        return stride * slots

    def used(self) -> list[tuple[Array, Array]]:
        """Return the send and receive buffers of the sample that was filled last."""
        return [(self._send[slot], self._receive[slot]) for part in self._of_sample() for slot in range(*part)]

    def fill(self, pattern: Pattern, operations: int) -> None:
        """Go on to the next buffers and fill them."""
        self._next = (self._next + self._used) % self._slots
        self._used = min(operations, self._slots)
        for begin, end in self._of_sample():
            receive = self._receive[begin:end]
            receive.fill(np.nan)
            if not self._in_place:
                pattern.write(self._send[begin:end], self._shape.send)
            elif self._shape.send.sources == self._shape.receive[0].sources:
                pattern.write(receive, self._shape.send)

    def count_wrong(self, pattern: Pattern) -> int:
        return sum(pattern.count_wrong(self._receive[slice(*part)], self._shape.receive) for part in self._of_sample())

    def _of_sample(self) -> list[tuple[int, int]]:
        """Return the slots in use, from where on and up to where, in two parts where they go round the arena's end."""
        last = self._next + self._used
        if last <= self._slots:
            return [(self._next, last)]
        return [(self._next, self._slots), (0, last - self._slots)]


class _Selector:
    """Puts cells in force: MPICH looks at its variables at every call, Open MPI at each new communicator."""

    def __init__(self, world: MPI.Intracomm) -> None:
        self._world = world
        variables = ControlVariables(MPI.__file__)
        self._mpich = {c: variables.find(mpich_algorithm(c)) for c in Collective}
        self._device = {c: variables.find(mpich_device(c)) for c in Collective}
        self._fallback = variables.find(MPICH_FALLBACK)
        self._open_mpi = {c: variables.find(open_mpi_algorithm(c)) for c in Collective}
        self._communicators: dict[tuple[Collective, Cell], MPI.Intracomm] = {}

    def choices(self) -> Choices:
        """Return the library's version and its algorithms."""
        found = {c: self._mpich[c] or self._open_mpi[c] for c in Collective}
        return Choices(
            library=_version(MPI.Get_library_version()),
            algorithms={c.value: tuple(v.choices) for c, v in found.items() if v is not None},
        )

    def select(self, collective: Collective, cell: Cell) -> MPI.Intracomm:
        """Put a cell in force on this rank and return the communicator that runs it.

        Raises:
            Refused: The library does not have it.
        """
        if self._open_mpi[collective] is not None:
            return self._communicator(collective, cell)
        if (variable := self._mpich[collective]) is not None:
            self._write_mpich(collective, variable, cell)
        elif not cell.is_default:
            raise Refused(f"{cell.algo}: the MPI library has no choice of algorithms for {collective}")
        return self._world

    def _write_mpich(self, collective: Collective, variable: Variable, cell: Cell) -> None:
        """Have MPICH run the algorithm over the whole communicator, or say that it cannot."""
        mode = "" if cell.is_default else self._mode(cell)
        variable.write(variable.initial if cell.is_default else _value(variable, cell))
        if device := self._device[collective]:
            device.write(device.initial if cell.is_default else 0)
        if self._fallback:
            self._fallback.write(self._fallback.choices[mode] if mode else self._fallback.initial)

    def _mode(self, cell: Cell) -> str:
        """Return what MPICH is to do where it cannot run a cell.

        Raises:
            Refused: It would run something else without a word.
        """
        if library_name(cell) not in MPICH_COMPOSED:
            return "error"
        if not self._sharing:
            raise Refused(f"{cell.algo}: no two ranks share a host's memory, so there is nothing to compose")
        return "silent"

    @functools.cached_property
    def _sharing(self) -> bool:
        """Return whether any two ranks share memory; every rank must ask at the same time."""
        shared = self._world.Split_type(MPI.COMM_TYPE_SHARED)
        largest: int = self._world.allreduce(shared.size, MPI.MAX)
        shared.Free()
        return largest > 1

    def _communicator(self, collective: Collective, cell: Cell) -> MPI.Intracomm:
        variable = self._open_mpi[collective]
        if cell.is_default or variable is None:
            return self._world
        if (collective, cell) not in self._communicators:
            variable.write(_value(variable, cell))
            self._communicators[collective, cell] = self._world.Dup()
            variable.write(variable.initial)
        return self._communicators[collective, cell]


def _value(variable: Variable, cell: Cell) -> int:
    try:
        return variable.choices[library_name(cell)]
    except KeyError as problem:
        known = ", ".join(name for own in variable.choices if (name := cell_name(own)))
        raise Refused(f"{cell.algo}: this MPI library has no such algorithm; it has {known}") from problem


def _reason(text: str) -> str:
    """Return the innermost words of an MPI error's text: MPICH prints a stack, one ``function(line): words`` a line."""
    words = [line.partition(":")[2].strip() or line.strip() for line in text.strip().splitlines()]
    return next((word for word in reversed(words) if word), "the MPI library failed without a word")


def _version(text: str) -> str:
    """Return ``MPICH 5.0.2`` or ``Open MPI v4.1.4`` from the library's own description."""
    line = text.strip().splitlines()[0]
    if line.startswith("MPICH Version:"):
        return "MPICH " + line.split(":", 1)[1].strip()
    return line.split(",")[0]


def _operation(comm: MPI.Intracomm, collective: Collective, send: Array, receive: Array) -> Callable[[], object]:
    if collective is Collective.ALL_REDUCE:
        return lambda: comm.Allreduce(send, receive, MPI.SUM)
    if collective is Collective.ALL_GATHER:
        return lambda: comm.Allgather(send, receive)
    if collective is Collective.REDUCE_SCATTER:
        return lambda: comm.Reduce_scatter_block(send, receive, MPI.SUM)
    if collective is Collective.BROADCAST:
        return lambda: comm.Bcast(receive, 0)
    if collective is Collective.ALLTOALL:
        return lambda: comm.Alltoall(send, receive)
    up, down = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
    return lambda: comm.Sendrecv(send, up, recvbuf=receive, source=down)
