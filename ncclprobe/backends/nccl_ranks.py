"""One rank of the ``nccl`` backend: puts cells in force through the tuner plugin, proves that they ran, times them."""

from __future__ import annotations

import contextlib
import os
import pathlib
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import msgspec

from ncclprobe.backends.geometry import elements_per_rank, geometry
from ncclprobe.backends.mpi_names import Choices
from ncclprobe.backends.nccl_device import ALIGNMENT, Buffers, Gpu, Operation, Slots, opening, slots_of
from ncclprobe.backends.nccl_library import Communicator, Nccl, Watchdog, gpu_count, succeed, take_turns
from ncclprobe.backends.nccl_log import NcclLog
from ncclprobe.backends.nccl_names import channels_in, difference, operations_in
from ncclprobe.backends.nccl_proof import Captured, Proof, Refused, judge_answers
from ncclprobe.backends.nccl_settings import RankSettings, placement
from ncclprobe.errors import BackendError, LaunchError, MeasurementTimeout, UsageError
from ncclprobe.launchers.gang import TROUBLE_S, Gang
from ncclprobe.names import Collective
from ncclprobe.records.sweep import Cell, Point
from ncclprobe.records.tuner import TUNED_COLLECTIVES
from ncclprobe.tuner.live import LiveTuner
from ncclprobe.units import format_size

LOG_SINCE = 22400
"""The version from which NCCL's log tells what ran."""
CHECK_EVERY_S = 0.05
"""Between two looks at what went wrong behind an operation."""


class NcclRank:
    """This process among its ranks."""

    def __init__(self, settings: str) -> None:
        self._settings = msgspec.json.decode(settings, type=RankSettings)
        self._gang = Gang(os.environ)
        self.rank, self.nranks = self._gang.rank, self._gang.nranks
        self.ran: Cell | None = None
        self._log: NcclLog | None = None
        self._library: Nccl | None = None
        self._salt, self._broken = 0, ""

    # ---- among the ranks

    def choices(self) -> Choices:
        """Return which NCCL this is and how many GPUs its host has."""
        return Choices(library=Nccl().name, algorithms={}, ngpus=gpu_count())

    def abort(self) -> None:
        """End all ranks: those that wait for this one hear that it is gone."""
        self._gang.close()

    def finish(self) -> None:
        """End the process at once: what NCCL and CUDA still hold goes with it, and a stuck GPU holds nothing up."""
        if self._log is not None:
            self._log.remove()
        if self._library is not None:
            self._gang.close()
            os._exit(0)

    def share(self, content: bytes | None) -> bytes:
        """Return rank 0's content on every rank."""
        return self._gang.share(content)

    def largest(self, values: tuple[float, ...]) -> list[float]:
        """Return the maximum over ranks of each value."""
        everyone = [msgspec.msgpack.decode(one, type=tuple[float, ...]) for one in self._gather(values)]
        return [max(column) for column in zip(*everyone, strict=True)]

    def total(self, value: int) -> int:
        """Return the sum over ranks."""
        return sum(msgspec.msgpack.decode(one, type=int) for one in self._gather(value))

    def _gather(self, value: object) -> list[bytes]:
        return self._gang.gather(msgspec.msgpack.encode(value))

    # ---- before the samples

    def prepare(self, points: tuple[Point, ...]) -> None:
        """Take the GPU, make the communicator and all points' buffers.

        Raises:
            LaunchError: One of them is not to be had.
        """
        self._gpu = gpu = Gpu(self._gang.local_rank)
        gpus = [address.decode() for address in self._gang.gather(gpu.bus_id.encode())]
        os.environ.update(placement(self.rank, self._gang.hosts, gpus, os.environ))
        places = list(zip(self._gang.hosts, gpus, strict=True))
        self._sharing = places.count(places[self.rank])
        self._log, self._library = NcclLog(), Nccl()
        self._tuner = LiveTuner(pathlib.Path(self._settings.plugin))
        self._communicators: dict[int, Communicator] = {}
        self._watchdog = Watchdog(self._abort_communicators)
        gpu.stuck, gpu.check = lambda: self._watchdog.passed, self._check_communicators
        self._checked = time.monotonic()
        self._communicator(0)
        if self._tuner.state.opened == 0:
            raise LaunchError(f"NCCL did not load the tuner plugin {self._settings.plugin}; see docs/nccl-backend.md")
        self._channels = int(self.largest((max(channels_in(self._log.new()), default=0),))[0])
        self._make_buffers(points)
        self._align = self._alignment()
        self._proofs: dict[tuple[Point, Cell], Proof] = {}
        self._graphs: dict[tuple[Point, Cell], Captured] = {}
        self._ways: set[tuple[str, str, str, bool]] = set()
        self._gang.patience_s = self._settings.timeout_s + TROUBLE_S

    def _communicator(self, min_channels: int) -> Communicator:
        """Return the communicator with NCCL's own channels (0) or with at least so many."""
        if min_channels not in self._communicators:
            library = self._library or Nccl()
            unique_id = self._gang.share(library.unique_id() if self.rank == 0 else None)
            self._communicators[min_channels] = library.communicator(
                unique_id, self.rank, self.nranks, min_channels=min_channels or None
            )
        return self._communicators[min_channels]

    def _make_buffers(self, points: tuple[Point, ...]) -> None:
        shapes = {point: geometry(point, self.rank, self.nranks) for point in points}
        budget = -int(self.largest((-self._gpu.free_bytes() / 2 / self._sharing,))[0])
        slots = slots_of(shapes, budget)
        arenas = self._arenas(max(one.bytes for one in slots.values()))
        self._buffers = {point: self._buffers_of(point, slots[point], arenas) for point in points}

    def _arenas(self, size: int) -> tuple[int, int]:
        library = self._library or Nccl()
        allocate = library.allocate if self._settings.gpu.memory == "nccl" else self._gpu.allocate
        send = allocate(size)
        return send, send if self._settings.gpu.in_place else allocate(size)

    def _alignment(self) -> Operation:
        """Return the smallest all-reduce: after it all ranks go on at the same time.

        It is captured, except in eager mode: from a communicator's first capture on, NCCL records and waits for an
        event with each operation that is not captured, which costs the host a microsecond or two.

        Source: NCCL 2.28.9, src/misc/strongstream.cc (``everCaptured``)
        """
        address, stream = self._gpu.allocate(2 * ALIGNMENT), int(self._gpu.stream.ptr)
        smallest = self._communicator(0).operation(
            Collective.ALL_REDUCE, address, address + ALIGNMENT, 2, "float32", stream
        )
        with self._communicator(0).translated("aligning the ranks"):
            smallest()
            self._gpu.wait()
            return smallest if self._settings.gpu.mode == "eager" else self._gpu.graph([smallest])

    def _buffers_of(self, point: Point, slots: Slots, arenas: tuple[int, int]) -> Buffers:
        shape = geometry(point, self.rank, self.nranks)
        in_place = self._settings.gpu.in_place
        return Buffers(self._gpu, point, shape, slots, arenas, self.rank, self.nranks, in_place=in_place)

    # ---- samples

    def fill(self, point: Point, salt: int, operations: int) -> None:
        """Put a sample's data into the buffers that it is going to use, and rubbish where results go."""
        self._salt = salt
        buffers = self._buffers[point]
        buffers.fill(salt, min(operations, buffers.slots.count))

    def unproven(self, point: Point, cell: Cell) -> bool:
        """Return whether nothing shows yet that a cell runs at a point: NCCL decides by size."""
        return (point, cell) not in self._proofs

    def prove(self, point: Point, cell: Cell) -> float:
        """Run one operation, which connects its peers and shows that it runs as asked, and return its seconds.

        Raises:
            Refused: NCCL cannot run the cell here, or would run something else; on every rank alike.
            MeasurementTimeout: It did not end in time; the communicator is aborted on every rank.
        """
        self.ran = None
        with self._limited(point, cell):
            proof = self._proofs[point, cell] = self._proven(point, cell)
            if self._settings.gpu.in_place:
                self._once_more(point, cell, None)
        self.ran = proof.ran
        return proof.each_s

    def run(self, point: Point, cell: Cell, operations: int) -> float:
        """Run a cell's operations one after the other and return this rank's seconds for all of them.

        Raises:
            Refused: NCCL ran something else.
            MeasurementTimeout: It did not end in time; the communicator is aborted on every rank.
        """
        if (point, cell) not in self._proofs:
            self.prove(point, cell)
        self.ran = None
        with self._limited(point, cell):
            return self._run(point, cell, operations)

    @contextlib.contextmanager
    def _limited(self, point: Point, cell: Cell) -> Iterator[None]:
        """Watch over a sample."""
        with self._watchdog.limit(self._settings.timeout_s):
            try:
                yield
            except MeasurementTimeout:  # word of another rank
                raise
            except BackendError as problem:
                if self._watchdog.passed or self._failure():
                    threading.Thread(target=self._abort_communicators, daemon=True).start()  # it may take its time
                    raise self._gang.trouble(self._state(point, cell)) from problem
                raise

    def count_wrong(self, point: Point) -> int:
        """Return the wrong elements in all buffers that the last sample used on this rank."""
        return self._buffers[point].count_wrong()

    def _run(self, point: Point, cell: Cell, operations: int) -> float:
        proof, graph = self._proofs[point, cell], self._graph(point, cell, operations)
        self.ran = proof.ran
        if graph is None:
            self._quieten()
            seconds = self._eager(point, cell, operations, proof.each_s)
        else:
            times = -(-operations // graph.operations)
            replays = partial(take_turns, [graph.replay])
            before = opening(replays, self._align, proof.each_s * graph.operations, times)
            seconds = self._gpu.timed(partial(replays, times), before)
            seconds *= operations / (times * graph.operations)
        if self._settings.gpu.in_place:
            self._once_more(point, cell, graph)
        return seconds

    def _eager(self, point: Point, cell: Cell, operations: int, each_s: float = 0.0) -> float:
        """Time operations that are enqueued one by one, with the cell in force."""
        enqueue, asked = self._enqueue(point, cell), self._tuner.state.asked
        self._force(point, cell)
        try:
            with self._communicators[0].translated(f"running {cell.label}"):
                before = opening(enqueue, self._align, each_s, operations)
                seconds = self._gpu.timed(partial(enqueue, operations), before)
        finally:
            self._tuner.release()
        judge_answers(cell, point, self._tuner.answers(after=max(asked, self._tuner.state.asked - 1)))
        return seconds

    def _quieten(self) -> None:
        if self._log is not None and self._library is not None:
            self._log.set_quiet(self._library, quiet=True)

    def _once_more(self, point: Point, cell: Cell, graph: Captured | None) -> None:
        """In place, run on fresh data exactly once: timed operations have summed up their own results."""
        buffers = self._buffers[point]
        buffers.fill(self._salt, buffers.used)
        self._force(point, cell)
        try:
            for operation in [graph.replay] if graph else self._operations(point, cell)[: buffers.used]:
                operation()
            self._gpu.wait()
        finally:
            self._tuner.release()

    # ---- cells

    def _proven(self, point: Point, cell: Cell) -> Proof:
        """Return what one operation shows.

        Raises:
            Refused: On every rank alike, where one of them cannot run it or NCCL runs something else.
        """
        ran, refusal, first_s = self._try(point, cell)
        heard = [msgspec.msgpack.decode(one, type=tuple[str, float]) for one in self._gather((refusal, first_s))]
        if reasons := [reason for reason, _ in heard if reason]:
            raise Refused(reasons[0])
        if self._connected(point, cell):
            return Proof(ran, max(seconds for _, seconds in heard))
        return Proof(ran, self.largest((self._eager(point, cell, 1),))[0])

    def _connected(self, point: Point, cell: Cell) -> bool:
        """Return whether a cell's peers were connected before, so that the first operation took what others take."""
        way = (point.collective, cell.algo, cell.proto, self._is_wide(cell))
        known = way in self._ways
        self._ways.add(way)
        return known

    def _graph(self, point: Point, cell: Cell, operations: int) -> Captured | None:
        """Return a graph of as many operations as there are buffers, or as a sample has; None in eager mode."""
        if not self._settings.captures(point.size_bytes):
            return None
        wanted = min(operations, self._buffers[point].slots.count)
        if (point, cell) not in self._graphs or self._graphs[point, cell].operations < wanted:
            self._graphs[point, cell] = self._capture(point, cell, wanted)
        return self._graphs[point, cell]

    def _capture(self, point: Point, cell: Cell, wanted: int) -> Captured:
        operations, asked = self._operations(point, cell)[:wanted], self._tuner.state.asked
        self._force(point, cell)
        try:
            with self._communicators[0].translated(f"capturing {cell.label}"):
                graph = self._gpu.graph(operations)
        finally:
            self._tuner.release()
        judge_answers(cell, point, self._tuner.answers(after=asked))
        return Captured(graph, len(operations))

    def _try(self, point: Point, cell: Cell) -> tuple[Cell | None, str, float]:
        """Run one operation, and return what ran, why the cell is refused, and the seconds with the connecting."""
        library, log = self._library, self._log
        if library is None or log is None:
            raise LaunchError("a sample before any preparation")
        log.set_quiet(library, quiet=False)
        log.new()
        try:
            asked = self._tuner.state.asked
            self._force(point, cell)
            with self._communicators[0].translated(cell.label):
                operation = self._operations(point, cell)[0]
                seconds = self._gpu.seconds(lambda _: operation(), 1, lambda: None)
            judge_answers(cell, point, self._tuner.answers(after=asked))
        except BackendError as problem:
            if self._watchdog.passed or self._failure():
                raise
            return None, str(problem), 0.0
        finally:
            self._tuner.release()
        found = list(operations_in(log.new())) if library.version >= LOG_SINCE else []
        ran = found[-1].cell if found else None
        return ran, difference(cell, ran) if ran is not None else "", seconds

    def _force(self, point: Point, cell: Cell) -> None:
        collective = Collective(point.collective)
        if cell.is_default:
            self._tuner.release()
            return
        if collective not in TUNED_COLLECTIVES:
            raise Refused(f"{cell.label}: NCCL has no choice of algorithms for {collective}")
        try:
            self._tuner.force(cell, collective)
        except UsageError as problem:
            raise Refused(str(problem)) from problem

    def _enqueue(self, point: Point, cell: Cell) -> Callable[[int], object]:
        """Return what enqueues so many operations, the slots taking turns: in C where that is one call of NCCL's."""
        calls = self._communicator_of(cell).calls(
            Collective(point.collective), tuple(self._buffers[point].addresses()),
            elements_per_rank(point, self.nranks), point.dtype, int(self._gpu.stream.ptr),
        )  # fmt: skip
        if calls is None:
            return partial(take_turns, self._operations(point, cell))
        return partial(succeed, self._tuner.repeated(calls))

    def _communicator_of(self, cell: Cell) -> Communicator:
        return self._communicator(self._settings.most_channels if self._is_wide(cell) else 0)

    def _operations(self, point: Point, cell: Cell) -> list[Operation]:
        """Return what enqueues an operation on each slot."""
        communicator = self._communicator_of(cell)
        collective, count = Collective(point.collective), elements_per_rank(point, self.nranks)
        stream = int(self._gpu.stream.ptr)
        return [
            communicator.operation(collective, send, receive, count, point.dtype, stream)
            for send, receive in self._buffers[point].addresses()
        ]

    def _is_wide(self, cell: Cell) -> bool:
        """Return whether a cell asks for more channels than NCCL's own."""
        return 0 < self._channels < (cell.nchannels or 0)

    # ---- trouble

    def _state(self, point: Point, cell: Cell) -> str:
        """Return what this rank was at, for the others."""
        answer = self._tuner.last()
        took = f", in which NCCL took {answer.algo}/{answer.proto} last" if answer is not None else ""
        place = f"{cell.label} at {point.collective} {point.dtype} {format_size(point.size_bytes)}"
        if self._broken:
            return f"failed in {place}{took}: {self._broken}"
        return f"was aborted after {self._settings.timeout_s:g} s in {place}{took}"

    def _abort_communicators(self) -> None:
        for communicator in self._communicators.values():
            communicator.abort()

    def _failure(self) -> str:
        """Return what went wrong behind the operations, empty where nothing did: no communicator outlives that."""
        if not self._broken and not self._watchdog.passed:
            self._broken = next(filter(None, (one.failure() for one in self._communicators.values())), "")
        return self._broken

    def _check_communicators(self) -> None:
        """Raise what went wrong behind the operations.

        Raises:
            BackendError: Something did.
        """
        if time.monotonic() - self._checked < CHECK_EVERY_S:
            return
        self._checked = time.monotonic()
        if words := self._failure():
            raise BackendError(words)
