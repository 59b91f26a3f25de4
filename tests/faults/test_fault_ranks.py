"""Ranks and launchers that die, stop, or run out of memory while a sweep or a workload runs on them."""

from __future__ import annotations

import json
import os
import pathlib
import re
import signal

import pytest
from fault_runs import SWEEP, Run, lines

from ncclprobe.backends import mpi as mpi_module
from ncclprobe.backends import nccl as nccl_module
from ncclprobe.backends.base import BackendOptions
from ncclprobe.backends.mpi_names import Choices
from ncclprobe.backends.nccl import NcclBackend
from ncclprobe.backends.nccl_crew import Crew
from ncclprobe.cli import group
from ncclprobe.errors import LaunchError
from ncclprobe.names import Collective
from ncclprobe.records.sweep import Block, Cell, Launch, Point, Status

HERE = pathlib.Path(__file__).parent
mpi = pytest.mark.mpi


@mpi
@pytest.mark.parametrize(
    ("how", "told"),
    [
        (signal.SIGKILL, r"a rank \(process {pid}\) on {host}: Killed"),
        pytest.param(
            signal.SIGSTOP, r"rank \d \(process {pid}\) is stopped",
            marks=pytest.mark.slow,  # tests/mpi shows how it is named, the other case how the sweep goes on
        ),
    ],
)  # fmt: skip
def test_a_rank_that_is_killed_or_stopped_is_named_and_the_sweep_goes_on(
    tmp_path: pathlib.Path, how: signal.Signals, told: str
) -> None:
    with Run(tmp_path, *SWEEP) as run:
        run.wait_for_samples()
        pid = run.ranks()[-1]
        os.kill(pid, how)
        run.wait_for_samples(launches=2)
        run.interrupted()
    assert re.search(told.format(pid=pid, host=os.uname().nodename), _loss(run.out))


def _loss(out: pathlib.Path) -> str:
    """Return the message of the only time that ranks were lost: in a sample, or between two."""
    mishaps = [line for line in lines(out, "measurement") if line["mishap"]]
    (message,) = [line["message"] for line in (*mishaps, *lines(out, "launch-broken"))]
    return str(message)


@mpi
def test_a_launcher_that_is_killed_leaves_no_rank_and_the_sweep_goes_on(tmp_path: pathlib.Path) -> None:
    with Run(tmp_path, *SWEEP) as run:
        run.wait_for_samples()
        os.kill(run.pids("mpiexec")[0], signal.SIGKILL)
        run.wait_for_samples(launches=2)
        run.interrupted()
    assert "the launcher ended with signal SIGKILL" in _loss(run.out)


@mpi
def test_ranks_that_are_gone_with_a_launcher_that_does_not_notice_are_no_hang(tmp_path: pathlib.Path) -> None:
    with Run(tmp_path, *SWEEP) as run:
        run.wait_for_samples()
        (proxy,) = run.pids("hydra_pmi_proxy")  # rank 0 ends with it, for nobody reads what it says; mpiexec stays
        os.kill(proxy, signal.SIGKILL)
        run.wait_for_samples(launches=2)
        run.interrupted()
    assert "rank 0 is gone, which the launcher did not notice" in _loss(run.out)


@mpi
def test_a_cell_that_crashes_ranks_twice_is_out_and_the_others_are_measured(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mpi_module, "WORKER", "crashing_worker")
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    monkeypatch.setenv("FAULT_CELL", "Tree")
    words = (*SWEEP, "--algo", "Ring,Tree", "--budget", "5", "--out", str(tmp_path / "run"), "--json")
    assert group.main(list(words), standalone_mode=False) == 3
    mishaps = [line for line in lines(tmp_path / "run", "measurement") if line["mishap"]]
    assert [line["cells"][0]["algo"] for line in mishaps] == ["Tree", "Tree"]
    document = json.loads(capfd.readouterr().out)
    assert {cell["algo"]: cell["status"] for cell in document["cells"]}["Tree"] == "timeout"
    assert {cell["algo"]: cell["status"] for cell in document["cells"]}["Ring"] in ("ok", "eliminated")
    assert "Segmentation fault" in next(f["message"] for f in document["findings"] if f["code"] == "cell-timeout")


@mpi
def test_a_rank_out_of_memory_is_named(tmp_path: pathlib.Path) -> None:
    limited = ("prlimit", f"--as={3 << 30}")
    with Run(tmp_path, *SWEEP, "--sizes", "2G", before=limited) as run:
        ended = run.ended()
    assert ended.status == 1
    assert f" on {os.uname().nodename}: MemoryError: " in ended.stderr or "Unable to allocate" in ended.stderr


@mpi
@pytest.mark.slow  # tests/mpi and tests/cluster show that no rank is left, tests/store that all is kept
def test_a_killed_sweep_leaves_no_rank_and_goes_on(tmp_path: pathlib.Path) -> None:
    with Run(tmp_path, *SWEEP, "--budget", "6") as run:
        run.wait_for_samples()
        run.process.kill()
        run.process.wait()
        assert run.left() == []
        kept = len(lines(run.out, "measurement"))
    with Run(tmp_path, "sweep", "--resume", str(run.out)) as again:
        ended = again.ended()
    assert ended.status == 0, ended.stderr
    assert len(lines(run.out, "measurement")) > kept


@mpi
@pytest.mark.slow  # its trials are those of tests/e2e, the death of a rank is that of the sweeps above
def test_a_trial_whose_rank_dies_has_failed_and_the_comparison_goes_on(tmp_path: pathlib.Path) -> None:
    words = ("validate-e2e", "--workload", "proxy", "--nranks", "2", "--trials", "2", "--warmup", "0", "--budget", "60",
             "--candidate", "MPIR_CVAR_ALLREDUCE_INTRA_ALGORITHM=ring", "--seed", "1")  # fmt: skip
    with Run(tmp_path, *words) as run:
        run.wait_for(lambda: len(run.ranks("proxy_worker")) == 2)
        os.kill(run.ranks("proxy_worker")[-1], signal.SIGKILL)
        ended = run.ended()
    assert ended.status in (0, 3), ended.stderr
    first, *others = ended.document["trials"]
    assert (first["status"], {trial["status"] for trial in others}) == ("failed", {"ok"})
    assert "(process " in first["message"]


# ---- ranks of NCCL, whose library is a stand-in


@pytest.fixture
def nccl(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> NcclBackend:
    backends = HERE.parent / "backends"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(backends / "fake_gpu"), str(HERE)]))
    monkeypatch.setenv("FAKE_NCCL_HELPERS", str(HERE.parent / "tuner"))
    monkeypatch.setenv("FAKE_GPU_FOLDER", str(tmp_path))
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    monkeypatch.setattr(nccl_module, "gpu_count", lambda: 2)
    made = NcclBackend(BackendOptions(nranks=2))
    made._choices = Choices(library="NCCL 2.28.9", algorithms={}, ngpus=2)
    return made


def _launch(index: int = 0) -> Launch:
    point = Point(collective=Collective.ALL_REDUCE, dtype="float32", size_bytes=64)
    cells = (Cell(), Cell(algo="Ring", proto="Simple"))
    return Launch(
        index=index, stage="explore", nranks=2, warmups=0, timeout_s=5.0, seed=1,
        blocks=(Block(point=point, cells=cells, repeat=3),),
    )  # fmt: skip


def test_a_rank_that_crashes_is_a_mishap_of_its_cell(nccl: NcclBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ncclprobe.backends.nccl.WORKER", "crashing_worker")
    monkeypatch.setenv("FAULT_CELL", "Ring/Simple")
    *before, last = nccl.measure(_launch())
    assert all(one.statuses == (Status.OK,) for one in before)
    assert (last.cells[0].label, last.statuses, last.mishap) == ("Ring/Simple", (Status.TIMEOUT,), True)
    assert f"rank 1 on {os.uname().nodename}" in last.message


def test_a_gpu_without_memory_for_buffers_is_named(nccl: NcclBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_GPU_BYTES", "4096")
    named = rf"rank [01] on {re.escape(os.uname().nodename)}: LaunchError: the GPU has no \d+ bytes for buffers"
    with pytest.raises(LaunchError, match=named):
        list(nccl.measure(_launch()))


def test_a_launch_is_measured_though_the_next_ranks_cannot_be_started(
    nccl: NcclBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nccl_module, "AHEAD_CORES", 0)
    nccl._options = nccl._options.with_(ahead=True)
    needed, real = [], Crew.__init__

    def only_when_needed(self, *arguments, **options):
        needed.append(len(needed))
        if len(needed) == 2:
            raise LaunchError("cannot start: too many processes")
        real(self, *arguments, **options)

    monkeypatch.setattr(Crew, "__init__", only_when_needed)
    assert {one.statuses for one in nccl.measure(_launch())} == {(Status.OK,)}
    assert {one.statuses for one in nccl.measure(_launch(1))} == {(Status.OK,)}
    nccl.close()
    assert len(needed) == 4


def test_ranks_that_died_waiting_are_started_again(nccl: NcclBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nccl_module, "AHEAD_CORES", 0)
    nccl._options = nccl._options.with_(ahead=True)
    list(nccl.measure(_launch()))
    assert nccl._spare is not None
    starter = nccl._spare._waiting.ranks._process
    starter.kill()
    starter.wait()
    assert {one.statuses for one in nccl.measure(_launch(1))} == {(Status.OK,)}
    nccl.close()


@mpi
def test_a_trial_whose_rank_is_stopped_names_it(tmp_path: pathlib.Path) -> None:
    words = ("--workload", "proxy", "--nranks", "2", "--candidate", "A=1", "--trials", "1", "--timeout", "4")
    with Run(tmp_path, "validate-e2e", *words) as run:
        run.wait_for(lambda: len(run.ranks("proxy_worker")) == 2)
        pid = run.ranks("proxy_worker")[0]
        os.kill(pid, signal.SIGSTOP)
        run.wait_for(lambda: bool(lines(run.out, "trial")))
        run.interrupted()
    (trial, *_) = lines(run.out, "trial")
    assert trial["status"] == "failed"
    assert re.search(rf"rank \d \(process {pid}\) is stopped by a signal", trial["message"])


@mpi
@pytest.mark.cluster
def test_ranks_without_room_for_shared_memory_end_with_where_to_look(tmp_path: pathlib.Path) -> None:
    little = 'mount -t tmpfs -o size=1m tmpfs /dev/shm && exec "$@"'
    with Run(tmp_path, *SWEEP, before=("unshare", "-m", "sh", "-c", little, "sh")) as run:
        ended = run.ended()
    assert ended.status == 1
    assert "Bus error (signal 7), as where /dev/shm is full (`df -h /dev/shm`; a container has" in ended.stderr
