"""nccl4py's thin layer as far as it is used: asks the real tuner plugin as NCCL 2.28 does, logs as it does, and moves
data between processes through files. Ranks that were told different algorithms wait for each other for ever."""

from __future__ import annotations

import os
import pathlib
import sys
import time
from collections.abc import Callable

import cupy
import numpy as np

sys.path.insert(0, os.environ["FAKE_NCCL_HELPERS"])
from fake_nccl import FakeNccl

FOLDER = pathlib.Path(os.environ["FAKE_GPU_FOLDER"])
OWN_CHANNELS = 4
ALL_REDUCE_S = 0.02
NAMES = {4: "AllReduce", 2: "AllGather", 3: "ReduceScatter", 0: "Broadcast"}
SIZES = {6: 2, 7: 4, 8: 8, 9: 2}


class NCCLError(Exception):
    pass


class Config:
    ptr = 0

    def __init__(self) -> None:
        self.blocking, self.min_ctas = 0, 0
        Config.last = self


def get_version() -> int:
    return 22809


def get_unique_id() -> memoryview:
    return memoryview(f"{time.monotonic_ns():0128d}".encode())


class Comm:
    def __init__(self, nranks: int, unique_id: bytearray, rank: int) -> None:
        self.nranks, self.rank, self.operations, self.aborted, self.failed = nranks, rank, 0, False, 0
        self.folder = FOLDER / bytes(unique_id).decode().lstrip("0")
        self.folder.mkdir(exist_ok=True)
        self.channels = max(OWN_CHANNELS, Config.last.min_ctas)
        self.tuner = FakeNccl(pathlib.Path(os.environ["NCCL_TUNER_PLUGIN"]), 5, nranks=nranks, logs=False)
        log(f"{self.channels} coll channels, 0 nvls channels")

    def choose(self, collective: int, size: int) -> tuple[str, int]:
        ran = self.tuner.ask(collective, size)
        assert ran.algo is not None
        assert ran.proto is not None
        most = max(1, size // 16384)
        channels = min(ran.nchannels or self.channels, self.channels, most)
        if self.rank == 0:
            words = f"Algo {ran.algo.upper()} proto {ran.proto.upper()} channel{{Lo..Hi}}={{0..{channels - 1}}}"
            log(f"{NAMES[collective]}: {size} Bytes -> {words}")
        return f"{ran.algo}/{ran.proto}", channels


def log(text: str) -> None:
    if os.environ.get("NCCL_DEBUG") == "INFO":
        with pathlib.Path(os.environ["NCCL_DEBUG_FILE"]).open("a") as file:
            file.write(f"fake NCCL INFO {text}\n")


def comm_init_rank_config(nranks: int, unique_id: bytearray, rank: int, config: int) -> Comm:
    return Comm(nranks, unique_id, rank)


def comm_abort(comm: Comm) -> None:
    comm.aborted = True


def comm_destroy(comm: Comm) -> None:
    comm.aborted = True


def comm_get_async_error(comm: Comm) -> int:
    return comm.failed


def get_error_string(code: int) -> str:
    return {6: "remote process exited or there was a network error"}[code]


def get_last_error(comm: Comm) -> str:
    return ""


def _view(address: int, count: int, number: int) -> np.ndarray:
    import ctypes

    return np.frombuffer((ctypes.c_char * (count * SIZES[number])).from_address(address), np.uint8)


def _numbers(raw: np.ndarray, number: int) -> np.ndarray:
    if number == 9:
        return (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return raw.view({6: np.float16, 7: np.float32, 8: np.float64}[number])


def _raw(numbers: np.ndarray, number: int) -> np.ndarray:
    if number == 9:
        return (numbers.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
    return numbers.astype({6: np.float16, 7: np.float32, 8: np.float64}[number]).view(np.uint8)


def _exchanged(comm: Comm, content: bytes, choice: str) -> list[np.ndarray]:
    """Return what all ranks sent in an operation, once all have taken the same choice."""
    if comm.rank == 1 and choice == os.environ.get("FAKE_NCCL_FAILS"):
        comm.failed, cupy.STUCK = 6, True
        return []
    comm.operations += 1
    name = f"{comm.operations}-{choice.replace('/', '_')}"
    mine = comm.folder / f"{name}-{comm.rank}.part"
    mine.write_bytes(content)
    mine.rename(mine.with_suffix(".done"))
    paths = [comm.folder / f"{name}-{rank}.done" for rank in range(comm.nranks)]
    while not all(path.exists() for path in paths):
        if comm.aborted:
            cupy.STUCK = True
            return []
        time.sleep(2e-4)
    return [np.frombuffer(path.read_bytes(), np.uint8) for path in paths]


def _enqueue(comm: Comm, collective: int, size: int, work: Callable[[str], None]) -> None:
    choice, _ = comm.choose(collective, size)
    cupy.enqueue(lambda: work(choice))


def all_reduce(send: int, receive: int, count: int, number: int, op: int, comm: Comm, stream: int) -> None:
    def work(choice: str) -> None:
        parts = _exchanged(comm, _view(send, count, number).tobytes(), choice)
        if parts:
            _view(receive, count, number)[:] = _raw(sum(_numbers(part, number) for part in parts), number)
            if f"{comm.rank}:{comm.operations}" == os.environ.get(
                "FAKE_NCCL_WRONG"
            ):  # rank, and which of its operations
                _view(receive, count, number)[-1] ^= 1
            cupy.spend(ALL_REDUCE_S)

    _enqueue(comm, 4, count * SIZES[number], work)


def all_gather(send: int, receive: int, count: int, number: int, comm: Comm, stream: int) -> None:
    def work(choice: str) -> None:
        parts = _exchanged(comm, _view(send, count, number).tobytes(), choice)
        if parts:
            _view(receive, count * comm.nranks, number)[:] = np.concatenate(parts)

    _enqueue(comm, 2, count * SIZES[number] * comm.nranks, work)


def reduce_scatter(send: int, receive: int, count: int, number: int, op: int, comm: Comm, stream: int) -> None:
    def work(choice: str) -> None:
        parts = _exchanged(comm, _view(send, count * comm.nranks, number).tobytes(), choice)
        if parts:
            total = _raw(sum(_numbers(part, number) for part in parts), number)
            part = count * SIZES[number]
            _view(receive, count, number)[:] = total[comm.rank * part : (comm.rank + 1) * part]

    _enqueue(comm, 3, count * SIZES[number] * comm.nranks, work)


def broadcast(send: int, receive: int, count: int, number: int, root: int, comm: Comm, stream: int) -> None:
    def work(choice: str) -> None:
        parts = _exchanged(comm, _view(send, count, number).tobytes(), choice)
        if parts:
            _view(receive, count, number)[:] = parts[root]

    _enqueue(comm, 0, count * SIZES[number], work)


def mem_alloc(size: int) -> int:
    memory = cupy.Memory(size)
    _KEPT.append(memory)
    return memory.ptr


_KEPT: list[object] = []
