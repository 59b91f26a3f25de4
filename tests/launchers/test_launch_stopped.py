"""Stopped ranks are asked for on the hosts of the job, and on those of the allocation where the job names none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from ncclprobe.launchers.base import Job, Launcher
from ncclprobe.launchers.stopped import stopped_ranks
from ncclprobe.processes import MARK

VARIABLES = {MARK: "of-this-test", "SLURM_PROCID": "3", "SLURM_NTASKS": "4", "SLURM_LOCALID": "0"}


class Everywhere(Launcher):
    """Starts a program here, whatever the host."""

    name = "srun"

    def command(self, job: Job) -> list[str]:
        """Return the program's tokens alone."""
        return list(job.program)

    def environment(self, job: Job) -> dict[str, str]:
        """Return what puts this ncclprobe on the path."""
        return dict(job.env)


@pytest.fixture
def stopped() -> Iterator[int]:
    """Return a stopped process of rank 3."""
    with subprocess.Popen(["sleep", "60"], env={**os.environ, **VARIABLES}) as process:
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        yield process.pid
        process.kill()


@pytest.mark.parametrize(("named", "allocated"), [(("n1", "n2"), ""), ((), "n[1-2]")])
def test_each_host_of_the_job_or_of_the_allocation_is_asked(
    named: tuple[str, ...], allocated: str, stopped: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_NODELIST", allocated)
    job = Job(program=(sys.executable,), nranks=4, hosts=named)
    told = f"rank 3 (process {stopped}) on"
    assert stopped_ranks(VARIABLES[MARK], job, Everywhere()) == [f"{told} n1", f"{told} n2"]
