"""The rank side from end to end, with the real plugin, launcher and worker; CuPy and NCCL are those of ``fake_gpu``."""

from __future__ import annotations

import os
import pathlib
import signal
import time
from collections.abc import Iterator

import pytest

from ncclprobe import processes
from ncclprobe.backends import nccl as backend_module
from ncclprobe.backends.base import BackendOptions, GpuOptions
from ncclprobe.backends.mpi_names import Choices
from ncclprobe.backends.nccl import NcclBackend
from ncclprobe.records.sweep import DEFAULT_CELL, Block, Cell, Launch, Measurement, Point, Status

HERE = pathlib.Path(__file__).parent
TREE, RING = Cell(algo="Tree", proto="LL"), Cell(algo="Ring", proto="Simple")


@pytest.fixture
def backend(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> NcclBackend:
    return _backend(tmp_path, monkeypatch)


def _backend(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, **gpu: object) -> NcclBackend:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE / "fake_gpu"), str(HERE.parent / "gpu")]))
    monkeypatch.setenv("FAKE_NCCL_HELPERS", str(HERE.parent / "tuner"))
    monkeypatch.setenv("FAKE_GPU_FOLDER", str(tmp_path))
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    monkeypatch.setattr(backend_module, "gpu_count", lambda: 2)
    made = NcclBackend(BackendOptions(nranks=2, gpu=GpuOptions(**gpu)))  # type: ignore[arg-type]
    made._choices = Choices(library="NCCL 2.28.9", algorithms={}, ngpus=2)
    return made


def _launch(cells: tuple[Cell, ...], sizes: tuple[int, ...] = (64, 4096), **changes: object) -> Launch:
    collective, dtype = str(changes.pop("collective", "all_reduce")), str(changes.pop("dtype", "float32"))
    points = [Point(collective=collective, dtype=dtype, size_bytes=size) for size in sizes]
    repeat = int(str(changes.pop("repeat", 1)))
    blocks = tuple(Block(point=point, cells=(DEFAULT_CELL, *cells), repeat=repeat) for point in points)
    defaults = {"index": 0, "stage": "explore", "nranks": 2, "warmups": 0, "timeout_s": 20.0, "seed": 3}
    return Launch(**{**defaults, **changes, "blocks": blocks})  # type: ignore[arg-type]


def _statuses(measurements: list[Measurement]) -> dict[str, set[Status]]:
    seen: dict[str, set[Status]] = {}
    for one in measurements:
        seen.setdefault(one.cells[0].label, set()).update(one.statuses)
    return seen


OK = {"default": {Status.OK}, "Tree/LL": {Status.OK}, "Ring/Simple": {Status.OK}}


def test_cells_run_and_say_what_ran(backend: NcclBackend) -> None:
    measured = list(backend.measure(_launch((TREE, RING))))
    assert _statuses(measured) == OK
    ran = {(one.cells[0].label, one.ran[0].label) for one in measured}
    assert ran == {("default", "Tree/LL/1ch"), ("Tree/LL", "Tree/LL/1ch"), ("Ring/Simple", "Ring/Simple/1ch")}
    assert all(one.spent_s * 1e6 >= (one.times_us[0] or 0) * one.operations for one in measured)


@pytest.mark.parametrize(
    ("mode", "in_place", "memory"),
    [("graph", False, "nccl"), ("graph", True, "cuda"), ("eager", False, "cuda"), ("eager", True, "nccl")],
)
def test_collectives(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, mode: str, in_place: bool, memory: str
) -> None:
    made = _backend(tmp_path, monkeypatch, mode=mode, memory=memory, in_place=in_place)
    blocks = tuple(
        Block(point=Point(collective=collective, dtype=dtype, size_bytes=size), cells=(DEFAULT_CELL, RING))
        for collective, dtype in (
            ("all_reduce", "float32"), ("all_gather", "bfloat16"),
            ("reduce_scatter", "float16"), ("broadcast", "bfloat16"),
        )
        for size in (64, 4096)
    )  # fmt: skip
    measured = list(made.measure(_launch(()).with_(blocks=blocks)))
    assert _statuses(measured) == {"default": {Status.OK}, "Ring/Simple": {Status.OK}}
    assert {one.point for one in measured} == {block.point for block in blocks}


def test_what_cannot_run_is_refused_and_says_why(backend: NcclBackend) -> None:
    few, many = RING.with_(nchannels=2), RING.with_(nchannels=32)
    cells = (Cell(algo="NVLS", proto="Simple"), Cell(algo="NoSuch"), few, many)
    measured = list(backend.measure(_launch(cells, (64, 1 << 20))))
    refusals = {(one.cells[0].label, one.point.size_bytes): one.message for one in measured if one.message}
    unknown = "NCCL has no algo 'NoSuch'; choose from Tree, Ring, CollNetDirect, CollNetChain, NVLS, NVLSTree, PAT"
    assert refusals == {
        ("NVLS/Simple", 64): "NVLS/Simple: NCCL says unavailable",
        ("NVLS/Simple", 1 << 20): "NVLS/Simple: NCCL says unavailable",
        ("NoSuch", 64): unknown,
        ("NoSuch", 1 << 20): unknown,
        ("Ring/Simple/2ch", 64): "NCCL ran Ring/Simple/1ch instead of Ring/Simple/2ch",
        ("Ring/Simple/32ch", 64): "NCCL ran Ring/Simple/1ch instead of Ring/Simple/32ch",
    }
    ran = {one.ran[0].nchannels for one in measured if one.cells == (many,) and one.ran}
    assert ran == {32}, "more channels than NCCL's own take a communicator of their own"


def test_ranks_that_disagree_are_aborted(backend: NcclBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_module, "WORKER", "disagreeing_worker")
    planted = Cell(algo="Tree", proto="Simple")
    began = time.monotonic()
    measured = list(backend.measure(_launch((planted,), (64,), timeout_s=1.0, repeat=1000)))
    last = measured[-1]
    assert (last.cells, last.statuses, last.times_us, last.spent_s) == ((planted,), (Status.TIMEOUT,), (None,), 1.0)
    assert last.message == (
        "rank 0 was aborted after 1 s in Tree/Simple at all_reduce float32 64, in which NCCL took Tree/Simple last; "
        "rank 1 was aborted after 1 s in Tree/Simple at all_reduce float32 64, in which NCCL took Ring/LL last"
    )
    assert time.monotonic() - began < 15


def test_a_communicator_that_failed_is_used_no_more(backend: NcclBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_NCCL_FAILS", "Ring/Simple")
    measured = list(backend.measure(_launch((RING, TREE), (1 << 20,), timeout_s=2.0, repeat=1000)))
    last = measured[-1]
    assert (last.cells, last.statuses, last.times_us) == ((RING,), (Status.TIMEOUT,), (None,))
    why = "NCCL took Ring/Simple last: remote process exited or there was a network error (result 6)"
    assert f"rank 1 failed in Ring/Simple at all_reduce float32 1M, in which {why}" in last.message
    assert not any(status is Status.REFUSED for one in measured for status in one.statuses)


def test_a_rank_that_stops_is_named(backend: NcclBackend) -> None:
    measurements = backend.measure(_launch((RING,), timeout_s=1.0, repeat=100_000))
    for _ in range(10):
        next(measurements)
    commands = {pid: pathlib.Path(f"/proc/{pid}/cmdline").read_bytes() for pid in processes.descendants(os.getpid())}
    ranks = sorted(pid for pid, command in commands.items() if b"worker" in command and b"spawn" not in command)
    assert len(ranks) == 2
    os.kill(ranks[1], signal.SIGSTOP)
    *_, last = measurements
    assert last.statuses == (Status.TIMEOUT,)
    assert f"rank 1 on {os.uname().nodename} stopped" in last.message


def _ranks() -> set[int]:
    """Return the ranks that run, without what started them."""
    found = processes.descendants(os.getpid())
    commands = {pid: pathlib.Path(f"/proc/{pid}/cmdline").read_bytes() for pid in found}
    return {pid for pid, command in commands.items() if b"worker" in command and b"spawn" not in command}


def _wait_for_ranks(count: int) -> set[int]:
    deadline = time.monotonic() + 20
    while len(found := _ranks()) != count:
        assert time.monotonic() < deadline, found
        time.sleep(0.01)
    return found


@pytest.fixture
def ahead(backend: NcclBackend, monkeypatch: pytest.MonkeyPatch) -> Iterator[NcclBackend]:
    monkeypatch.setattr(backend_module, "AHEAD_CORES", 0)
    backend._options = backend._options.with_(ahead=True)
    yield backend
    backend.close()
    assert _ranks() == set()


def test_ranks_that_were_started_ahead_take_the_next_launch(ahead: NcclBackend) -> None:
    assert _statuses(list(ahead.measure(_launch((TREE,))))) == {"default": {Status.OK}, "Tree/LL": {Status.OK}}
    waiting, spare = _wait_for_ranks(2), ahead._spare
    second = ahead.measure(_launch((RING,), index=1))
    measured = [next(second)]
    assert (spare is not None, ahead._spare is not None, ahead._spare is spare) == (True, True, False)
    measured += second
    assert _statuses(measured) == {"default": {Status.OK}, "Ring/Simple": {Status.OK}}
    assert not waiting & _wait_for_ranks(2), "those that waited have measured and are gone; others wait now"


def test_ranks_that_were_started_for_something_else_are_not_used(ahead: NcclBackend) -> None:
    list(ahead.measure(_launch((TREE,))))
    waiting = _wait_for_ranks(2)
    measured = list(ahead.measure(_launch((TREE,), index=1, env=(("NCCL_NTHREADS", "256"),))))
    assert _statuses(measured) == {"default": {Status.OK}, "Tree/LL": {Status.OK}}
    assert not waiting & _wait_for_ranks(2)
