"""In a real Slurm, what is cancelled is what has the name and nothing else, and hosts that start nothing are told."""

from __future__ import annotations

import time

import pytest
from testbed import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.slurm]

SLEEP = ("sleep", "300")
CANCEL = "import sys; from ncclprobe.launchers.slurm import cancel; cancel(sys.argv[1])"
HINDRANCE = "import sys; from ncclprobe.launchers.slurm import hindrance; print(hindrance(sys.argv[1], 1.0))"


def _names(cluster: Cluster, *which: str) -> set[str]:
    """Return the names of what Slurm runs: of jobs, or of steps."""
    return set(cluster.must("node1", "squeue", "--noheader", *which, "--states=RUNNING", "--format=%j").split())


def _hindrance(cluster: Cluster, host: str) -> str:
    return cluster.must("node1", "python3", "-c", HINDRANCE, host).strip()


def _wait_for(cluster: Cluster, jobs: set[str], steps: set[str]) -> tuple[set[str], set[str]]:
    deadline = time.monotonic() + 30
    while (found := (_names(cluster), _names(cluster, "--steps"))) != (jobs, steps) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def test_jobs_and_steps_of_the_name_alone_are_cancelled(slurm_cluster: Cluster) -> None:
    slurm_cluster.start("node1", ["srun", "--job-name", "training", "--nodes", "1", *SLEEP])
    slurm_cluster.start("node1", ["srun", "--job-name", "ours", "--nodes", "1", *SLEEP])
    salloc = ["salloc", "--quiet", "--nodes", "1", "--job-name", "theirs", "sh", "-c"]
    slurm_cluster.start(
        "node1",
        [*salloc, "srun --overlap --job-name theirs-too sleep 300 & srun --overlap --job-name ours sleep 300; wait"],
    )
    everything = {"training", "ours", "theirs"}, {"training", "ours", "theirs-too"}
    assert _wait_for(slurm_cluster, *everything) == everything
    slurm_cluster.must("node1", "python3", "-c", CANCEL, "ncclprobe-0123456789abcdef")
    assert (_names(slurm_cluster), _names(slurm_cluster, "--steps")) == everything
    slurm_cluster.must("node1", "python3", "-c", CANCEL, "ours")
    rest = {"training", "theirs"}, {"training", "theirs-too"}
    assert _wait_for(slurm_cluster, *rest) == rest
    for name in ("training", "theirs"):
        slurm_cluster.must("node1", "scancel", "--name", name)


def test_steps_of_an_array_are_cancelled_and_nothing_beside_them(slurm_cluster: Cluster) -> None:
    script = "srun --overlap --job-name theirs-too sleep 300 & srun --overlap --job-name ours sleep 300; wait"
    slurm_cluster.must("node1", "sbatch", "--array=1-2", "--job-name=theirs", "--output=/dev/null", f"--wrap={script}")
    everything, rest = ({"theirs"}, {"batch", "theirs-too", "ours"}), ({"theirs"}, {"batch", "theirs-too"})
    try:
        assert _wait_for(slurm_cluster, *everything) == everything
        slurm_cluster.must("node1", "python3", "-c", CANCEL, "ours")
        assert _wait_for(slurm_cluster, *rest) == rest
    finally:
        slurm_cluster.must("node1", "scancel", "--name", "theirs")


def test_a_host_on_which_slurm_starts_nothing_is_told(slurm_cluster: Cluster) -> None:
    assert _hindrance(slurm_cluster, "node2") == ""
    slurm_cluster.must("node1", "scontrol", "update", "NodeName=node2", "State=drain", "Reason=looked after")
    try:
        assert _hindrance(slurm_cluster, "node2") == "Slurm has it drained"
        assert _hindrance(slurm_cluster, "node1") == ""
    finally:
        slurm_cluster.must("node1", "scontrol", "update", "NodeName=node2", "State=undrain")
    assert _hindrance(slurm_cluster, "node2") == ""
