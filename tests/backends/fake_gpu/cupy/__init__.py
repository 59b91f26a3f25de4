"""CuPy's part that ncclprobe uses, on host memory: kernels are compiled for the CPU, streams run at once."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import math
import os
import pathlib
import random
import subprocess
import time
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

SHIM = """
#include <cstring>
#define __device__ static
#define __global__
struct Index { unsigned x, y; };
static Index blockIdx, blockDim = {1, 1}, threadIdx = {0, 0}, gridDim = {1, 1};
static unsigned __float_as_uint(float f) { unsigned u; memcpy(&u, &f, 4); return u; }
static long long __double_as_longlong(double d) { long long u; memcpy(&u, &d, 8); return u; }
static void atomicAdd(unsigned long long* p, unsigned long long v) { *p += v; }
extern "C" void set_slot(unsigned slot) { blockIdx.y = slot; }
"""
CAPTURED: list[Callable[[], object]] | None = None
"""Operations of the graph that is being captured."""
STUCK = False
"""Whether an operation waits for ever."""
CLOCK: list[float] = []
"""Where operations are said to take time, as on any GPU but the slow ones of FAKE_SLOW_GPUS ("2" or "2,3": they take
twice as long), the time by that clock; empty where they take what they take."""
COPY_S, PRODUCT_S, SPREAD = 2e-3, 1e-3, 0.003
_KINDS = {"uint64": ctypes.c_uint64, "uint32": ctypes.c_uint32}


def enqueue(work: Callable[[], object]) -> None:
    """Run now, or at each replay of the graph that is being captured."""
    if CAPTURED is not None:
        CAPTURED.append(work)
    else:
        work()


def spend(seconds: float) -> None:
    """Let an operation take so long by the GPU's clock, a little more or less each time."""
    if CLOCK:
        slow = str(Device.used) in os.environ["FAKE_SLOW_GPUS"].split(",")
        CLOCK[0] += seconds * (2 if slow else 1) * math.exp(SPREAD * _noise().gauss())


@functools.cache
def _noise() -> random.Random:
    return random.Random(Device.used)


class CUDARuntimeError(RuntimeError):
    pass


class CUDADriverError(RuntimeError):
    pass


def _memset(address: int, value: int, size: int, _stream: int) -> None:
    enqueue(lambda: ctypes.memset(address, value, size))


def _memcpy(to: int, origin: int, size: int, kind: int, _stream: int) -> None:
    assert kind == 3
    enqueue(lambda: (ctypes.memmove(to, origin, size), spend(COPY_S)))


class Stream:
    ptr = 7

    def __init__(self, non_blocking: bool = False) -> None:
        assert non_blocking

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def begin_capture(self) -> None:
        global CAPTURED
        assert CAPTURED is None
        CAPTURED = []

    def end_capture(self) -> Graph:
        global CAPTURED
        assert CAPTURED is not None
        graph, CAPTURED = Graph(CAPTURED), None
        return graph


class Graph:
    def __init__(self, operations: list[Callable[[], object]]) -> None:
        self._operations = operations

    def launch(self, _stream: Stream) -> None:
        for operation in self._operations:
            operation()


class Event:
    def record(self, _stream: Stream) -> None:
        self.at = CLOCK[0] if CLOCK else time.perf_counter()

    @property
    def done(self) -> bool:
        return not STUCK


class Memory:
    def __init__(self, size: int) -> None:
        if size > float(os.environ.get("FAKE_GPU_BYTES", "inf")):
            raise CUDARuntimeError("cudaErrorMemoryAllocation: out of memory")
        self._bytes = (ctypes.c_char * size)()
        self.ptr = ctypes.addressof(self._bytes)


class Array:
    def __init__(self, values: np.ndarray) -> None:
        self.values = values
        self.data = types.SimpleNamespace(ptr=values.ctypes.data)

    def get(self, stream: Stream) -> np.ndarray:
        return self.values.copy()


class RawModule:
    def __init__(self, code: str) -> None:
        self._library = ctypes.CDLL(str(_compiled(SHIM + code)))

    def get_function(self, name: str) -> Callable[..., None]:
        function = getattr(self._library, name)

        def launch(grid: tuple[int, int], _block: tuple[int], arguments: tuple[Any, ...]) -> None:
            for slot in range(grid[1]):
                self._library.set_slot(slot)
                function(*map(_argument, arguments))

        return launch


def _argument(value: Any) -> Any:
    return ctypes.c_void_p(value.data.ptr) if isinstance(value, Array) else _KINDS[value.dtype.name](int(value))


def _compiled(code: str) -> pathlib.Path:
    folder = pathlib.Path(os.environ["FAKE_GPU_FOLDER"])
    library = folder / f"{hashlib.sha256(code.encode()).hexdigest()[:16]}.so"
    if not library.exists():
        source = folder / f"{os.getpid()}.cpp"
        source.write_text(code)
        built = source.with_suffix(".so")
        subprocess.run(["c++", "-O1", "-w", "-shared", "-fPIC", "-o", built, source], check=True)
        built.replace(library)
    return library


def asarray(values: np.ndarray) -> Array:
    return Array(values.copy())


def zeros(count: Any, dtype: Any) -> Array:
    return Array(np.zeros(count, dtype))


def matmul(left: Array, right: Array, out: Array) -> None:
    """Take a moment; nobody looks at the product."""
    enqueue(lambda: (time.sleep(1e-4), spend(PRODUCT_S)))


@contextlib.contextmanager
def _used() -> Iterator[None]:
    yield


class Device:
    used = 0

    def __init__(self, number: int) -> None:
        self.number = number

    def use(self) -> None:
        assert 0 <= self.number < runtime.getDeviceCount()
        Device.used = self.number
        if "FAKE_SLOW_GPUS" in os.environ:
            CLOCK.append(0.0)


@functools.cache
def _devices() -> int:
    return int(os.environ.get("FAKE_GPUS", "2"))


runtime = types.SimpleNamespace(
    CUDARuntimeError=CUDARuntimeError,
    getDeviceCount=_devices,
    deviceGetPCIBusId=lambda number: f"0000:{number:02x}:00.0",
    memGetInfo=lambda: (1 << 30, 2 << 30),
    memsetAsync=_memset,
    memcpyAsync=_memcpy,
)
driver = types.SimpleNamespace(CUDADriverError=CUDADriverError)
cuda = types.SimpleNamespace(
    runtime=runtime, driver=driver, Stream=Stream, Event=Event, Memory=Memory, Device=Device,
    get_elapsed_time=lambda begin, end: (end.at - begin.at) * 1e3,
)  # fmt: skip
ndarray = Array
