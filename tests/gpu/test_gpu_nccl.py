"""Real NCCL on one GPU, or on two: two ranks, as two nodes that talk through sockets where they share a GPU."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import time

import pytest
from test_backend_contract import BackendContract

from ncclprobe import processes
from ncclprobe.backends import make_backend
from ncclprobe.backends.base import Backend, BackendOptions, GpuOptions
from ncclprobe.backends.nccl_library import gpu_count
from ncclprobe.cli import main
from ncclprobe.names import Collective
from ncclprobe.records.sweep import DEFAULT_CELL, Block, Cell, Launch, Measurement, Point, Status

pytestmark = pytest.mark.gpu

COLLECTIVES = ["all_reduce", "all_gather", "reduce_scatter", "broadcast", "alltoall", "sendrecv"]
SIZES = (64, 40_000, 1 << 20)


def _backend(**gpu: object) -> Backend:
    return make_backend("nccl", BackendOptions(nranks=2, channels=(1, 4), gpu=GpuOptions(**gpu)))  # type: ignore[arg-type]


def _launch(collective: str, cells: tuple[Cell, ...], sizes: tuple[int, ...] = SIZES, **changes: object) -> Launch:
    dtype = str(changes.pop("dtype", "float32"))
    repeat = int(str(changes.pop("repeat", 1)))
    points = [Point(collective=collective, dtype=dtype, size_bytes=size) for size in sizes]
    blocks = tuple(Block(point=point, cells=(DEFAULT_CELL, *cells), repeat=repeat) for point in points)
    defaults = {"index": 0, "stage": "explore", "nranks": 2, "warmups": 0, "timeout_s": 20.0, "seed": 3}
    return Launch(**{**defaults, **changes, "blocks": blocks})  # type: ignore[arg-type]


def _statuses(measurements: list[Measurement]) -> dict[str, set[Status]]:
    seen: dict[str, set[Status]] = {}
    for measurement in measurements:
        for cell, status in zip(measurement.cells, measurement.statuses, strict=True):
            seen.setdefault(cell.label, set()).add(status)
    return seen


class TestNcclContract(BackendContract):
    def make(self) -> Backend:
        return make_backend("nccl", BackendOptions(nranks=2))

    def chosen(self, cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
        """Return cells that two nodes have as well: ranks that share a GPU are such nodes, and have no LL128."""
        return tuple(cell for cell in cells if cell.proto in ("LL", "Simple"))


@pytest.mark.parametrize("collective", COLLECTIVES)
def test_every_cell_runs_as_asked_or_is_refused(collective: str) -> None:
    backend = _backend()
    cells = backend.capabilities(Collective(collective)).cells
    measured = list(backend.measure(_launch(collective, cells)))
    assert {status for seen in _statuses(measured).values() for status in seen} <= {Status.OK, Status.REFUSED}
    assert _statuses(measured)["default"] == {Status.OK}
    for one in measured:
        (cell,), (status,) = one.cells, one.statuses
        if status is Status.REFUSED:
            assert one.message, cell
        elif not cell.is_default and one.ran:
            (ran,) = one.ran
            assert (ran.algo, ran.proto) == (cell.algo, cell.proto)
            assert cell.nchannels in (None, ran.nchannels)
    if collective in ("all_reduce", "all_gather"):
        assert any(one.ran for one in measured), "NCCL's log said nothing"
        assert _statuses(measured)["Ring/Simple"] == {Status.OK}


@pytest.mark.parametrize("collective", ["all_reduce", "reduce_scatter", "all_gather"])
def test_sums_are_right_in_every_type(collective: str) -> None:
    cells = (Cell(algo="Ring", proto="LL"), Cell(algo="Ring", proto="Simple"))
    blocks = tuple(
        Block(point=Point(collective=collective, dtype=dtype, size_bytes=size), cells=(DEFAULT_CELL, *cells))
        for dtype in ("float16", "bfloat16", "float64", "float8e4m3", "float8e5m2")
        for size in (64, 1 << 20)
    )
    measured = list(_backend().measure(_launch(collective, ()).with_(blocks=blocks)))
    assert _statuses(measured) == {label: {Status.OK} for label in ("default", "Ring/LL", "Ring/Simple")}
    assert {one.point for one in measured} == {block.point for block in blocks}


@pytest.mark.parametrize("mode", ["graph", "eager"])
@pytest.mark.parametrize("collective", ["all_reduce", "reduce_scatter"])
def test_in_place(mode: str, collective: str) -> None:
    cells = (Cell(algo="Ring", proto="LL"),)
    measured = list(_backend(mode=mode, in_place=True).measure(_launch(collective, cells, (64, 1 << 20))))
    assert _statuses(measured) == {"default": {Status.OK}, "Ring/LL": {Status.OK}}


@pytest.mark.parametrize("memory", ["cuda", "nccl"])
@pytest.mark.parametrize("mode", ["graph", "eager"])
def test_modes_and_memory(mode: str, memory: str) -> None:
    cells = (Cell(algo="Tree", proto="LL"), Cell(algo="Ring", proto="Simple"))
    measured = list(_backend(mode=mode, memory=memory).measure(_launch("all_reduce", cells, repeat=2)))
    assert _statuses(measured) == {label: {Status.OK} for label in ("default", "Tree/LL", "Ring/Simple")}


def test_more_channels_than_nccls_own() -> None:
    backend = make_backend("nccl", BackendOptions(nranks=2, channels=(32,)))
    cell = Cell(algo="Ring", proto="Simple", nchannels=32)
    measured = list(backend.measure(_launch("all_reduce", (cell,), (64 << 20,))))
    assert {one.statuses[0] for one in measured if one.cells == (cell,)} == {Status.OK}
    assert {one.ran[0].nchannels for one in measured if one.cells == (cell,) and one.ran} == {32}


def test_too_many_channels_for_a_size_are_refused_with_what_ran() -> None:
    cell = Cell(algo="Ring", proto="Simple", nchannels=4)
    measured = list(_backend().measure(_launch("all_reduce", (cell,), (64,))))
    refused = [one for one in measured if one.cells == (cell,)]
    assert [one.statuses for one in refused] == [(Status.REFUSED,)]
    assert refused[0].message == "NCCL ran Ring/Simple/1ch instead of Ring/Simple/4ch"


def _ranks() -> list[int]:
    found = processes.descendants(os.getpid())
    commands = {pid: pathlib.Path(f"/proc/{pid}/cmdline").read_bytes() for pid in found}
    return sorted(pid for pid, command in commands.items() if b"worker" in command and b"spawn" not in command)


def test_a_hang_is_aborted_by_the_ranks_and_says_what_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    here = str(pathlib.Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")])))
    monkeypatch.setattr("ncclprobe.backends.nccl.WORKER", "disagreeing_worker")
    cells = (Cell(algo="Tree", proto="Simple"), Cell(algo="Ring", proto="LL"))
    began = time.monotonic()
    measured = list(_backend().measure(_launch("all_reduce", cells, (1 << 20,), timeout_s=3.0, repeat=50)))
    assert measured[-1].cells == (Cell(algo="Tree", proto="Simple"),)
    assert measured[-1].statuses == (Status.TIMEOUT,)
    assert measured[-1].spent_s == 3.0
    assert measured[-1].message.startswith("rank ")
    if gpu_count() > 1:  # through sockets one rank may end well, and NCCL may be stuck in the other
        assert "was aborted after 3 s in Tree/Simple at all_reduce float32 1M" in measured[-1].message
        assert "NCCL took Ring/LL" in measured[-1].message
    assert time.monotonic() - began < 40


def test_a_rank_that_stops_is_named() -> None:
    measurements = _backend().measure(
        _launch("all_reduce", (Cell(algo="Ring", proto="LL"),), repeat=50_000, timeout_s=2.0)
    )
    for _ in range(20):
        next(measurements)
    ranks = _ranks()
    assert len(ranks) == 2
    os.kill(ranks[1], signal.SIGSTOP)
    rest = list(measurements)
    assert rest[-1].statuses == (Status.TIMEOUT,)
    assert f"rank 1 on {os.uname().nodename} stopped" in rest[-1].message
    assert not any(pathlib.Path(f"/proc/{pid}").exists() for pid in ranks)


def test_a_sweep_from_the_command_line(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "sweep",
        "--backend",
        "nccl",
        "--nranks",
        "2",
        "--sizes",
        "64,64K",
        "--algo",
        "Tree,Ring",
        "--proto",
        "LL",
    ]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--budget", "15", "--json", "--out", str(tmp_path / "run")])
    document = json.loads(capsys.readouterr().out)
    assert ended.value.code == 0
    assert document["library"].startswith("NCCL 2.")
    assert {cell["algo"] for cell in document["cells"]} == {"default", "Tree", "Ring"}
    assert all(cell["wrong"] == 0 for cell in document["cells"])
