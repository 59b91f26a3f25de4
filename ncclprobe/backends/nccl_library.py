"""NCCL itself, through nccl4py's thin layer ``nccl.bindings``; the one place that knows it.

Why not ``cupy.cuda.nccl``: it raises KeyError for result codes that are newer than its table, and hides the
configuration of communicators that exist beside others. Why not nccl4py's ``Communicator``: an enqueue through it takes
21 µs instead of about 6. Communicators are blocking: a non-blocking one starts a thread for every operation (NCCL
2.28.9, src/group.cc, ``ncclGroupEndInternal``). What non-blocking ones are for, a limit on how long anything may take,
comes from ``Watchdog``: a thread that aborts the communicator while the calling one is inside NCCL.

Source: NCCL 2.28.9, src/nccl.h.in; nccl4py 0.6, nccl/bindings/nccl (its calls carry C's names and order)
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import pathlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from ncclprobe.backends.geometry import ITEM_BYTES
from ncclprobe.backends.nccl_names import DTYPES, version_text
from ncclprobe.errors import BackendError, MissingDependencyError
from ncclprobe.names import Collective
from ncclprobe.tuner.live import Calls

SUM = 0
"""``ncclSum``."""
MOST_CHANNELS = 64
"""A configuration that names the least has to name the most. Source: NCCL 2.28.9, src/include/device.h (MAXCHANNELS)
and src/init.cc (``parseCommConfig``)."""
ALLTOALL_SINCE = 22800
"""The version that brought ``ncclAlltoAll``; sends and receives in one group do the same before."""
INSTALL = "pip install 'ncclprobe[cuda13]' (or cuda12)"

Operation = Callable[[], object]
_CALLS = {
    Collective.ALL_REDUCE: ("ncclAllReduce", SUM),
    Collective.REDUCE_SCATTER: ("ncclReduceScatter", SUM),
    Collective.BROADCAST: ("ncclBroadcast", 0),
    Collective.ALL_GATHER: ("ncclAllGather", None),
}
"""Collective -> NCCL's function, and its reduction or root. Source: NCCL 2.28.9, src/nccl.h.in"""


def gpu_count() -> int:
    """Return how many GPUs this process may use, 0 where there is no driver.

    Source: CUDA Driver API 13.0, ``cuInit``, ``cuDeviceGetCount`` (CUDA_VISIBLE_DEVICES is heeded)
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    return count.value if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 else 0


class Nccl:
    """The loaded library.

    Raises:
        MissingDependencyError: nccl4py or NCCL is absent.
    """

    def __init__(self) -> None:
        try:
            from nccl.bindings import nccl as bindings
        except ImportError as problem:
            raise MissingDependencyError(f"the backend `nccl` needs nccl4py 0.6 ({problem}); {INSTALL}") from problem
        self._bindings: Any = bindings
        try:
            self.version = int(bindings.get_version())
        except (OSError, RuntimeError) as problem:
            raise MissingDependencyError(f"there is no NCCL library ({problem}); {INSTALL}") from problem

    @property
    def name(self) -> str:
        """Return ``NCCL 2.28.9``."""
        return f"NCCL {version_text(self.version)}"

    @property
    def path(self) -> pathlib.Path | None:
        """Return the library's file as this process has mapped it, None where that is not to be seen."""
        with contextlib.suppress(OSError):
            for line in pathlib.Path("/proc/self/maps").read_text("utf-8").splitlines():
                if "libnccl.so" in line:
                    return pathlib.Path(line.split(maxsplit=5)[5])
        return None

    def unique_id(self) -> bytes:
        """Return what ranks need to make a communicator together."""
        with self.translated("ncclGetUniqueId"):
            return bytes(memoryview(self._bindings.get_unique_id()))

    def communicator(self, unique_id: bytes, rank: int, nranks: int, *, min_channels: int | None) -> Communicator:
        """Return this rank's end of a new communicator; all ranks have to call it.

        Args:
            unique_id: Rank 0's.
            rank: From 0.
            nranks: Ranks in all.
            min_channels: At least so many channels; None leaves their number to NCCL.

        Raises:
            BackendError: NCCL could not make it.
        """
        config = self._bindings.Config()
        config.blocking = 1
        if min_channels is not None:
            config.min_ctas, config.max_ctas = min_channels, MOST_CHANNELS
        with self.translated("ncclCommInitRankConfig"):
            handle = self._bindings.comm_init_rank_config(nranks, bytearray(unique_id), rank, config.ptr)
        return Communicator(self, self._bindings, handle, rank, nranks)

    def allocate(self, size: int) -> int:
        """Return the address of device memory that NCCL allocates, as nccl-tests does.

        Raises:
            BackendError: There is too little.
        """
        with self.translated("ncclMemAlloc"):
            return int(self._bindings.mem_alloc(size))

    def address(self, symbol: str) -> int | None:
        """Return where one of NCCL's functions is in this process, None where that is not to be found out."""
        if self.path is None:
            return None
        try:
            return ctypes.cast(getattr(ctypes.CDLL(str(self.path)), symbol), ctypes.c_void_p).value
        except (OSError, AttributeError):
            return None

    def reread_debug(self) -> bool:
        """Have NCCL read its NCCL_DEBUG variables again; return whether this version can.

        Source: NCCL 2.24.3 to 2.30.7, src/debug.cc (``ncclResetDebugInit``, exported though deprecated)
        """
        try:
            reset = ctypes.CDLL(str(self.path)).ncclResetDebugInit
        except (OSError, AttributeError):
            return False
        reset.restype = None
        reset()
        return True

    @contextlib.contextmanager
    def translated(self, what: str, last_error: Callable[[], str] | None = None) -> Iterator[None]:
        """Turn what the binding raises into ours, unknown result codes too."""
        try:
            yield
        except self._bindings.NCCLError as problem:
            detail = f": {words}" if last_error and (words := last_error()) else ""
            raise BackendError(f"{what} failed: {problem}{detail}") from problem
        except (ValueError, KeyError) as problem:
            raise BackendError(f"{what} returned a result that nccl4py does not know: {problem}") from problem


class Communicator:
    """One rank's end of a communicator."""

    def __init__(self, library: Nccl, bindings: Any, handle: Any, rank: int, nranks: int) -> None:
        self._library, self._nccl, self._handle = library, bindings, handle
        self.rank, self.nranks = rank, nranks
        self.aborted = False

    def operation(
        self, collective: Collective, send: int, receive: int, count: int, dtype: str, stream: int
    ) -> Operation:
        """Return what enqueues a collective, with everything that Python can do before done before.

        Args:
            collective: Which; broadcasts start at rank 0, sendrecv shifts one rank up.
            send: Address of the send buffer.
            receive: Address of the receive buffer.
            count: Elements of one rank's part, as in NCCL's call.
            dtype: By name.
            stream: CUDA's handle.
        """
        nccl, comm, number = self._nccl, self._handle, DTYPES[dtype]
        if collective is Collective.ALL_REDUCE:
            return partial(nccl.all_reduce, send, receive, count, number, SUM, comm, stream)
        if collective is Collective.REDUCE_SCATTER:
            return partial(nccl.reduce_scatter, send, receive, count, number, SUM, comm, stream)
        if collective is Collective.ALL_GATHER:
            return partial(nccl.all_gather, send, receive, count, number, comm, stream)
        if collective is Collective.BROADCAST:
            return partial(nccl.broadcast, send, receive, count, number, 0, comm, stream)
        if collective is Collective.ALLTOALL and self._library.version >= ALLTOALL_SINCE:
            return partial(nccl.allto_all, send, receive, count, number, comm, stream)
        return partial(self._exchange, self._pairs(collective, send, receive, count, dtype), number, count, stream)

    def calls(
        self, collective: Collective, buffers: tuple[tuple[int, int], ...], count: int, dtype: str, stream: int
    ) -> Calls | None:
        """Return what ``operation`` would call, for the plugin to call it; None where it is more than one call."""
        symbol, op = _CALLS.get(collective, ("", None))
        address = self._library.address(symbol) if symbol else None
        if address is None:
            return None
        return Calls(
            function=address, op=op, buffers=buffers, count=count, dtype=DTYPES[dtype], comm=int(self._handle),
            stream=stream,
        )  # fmt: skip

    def _pairs(self, collective: Collective, send: int, receive: int, count: int, dtype: str) -> list[tuple[int, ...]]:
        """Return where to send from and to whom, and where to receive and from whom."""
        if collective is Collective.SENDRECV:
            return [(send, (self.rank + 1) % self.nranks, receive, (self.rank - 1) % self.nranks)]
        part = count * ITEM_BYTES[dtype]
        return [(send + peer * part, peer, receive + peer * part, peer) for peer in range(self.nranks)]

    def _exchange(self, pairs: list[tuple[int, ...]], number: int, count: int, stream: int) -> None:
        nccl, comm = self._nccl, self._handle
        nccl.group_start()
        for send, to, receive, origin in pairs:
            nccl.send(send, count, number, to, comm, stream)
            nccl.recv(receive, count, number, origin, comm, stream)
        nccl.group_end()

    @contextlib.contextmanager
    def translated(self, what: str) -> Iterator[None]:
        """Turn what operations raise into ours, with NCCL's last words."""
        with self._library.translated(what, lambda: str(self._nccl.get_last_error(self._handle)).strip()):
            yield

    def failure(self) -> str:
        """Return what went wrong behind the operations, empty where nothing did."""
        if self.aborted:
            return "the communicator was aborted"
        with self.translated("ncclCommGetAsyncError"):
            code = int(self._nccl.comm_get_async_error(self._handle))
        return "" if code in (0, 7) else f"{self._nccl.get_error_string(code)} (result {code})"

    def abort(self) -> None:
        """End what is in flight and free the communicator; may be called while another thread is inside NCCL."""
        if not self.aborted:
            self.aborted = True
            with self.translated("ncclCommAbort"):
                self._nccl.comm_abort(self._handle)

    def destroy(self) -> None:
        """Free the communicator; nothing may be in flight."""
        if not self.aborted:
            self.aborted = True
            with self.translated("ncclCommDestroy"):
                self._nccl.comm_destroy(self._handle)


def take_turns(operations: Sequence[Operation], times: int) -> None:
    """Run so many operations, one after the other and then from the first again."""
    for number in range(times):
        operations[number % len(operations)]()


def succeed(repeat: Callable[[int], int], times: int) -> None:
    """Have NCCL called so often.

    Raises:
        BackendError: It returned a result code that is no success.
    """
    if result := repeat(times):
        raise BackendError(f"NCCL returned the result {result}")


class Watchdog:
    """A thread that ends what is stuck once a limit has passed. It looks twenty times a second and costs nothing else.

    Attributes:
        passed: Whether the limit passed; from then on nothing can be run any more.
    """

    def __init__(self, end: Callable[[], object]) -> None:
        self.passed = False
        self._end, self._deadline = end, math.inf
        threading.Thread(target=self._look, daemon=True).start()

    @contextlib.contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """Watch over a block of code."""
        self._deadline = time.monotonic() + seconds
        try:
            yield
        finally:
            self._deadline = math.inf

    def _look(self) -> None:
        while time.monotonic() < self._deadline:
            time.sleep(0.05)
        self.passed = True
        self._end()
