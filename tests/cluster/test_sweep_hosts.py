"""A sweep whose ranks are on four hosts really crosses their network, however the ranks are started."""

from __future__ import annotations

import json
import pathlib
import re
import time

import pytest
from testbed import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.mpi]

ALL = ("--hosts", "node[1-4]")
SALLOC = ("salloc", "--quiet", "--nodes", "4")
STEP = ("srun", "--overlap", "--nodes", "1", "--ntasks", "1")
SWEEP = ("ncclprobe", "sweep", "--backend", "mpi", "--algo", "Ring", "--sizes", "1M", "--json", "--seed", "1")
WORKER = "ncclprobe.sweep.worker"


def _default_us(cluster: Cluster, *options: str, before: tuple[str, ...] = (), nranks: int = 4, **env: str) -> float:
    """Return the median time of the library's own all-reduce of 1 MiB, whose every sample was right."""
    out = cluster.folder / f"sweep-{time.time_ns()}"
    command = [*before, *SWEEP, "--nranks", str(nranks), "--budget", "1", "--out", str(out), *options]
    ended = cluster.run("node1", command, env=env)
    assert ended.status == 0, ended.stderr
    document = json.loads(ended.stdout)
    default = document["cells"][0]
    assert (document["nranks"], default["algo"], default["status"], default["wrong"]) == (nranks, "default", "ok", 0)
    return default["time_us"]["median"]


@pytest.fixture(scope="module")
def healthy_us(four_hosts: Cluster) -> float:
    """Return what it takes while no link is throttled."""
    return _default_us(four_hosts, "--launcher", "mpirun", *ALL)


def _nodefile(cluster: Cluster) -> str:
    path = cluster.folder / "nodefile"
    path.write_text("".join(f"{name}\n{name}\n" for name in cluster.names))
    return str(path)


def _running(cluster: Cluster) -> list[str]:
    """Return where a rank runs."""
    return [name for name in cluster.names if any(WORKER in line for line in cluster.processes(name))]


def _wait_for(cluster: Cluster, where: list[str], within_s: float = 30.0) -> list[str]:
    """Return where a rank runs, as soon as it is where it is waited for."""
    deadline = time.monotonic() + within_s
    while (found := _running(cluster)) != where and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def test_a_throttled_host_slows_a_sweep_by_mpirun(cluster: Cluster, healthy_us: float) -> None:
    cluster.slow("node3", "200mbit")
    assert _default_us(cluster, "--launcher", "mpirun", *ALL) > 2 * healthy_us


def test_a_throttled_host_slows_a_sweep_by_pbs(cluster: Cluster, healthy_us: float) -> None:
    cluster.slow("node4", "200mbit")
    assert _default_us(cluster, "--launcher", "pbs", PBS_NODEFILE=_nodefile(cluster)) > 2 * healthy_us


def test_a_throttled_link_slows_a_sweep_of_its_hosts_alone(cluster: Cluster) -> None:
    cluster.slow_link("node2", "node3", "100mbit")
    others_us = _default_us(cluster, "--launcher", "mpirun", "--hosts", "node[1-2]", nranks=2)
    assert _default_us(cluster, "--launcher", "mpirun", "--hosts", "node[2-3]", nranks=2) > 2 * others_us


@pytest.mark.slurm
@pytest.mark.parametrize(
    ("launcher", "before", "options"),
    [("srun", (), ALL), ("srun", (*SALLOC, *STEP), ()), ("mpirun", SALLOC, ())],
    ids=["srun", "srun in a step", "mpirun in an allocation"],
)
def test_a_throttled_host_slows_a_sweep_through_slurm(
    slurm_cluster: Cluster, healthy_us: float, launcher: str, before: tuple[str, ...], options: tuple[str, ...]
) -> None:
    slurm_cluster.slow("node3", "200mbit")
    assert _default_us(slurm_cluster, "--launcher", launcher, *options, before=before) > 2 * healthy_us


@pytest.mark.slurm
def test_an_allocation_takes_more_ranks_than_cpus(slurm_cluster: Cluster) -> None:
    assert _default_us(slurm_cluster, "--launcher", "srun", before=SALLOC, nranks=8) > 0


@pytest.mark.slurm
@pytest.mark.parametrize(
    ("launcher", "before"),
    [("srun", SALLOC), ("srun", (*SALLOC, *STEP)), ("mpirun", SALLOC)],
    ids=["srun", "srun in a step of one task", "mpirun"],
)
def test_an_allocation_has_a_rank_a_host_unless_told_otherwise(
    slurm_cluster: Cluster, launcher: str, before: tuple[str, ...]
) -> None:
    out = slurm_cluster.folder / f"unnamed-{time.time_ns()}"
    command = [*before, *SWEEP, "--launcher", launcher, "--budget", "1", "--out", str(out)]
    ended = slurm_cluster.run("node1", command)
    assert ended.status == 0, ended.stderr
    document = json.loads(ended.stdout)
    assert (document["nranks"], document["nnodes"]) == (4, 4)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["options"]["hosts"] == ["node1", "node2", "node3", "node4"]


@pytest.mark.slurm
def test_a_sweep_goes_on_on_the_hosts_that_it_began_on_alone(slurm_cluster: Cluster) -> None:
    out = slurm_cluster.folder / f"moved-{time.time_ns()}"
    job = ("salloc", "--quiet", "--nodelist")
    begun = slurm_cluster.run(
        "node1", [*job, "node[1-2]", *SWEEP, "--launcher", "srun", "--budget", "1", "--out", str(out)]
    )
    assert begun.status == 0, begun.stderr
    ended = slurm_cluster.run("node1", [*job, "node[3-4]", "ncclprobe", "sweep", "--resume", str(out)])
    assert ended.status == 2
    assert "Error: node1 is not among this Slurm job's hosts: node[3-4]; " in ended.stderr
    assert "in a job that has the run's hosts" in ended.stderr


@pytest.mark.slurm
@pytest.mark.parametrize("launcher", ["mpirun", "srun"])
def test_a_killed_sweep_leaves_no_rank_on_any_host(slurm_cluster: Cluster, launcher: str) -> None:
    out = slurm_cluster.folder / f"killed-{launcher}"
    slurm_cluster.start("node1", [*SWEEP, "--launcher", launcher, *ALL, "--budget", "60", "--out", str(out)])
    assert _wait_for(slurm_cluster, ["node1", "node2", "node3", "node4"]) == ["node1", "node2", "node3", "node4"]
    slurm_cluster.must("node1", "pkill", "-KILL", "-f", f"ncclprobe sweep .*{out}")
    assert _wait_for(slurm_cluster, []) == []


@pytest.mark.slurm
@pytest.mark.parametrize("launcher", ["mpirun", "srun"])
def test_a_cut_host_ends_a_sweep_that_names_it_and_goes_on_once_it_is_healed(
    slurm_cluster: Cluster, launcher: str
) -> None:
    out = slurm_cluster.folder / f"cut-{launcher}"
    sweep = [*SWEEP, "--launcher", launcher, *ALL, "--budget", "12", "--timeout", "2", "--out", str(out)]
    process = slurm_cluster.start("node1", sweep)
    _wait_for_samples(out)
    slurm_cluster.cut("node3")
    stderr = process.communicate(timeout=180)[1]
    assert process.returncode == 1, stderr
    assert re.search(rf"Error: node3 does not answer \(({launcher} start|Slurm has it completing)", stderr), stderr
    assert '"timeout"' not in (out / "journal.jsonl").read_text(), "no cell is to blame"
    assert _wait_for(slurm_cluster, ["node3"]) == ["node3"]
    assert slurm_cluster.must("node1", "squeue", "--noheader", "--states=RUNNING") == "", "no allocation is kept"
    slurm_cluster.heal("node3")
    assert _wait_for(slurm_cluster, [], 150) == [], "Slurm ends what is left there once it hears of the host again"
    ended = slurm_cluster.run("node1", ["ncclprobe", "sweep", "--resume", str(out), "--json"])
    assert ended.status == 0, ended.stderr


@pytest.mark.slurm
@pytest.mark.slow
@pytest.mark.parametrize(
    "after_s", [1.0, 6.0, 20.0], ids=["silent", "asked for stopped ranks", "asked whether it answers"]
)
def test_ctrl_c_while_a_cut_host_is_asked_keeps_no_allocation(slurm_cluster: Cluster, after_s: float) -> None:
    out = slurm_cluster.folder / f"ctrl-c-{after_s}"
    sweep = [*SWEEP, "--launcher", "srun", *ALL, "--budget", "12", "--timeout", "2", "--out", str(out)]
    process = slurm_cluster.start("node1", sweep)
    _wait_for_samples(out)
    slurm_cluster.cut("node3")
    time.sleep(after_s)
    slurm_cluster.must("node1", "pkill", "-INT", "-f", f"ncclprobe sweep .*{out}")
    stderr = process.communicate(timeout=20)[1]
    assert process.returncode == 130, stderr
    assert slurm_cluster.must("node1", "squeue", "--noheader", "--states=RUNNING,PENDING") == ""


@pytest.mark.slurm
@pytest.mark.parametrize(
    ("launcher", "before"),
    [
        ("mpirun", ()),
        pytest.param(
            "srun", (*SALLOC, *STEP),
            marks=pytest.mark.slow,  # the way is mpirun's; tests/launchers shows that an allocation's hosts are asked
        ),
        pytest.param("srun", (), marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_a_rank_that_is_stopped_on_another_host_is_named_and_no_cell_is_blamed(
    slurm_cluster: Cluster, launcher: str, before: tuple[str, ...]
) -> None:
    out = slurm_cluster.folder / f"stopped-{launcher}-{len(before)}"
    where = () if before else ALL
    sweep = [*before, *SWEEP, "--launcher", launcher, *where, "--nranks", "4", "--budget", "4", "--timeout", "1"]
    process = slurm_cluster.start("node1", [*sweep, "--out", str(out)])
    _wait_for_samples(out)
    slurm_cluster.must("node3", "pkill", "-STOP", "-f", f"^[^ ]*python[^ ]* -m {WORKER}")
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    (lost,) = [found["message"] for found in json.loads(stdout)["findings"] if found["code"] == "ranks-lost"]
    assert re.search(r"rank 2 \(process \d+\) on node3 is stopped by a signal", lost)
    assert {cell["status"] for cell in json.loads(stdout)["cells"]} <= {"ok", "eliminated"}


def _wait_for_samples(out: pathlib.Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if (out / "journal.jsonl").exists() and '"measurement"' in (out / "journal.jsonl").read_text():
            return
        time.sleep(0.05)
    pytest.fail(f"no sample in {out} within 30 s")
