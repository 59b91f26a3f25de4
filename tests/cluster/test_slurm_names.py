"""What is cancelled in a real Slurm is what has the name, and nothing else."""

from __future__ import annotations

import time

import pytest
from testbed import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.slurm]

SLEEP = ("sleep", "300")
CANCEL = "import sys; from ncclprobe.launchers.slurm import cancel; cancel(sys.argv[1])"


def _names(cluster: Cluster, *which: str) -> set[str]:
    """Return the names of what Slurm runs: of jobs, or of steps."""
    return set(cluster.must("node1", "squeue", "--noheader", *which, "--states=RUNNING", "--format=%j").split())


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
