from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import msgspec
import numpy as np
import pytest
from test_backend_contract import BackendContract

from ncclprobe import processes
from ncclprobe.backends import make_backend
from ncclprobe.backends.base import Backend, BackendOptions
from ncclprobe.backends.mpi import MpiBackend
from ncclprobe.errors import LaunchError, UsageError
from ncclprobe.launchers import make_launcher
from ncclprobe.launchers.base import Job, python_job
from ncclprobe.launchers.run import run_ranks
from ncclprobe.names import Collective
from ncclprobe.records.sweep import DEFAULT_CELL, Block, Cell, Launch, Measurement, Point, Status

pytestmark = pytest.mark.mpi

TREE, RING = Cell(algo="Tree"), Cell(algo="Ring")
COLLECTIVES = ["all_reduce", "all_gather", "reduce_scatter", "broadcast", "alltoall", "sendrecv"]
ORDERS = ["Tree", "Ring", "recursive_doubling", "recursive_multiplying"]
"""Algorithms that add up in different orders, on six ranks."""
CHOICES = [name for name in COLLECTIVES if name != "sendrecv"]


def _launch(collective: str, sizes: tuple[int, ...], cells: tuple[Cell, ...], **changes) -> Launch:
    points = [Point(collective=collective, dtype=changes.pop("dtype", "float32"), size_bytes=size) for size in sizes]
    blocks = tuple(
        Block(point=point, cells=(DEFAULT_CELL, *cells), repeat=changes.get("repeat", 1)) for point in points
    )
    changes.pop("repeat", None)
    defaults = {"index": 0, "stage": "explore", "nranks": 4, "warmups": 0, "timeout_s": 20.0, "seed": 3}
    return Launch(**{**defaults, **changes, "blocks": blocks})


def _backend(nranks: int = 4) -> MpiBackend:
    return MpiBackend(BackendOptions(nranks=nranks))


def _statuses(measurements: Iterator[Measurement] | list[Measurement]) -> dict[str, set[Status]]:
    seen: dict[str, set[Status]] = {}
    for measurement in measurements:
        for cell, status in zip(measurement.cells, measurement.statuses, strict=True):
            seen.setdefault(cell.algo, set()).add(status)
    return seen


def _rank_processes() -> list[int]:
    """Return this process's ranks in order of their start, which is their order."""
    started = processes.descendants(os.getpid())
    ranks = [pid for pid in started if b"ncclprobe.sweep.worker" in _command(pid) and b"mpiexec" not in _command(pid)]
    return sorted(ranks)


def _command(pid: int) -> bytes:
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _all_gone(pids: list[int], within_s: float = 5.0) -> bool:
    end = time.monotonic() + within_s
    while any(map(_command, pids)) and time.monotonic() < end:
        time.sleep(0.02)
    return not any(map(_command, pids))


class TestMpiContract(BackendContract):
    def make(self) -> Backend:
        return make_backend("mpi", BackendOptions(nranks=4))


@pytest.mark.parametrize("collective", COLLECTIVES)
def test_every_algorithm_runs_and_is_right(collective: str) -> None:
    backend = _backend()
    cells = backend.capabilities(Collective(collective)).cells
    statuses = _statuses(backend.measure(_launch(collective, (64, 40_000), cells)))
    assert set(statuses) == {"default", *(cell.algo for cell in cells)}
    assert {algo: seen for algo, seen in statuses.items() if seen != {Status.OK}} == {}
    assert bool(cells) == (collective in CHOICES)


def test_names_people_know() -> None:
    backend = _backend()
    assert {"Tree", "Ring", "recursive_doubling"} <= {c.algo for c in backend.capabilities(Collective.ALL_REDUCE).cells}
    assert "Ring" in {c.algo for c in backend.capabilities(Collective.ALL_GATHER).cells}


def test_algorithms_are_different_code() -> None:
    """Floats summed in another order round otherwise: two algorithms agree in every rank's bits only by being one."""
    script = str(pathlib.Path(__file__).parent / "rank_signature.py")
    job = python_job("unused", nranks=6, env=(("MPIR_CVAR_POLLS_BEFORE_YIELD", "1"),)).with_(
        program=(sys.executable, script)
    )
    (line,) = run_ranks(job, make_launcher("local"), timeout_s=20)
    signatures = msgspec.json.decode(line, type=dict[str, list[int]])
    distinct = {algo: tuple(signatures[algo]) for algo in ORDERS}
    assert len(set(distinct.values())) == len(distinct), signatures


def _library_reads(algo: str) -> dict[str, int]:
    """Return the value that MPICH itself gives an algorithm's name, and those that we give all of them."""
    name = "MPIR_CVAR_ALLREDUCE_INTRA_ALGORITHM"
    code = (
        "import json\nfrom mpi4py import MPI\nfrom ncclprobe.backends.mpit import ControlVariables\n"
        f"v = ControlVariables(MPI.__file__).find({name!r})\n"
        "print(json.dumps(v and {**v.choices, 'in force': v.read()}))"
    )
    run = processes.run([sys.executable, "-c", code], timeout_s=20, env={**os.environ, name: algo})
    numbers = json.loads(run.stdout)
    if numbers is None:
        pytest.skip("this MPI library is not MPICH")
    return numbers


def test_numbers_are_those_of_the_environment() -> None:
    """They come from a description; the library itself says whether they are right."""
    ours = _library_reads("auto")
    assert ours["in force"] == ours["auto"]
    for algo in ("nb", "ring", "k_reduce_scatter_allgather"):
        assert _library_reads(algo)["in force"] == ours[algo]


def test_what_cannot_run_is_refused_not_replaced() -> None:
    """Recursive doubling gathers between powers of two only; the library would take another algorithm silently."""
    cells = (Cell(algo="recursive_doubling"), RING)
    measured = list(_backend(3).measure(_launch("all_gather", (48, 4800), cells, nranks=3)))
    statuses = _statuses(measured)
    assert statuses == {
        "default": {Status.OK},
        "Ring": {Status.OK},
        "recursive_doubling": {Status.REFUSED},
    }
    refusal = next(m for m in measured if m.statuses == (Status.REFUSED,))
    assert refusal.times_us == (None,)
    assert refusal.message.startswith("recursive_doubling: ")
    assert "algorithm" in refusal.message


def test_an_algorithm_refused_at_one_size_runs_at_others() -> None:
    cell = Cell(algo="reduce_scatter_allgather")
    by_size: dict[int, set[Status]] = {}
    for m in _backend().measure(_launch("all_reduce", (8, 4096), (cell,))):
        if m.cells == (cell,):
            by_size.setdefault(m.point.size_bytes, set()).update(m.statuses)
    assert by_size == {8: {Status.REFUSED}, 4096: {Status.OK}}


def test_composition_needs_ranks_that_share_memory() -> None:
    launch = _launch("all_reduce", (64,), (Cell(algo="smp"),), nranks=2, env=(("MPIR_CVAR_NOLOCAL", "1"),))
    assert _statuses(_backend(2).measure(launch)) == {"default": {Status.OK}, "smp": {Status.REFUSED}}


def test_tree_and_ring_differ_in_time() -> None:
    times: dict[tuple[int, str], list[float]] = {}
    for m in _backend().measure(_launch("all_reduce", (8, 1 << 20), (TREE, RING), repeat=9)):
        if not m.warmup:
            times.setdefault((m.point.size_bytes, m.cells[0].algo), []).append(m.times_us[0] or 0.0)
    ratios = [np.median(times[size, "Tree"]) / np.median(times[size, "Ring"]) for size in (8, 1 << 20)]
    assert max(abs(np.log(ratios))) > 0.1, ratios


def test_doubles_are_summed_too() -> None:
    assert _statuses(_backend().measure(_launch("all_reduce", (8000,), (), dtype="float64"))) == {
        "default": {Status.OK}
    }


@pytest.mark.parametrize(
    ("collective", "size", "dtype", "message"),
    [
        ("all_reduce", 64, "float16", "does not run float16 .MPI has no such type.; choose from float32, float64"),
        ("all_reduce", 64, "int9", "does not run int9 .it is unknown."),
        ("all_gather", 8, "float32", "8 bytes hold no float32 element for each of 4 ranks in all_gather"),
    ],
)
def test_points_that_cannot_be_run(collective: str, size: int, dtype: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        next(_backend().measure(_launch(collective, (size,), (), dtype=dtype)))


def test_a_fabric_is_for_the_simulator() -> None:
    with pytest.raises(UsageError, match="use --backend sim"):
        MpiBackend(BackendOptions(fabric=pathlib.Path("x.toml")))


def test_settings_that_make_a_program_run_a_cell() -> None:
    backend = _backend()
    if "MPICH" not in backend.capabilities(Collective.ALL_REDUCE).library:
        pytest.skip("this MPI library is not MPICH")
    assert backend.environment(Collective.ALL_REDUCE, RING) == {
        "MPIR_CVAR_ALLREDUCE_INTRA_ALGORITHM": "ring",
        "MPIR_CVAR_ALLREDUCE_DEVICE_COLLECTIVE": "0",
    }
    assert backend.environment(Collective.ALL_REDUCE, DEFAULT_CELL) == {}


def _until(measurements: Iterator[Measurement], count: int) -> None:
    for _ in range(count):
        next(measurements)


def test_a_rank_that_is_stopped_is_named_and_leaves_none() -> None:
    measurements = _backend().measure(_launch("all_reduce", (1024,), (RING,), repeat=100_000, timeout_s=1.0))
    _until(measurements, 20)
    ranks = _rank_processes()
    assert len(ranks) == 4
    os.kill(ranks[2], signal.SIGSTOP)
    begin = time.monotonic()
    rest = list(measurements)
    assert rest[-1].statuses == (Status.TIMEOUT,)
    assert rest[-1].times_us == (None,)
    assert rest[-1].spent_s == 1.0
    assert rest[-1].message == (
        f"rank 2 (process {ranks[2]}) is stopped by a signal; 4 ranks started by local were ended"
    )
    assert rest[-1].mishap
    assert {status for m in rest[:-1] for status in m.statuses} <= {Status.OK}
    assert time.monotonic() - begin < 6
    assert _all_gone(ranks, 0.1)


def test_a_dead_rank_is_a_mishap_of_what_ran_and_leaves_none() -> None:
    measurements = _backend().measure(_launch("all_reduce", (1024,), (RING,), repeat=100_000, timeout_s=5.0))
    _until(measurements, 20)
    ranks = _rank_processes()
    os.kill(ranks[1], signal.SIGSEGV)
    last = list(measurements)[-1]
    assert (last.statuses, last.times_us, last.mishap) == ((Status.TIMEOUT,), (None,), True)
    assert last.message.startswith("4 ranks started by local ended early: a rank (process ")
    assert "Segmentation fault" in last.message
    assert "\n" not in last.message
    assert _all_gone(ranks, 0.1)


def test_leaving_early_leaves_no_rank() -> None:
    measurements = _backend().measure(_launch("all_reduce", (1024,), (RING,), repeat=100_000))
    _until(measurements, 3)
    ranks = _rank_processes()
    assert len(ranks) == 4
    measurements.close()  # type: ignore[attr-defined]
    assert _all_gone(ranks, 0.1)


STARTER = f"""
import sys
sys.path[:0] = [{str(pathlib.Path(__file__).parent)!r}, {str(pathlib.Path(__file__).parent.parent / "backends")!r}]
import test_mpi_backend as t
for number, m in enumerate(t._backend().measure(t._launch("all_reduce", (1024,), (t.RING,), repeat=100_000))):
    if number == 5:
        print(*t._rank_processes(), flush=True)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_ranks_end_with_their_starter(how: signal.Signals) -> None:
    command = [sys.executable, "-c", STARTER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as starter:
        ranks = [int(pid) for pid in starter.stdout.readline().split()]
        starter.send_signal(how)
    assert len(ranks) == 4
    assert _all_gone(ranks)


def test_other_output_does_not_disturb(tmp_path, monkeypatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os\nos.write(1, b'a site says hello without a newline')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert _statuses(_backend().measure(_launch("all_reduce", (64,), (TREE,)))) == {
        "default": {Status.OK},
        "Tree": {Status.OK},
    }


class Lone:
    """Starts one rank whatever is asked for, as a launcher of another MPI library does."""

    name = "lone"

    def command(self, job: Job) -> list[str]:
        return make_launcher("local").command(job.with_(nranks=1))

    def environment(self, job: Job) -> dict[str, str]:
        return {}


def test_a_launcher_of_another_library_is_told(monkeypatch) -> None:
    backend = _backend()
    monkeypatch.setattr(backend, "_launcher", Lone())
    with pytest.raises(LaunchError, match=r"4 ranks were started, but \S+ .*sees 1: the launcher belongs to another"):
        list(backend.measure(_launch("all_reduce", (64,), ())))


def test_orders_follow_the_seed() -> None:
    def order(seed: int) -> list[str]:
        launch = _launch("all_reduce", (64, 128), (TREE, RING), repeat=3, seed=seed, nranks=2, thorough=True)
        return [f"{m.point.size_bytes} {m.cells[0].algo}" for m in _backend(2).measure(launch) if not m.warmup]

    first, other = order(1), order(2)
    assert first != other
    assert sorted(first) == sorted(other)


def test_a_job_runs_where_mpiexec_is_asked_to() -> None:
    job = Job(program=(sys.executable, "-c", "pass"), nranks=2)
    assert list(run_ranks(job, make_launcher("mpirun"), timeout_s=20)) == []
