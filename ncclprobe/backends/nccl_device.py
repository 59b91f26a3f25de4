"""One GPU: buffers that operations rotate through, what fills and checks them, and what times operations."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import cupy
import numpy as np

from ncclprobe.backends.geometry import ITEM_BYTES, Geometry
from ncclprobe.backends.nccl_pattern import Bounds, bounds, check_of, kernels, weight
from ncclprobe.errors import BackendError, LaunchError
from ncclprobe.names import Collective
from ncclprobe.records.base import Record
from ncclprobe.records.sweep import Point

MOST_SLOTS = 20
"""Buffers that a size rotates through at most, and operations in a graph: nccl-tests' default number of iterations."""
ARENA_BYTES = 256 << 20
"""Sizes rotate through as much, five times an H200's second-level cache, or through the largest size's buffer."""
ALIGNMENT = 512
"""From one buffer to the next, a multiple of it."""
MEMORY_SHARE = 0.8
"""Of the free device memory that buffers may take."""
_THREADS, _MOST_BLOCKS = 256, 1024
_SPIN_S = 2e-3
"""After which a wait for the GPU gives the core away between two looks."""

LONG_S = 0.02
"""A sample that takes longer is preceded by the smallest all-reduce, a shorter one by one of its own operations: the
host's 20 us between that and the first operation are then at most a thousandth."""
WARMING_SHARE = 8
"""A long sample of so many operations or more begins with that part of them untimed: after a pause of 50 ms an H200
takes 1 % longer for 1 GiB at first."""

Operation = Callable[[], object]
CUDA_ERRORS = (cupy.cuda.runtime.CUDARuntimeError, cupy.cuda.driver.CUDADriverError)


class Slots(Record, frozen=True, kw_only=True):
    """How a point's buffers lie in an arena."""

    stride: int
    """Bytes from one buffer to the next."""
    count: int
    """Buffers."""

    @property
    def bytes(self) -> int:
        """Return what they take in all."""
        return self.stride * self.count


def slots_of(shapes: Mapping[Point, Geometry], budget: int) -> dict[Point, Slots]:
    """Return the layout of each point's buffers in an arena that all share: many of small ones, one of the largest.

    Args:
        shapes: Each point's geometry on any rank.
        budget: Bytes that one arena may have.

    Source: nccl-tests 2.19.6, src/common.cu (``startColl``: as many places as the largest size holds)
    """
    strides = {point: _stride(point, shape) for point, shape in shapes.items()}
    arena = min(budget, max(ARENA_BYTES, *strides.values()))
    return {
        point: Slots(stride=stride, count=max(1, min(MOST_SLOTS, arena // stride))) for point, stride in strides.items()
    }


def _stride(point: Point, shape: Geometry) -> int:
    size = max(shape.send.count, shape.received) * ITEM_BYTES[point.dtype]
    return -(-size // ALIGNMENT) * ALIGNMENT


class Gpu:
    """The GPU of this rank; made once a process."""

    def __init__(self, local_rank: int) -> None:
        """Take the GPU of a rank's number on its host; more ranks than GPUs share them.

        Raises:
            LaunchError: There is none.
        """
        try:
            count = int(cupy.cuda.runtime.getDeviceCount())
        except CUDA_ERRORS as problem:
            raise LaunchError(
                f"there is no usable GPU: {problem}; check nvidia-smi and CUDA_VISIBLE_DEVICES"
            ) from problem
        self.number = local_rank % max(1, count)
        self.bus_id = str(cupy.cuda.runtime.deviceGetPCIBusId(self.number))
        cupy.cuda.Device(self.number).use()
        self.stream = cupy.cuda.Stream(non_blocking=True)
        self._events = cupy.cuda.Event(), cupy.cuda.Event()
        self._memory: list[object] = []
        self.stuck: Callable[[], bool] = lambda: False
        """Whether waiting is in vain."""
        self.check: Callable[[], None] = lambda: None
        """Raises what has gone wrong while waiting; asked now and then."""

    def free_bytes(self) -> int:
        """Return what buffers may take."""
        return int(cupy.cuda.runtime.memGetInfo()[0] * MEMORY_SHARE)

    def allocate(self, size: int) -> int:
        """Return the address of memory from cudaMalloc that lives as long as the process.

        Raises:
            LaunchError: There is too little.
        """
        try:
            memory = cupy.cuda.Memory(size)
        except CUDA_ERRORS as problem:
            raise LaunchError(f"the GPU has no {size} bytes for buffers: {problem}; sweep smaller sizes") from problem
        self._memory.append(memory)
        return int(memory.ptr)

    def copied(self, values: Sequence[int]) -> cupy.ndarray:
        """Return 32-bit numbers in device memory."""
        with self.stream:
            return cupy.asarray(np.array(values, np.uint32))

    def wait(self) -> None:
        """Wait for the stream's end.

        Raises:
            BackendError: It was found to be in vain.
        """
        event = self._events[1]
        event.record(self.stream)
        self._wait(event)

    def _wait(self, event: cupy.cuda.Event) -> None:
        spinning_until = time.monotonic() + _SPIN_S
        while not event.done:
            if self.stuck():
                raise BackendError("it did not end in time")
            if time.monotonic() > spinning_until:
                self.check()
                time.sleep(50e-6)

    def graph(self, operations: Sequence[Operation]) -> Operation:
        """Return what replays operations, captured once in their order.

        Raises:
            BackendError: They cannot be captured.
        """
        with self.translated("capturing a CUDA graph"), self.stream:
            self.stream.begin_capture()
            try:
                for operation in operations:
                    operation()
            finally:
                graph = self.stream.end_capture()
        return lambda: graph.launch(self.stream)

    def seconds(self, work: Callable[[int], object], times: int, before: Operation | None = None) -> float:
        """Return the time between events around ``work(0)``, ``work(1)`` ...; before them, ``work(0)`` unless given.

        Raises:
            BackendError: Waiting was found to be in vain.
        """

        def all_of_it() -> None:
            for number in range(times):
                work(number)

        return self.timed(all_of_it, before or partial(work, 0))

    def timed(self, work: Operation, before: Operation) -> float:
        """Return the time between events around the work; what comes before aligns the ranks, and hides the host.

        Raises:
            BackendError: Waiting was found to be in vain.
        """
        begin, end = self._events
        with self.translated("running the operations"):
            before()
            begin.record(self.stream)
            work()
            end.record(self.stream)
            self._wait(end)
            return float(cupy.cuda.get_elapsed_time(begin, end)) / 1e3

    @contextlib.contextmanager
    def translated(self, what: str) -> Iterator[None]:
        """Turn CUDA's errors into ours."""
        try:
            yield
        except CUDA_ERRORS as problem:
            raise BackendError(f"{what} failed: {problem}") from problem


def opening(work: Callable[[int], object], align: Operation, each_s: float, times: int) -> Operation:
    """Return what comes before a sample: it aligns the ranks, hides the host, and wakes the GPU up.

    Args:
        work: Enqueues the sample's work so often.
        align: Enqueues the smallest all-reduce.
        each_s: What once takes, in seconds.
        times: How often the sample has it.
    """
    if each_s * times <= LONG_S:
        return partial(work, 1)
    waking = times // WARMING_SHARE

    def before() -> None:
        work(waking)
        align()

    return before


class Buffers:
    """One point's buffers in the arenas that all points share, with what their data must be.

    Attributes:
        slots: How they lie.
        used: How many the last ``fill`` filled.
    """

    def __init__(
        self, gpu: Gpu, point: Point, shape: Geometry, slots: Slots, arenas: tuple[int, int], rank: int, nranks: int,
        *, in_place: bool,
    ) -> None:  # fmt: skip
        self.slots = slots
        self._gpu, self._point, self._shape = gpu, point, shape
        self._rank, self._nranks, self._in_place = rank, nranks, in_place
        part = shape.send.count if point.collective == Collective.ALL_GATHER else shape.received
        offset = rank * part * ITEM_BYTES[point.dtype]
        collective = Collective(point.collective)
        send, receive = arenas
        self._results = receive
        if in_place:
            send = receive + (offset if collective is Collective.ALL_GATHER else 0)
            receive += offset if collective is Collective.REDUCE_SCATTER else 0
        self._send, self._receive = send, receive
        summed = collective in (Collective.ALL_REDUCE, Collective.REDUCE_SCATTER)
        self._limits: Bounds = bounds(point.dtype, nranks, summed=summed)
        module = cupy.RawModule(code=kernels(point.dtype))
        self._fill, self._check = module.get_function("fill"), module.get_function("check")
        self._wrong = cupy.zeros(1, np.uint64)
        self.used, self._salt = slots.count, 0

    def addresses(self) -> list[tuple[int, int]]:
        """Return the send and receive address in each slot."""
        return [
            (self._send + slot * self.slots.stride, self._receive + slot * self.slots.stride)
            for slot in range(self.slots.count)
        ]

    def fill(self, salt: int, used: int) -> None:
        """Put a sample's data into the first slots, and rubbish where results go."""
        self.used, self._salt = used, salt & 0xFFFFFFFF
        span, most = self._shape.send, self._limits.base
        own = weight(self._rank, self._salt, self._nranks, self._limits)
        with self._gpu.translated("filling the buffers"), self._gpu.stream:
            self.spoil()
            if self._has_data():
                self._fill(
                    self._grid(span.count), (_THREADS,),
                    (np.uint64(self._send), np.uint64(self.slots.stride), np.uint64(span.count), np.uint64(span.start),
                     np.uint32(own), np.uint32(self._salt), np.uint32(most)),
                )  # fmt: skip

    def _has_data(self) -> bool:
        """Return whether this rank sends: in place, only the root's buffer of a broadcast holds anything."""
        return not (self._in_place and self._point.collective == Collective.BROADCAST and self._rank)

    def spoil(self) -> None:
        """Overwrite where results go with rubbish; in place, the send buffer lies in it or it in the send buffer."""
        largest = max(self._shape.received, self._shape.send.count) * ITEM_BYTES[self._point.dtype]
        extent = (self.used - 1) * self.slots.stride + largest
        with self._gpu.translated("overwriting the results"):
            cupy.cuda.runtime.memsetAsync(self._results, 0xFF, extent, self._gpu.stream.ptr)

    def count_wrong(self) -> int:
        """Return the elements in the used slots whose bits are not the expected ones."""
        expected = check_of(self._shape, self._salt, self._nranks, self._limits)
        weights = self._gpu.copied(expected.weights)
        with self._gpu.translated("checking the results"), self._gpu.stream:
            cupy.cuda.runtime.memsetAsync(self._wrong.data.ptr, 0, 8, self._gpu.stream.ptr)
            self._check(
                self._grid(expected.count), (_THREADS,),
                (np.uint64(self._receive), np.uint64(self.slots.stride), np.uint64(expected.count),
                 np.uint64(expected.start), np.uint64(expected.step), np.uint32(expected.spans), weights,
                 np.uint32(self._salt), np.uint32(self._limits.base), self._wrong),
            )  # fmt: skip
            return int(self._wrong.get(stream=self._gpu.stream)[0])

    def _grid(self, count: int) -> tuple[int, int]:
        return max(1, min(_MOST_BLOCKS, -(-count // _THREADS))), self.used
