"""A watch that is killed, and one whose check is: no check runs on to nobody, and none beside another."""

from __future__ import annotations

import os
import pathlib
import signal

import pytest
from fault_runs import Run, command, lines

E2E = ("validate-e2e", "--workload", "command", "--metric", "v=([0-9.]+)", "--candidate", "A=1", "--telemetry", "0")
WORKLOAD = ("--", "sh", "-c", "sleep 61; echo v=1")


def _workloads(run: Run) -> list[int]:
    return [pid for pid in run.pids("sleep 61") if command(pid) == "sleep 61"]


@pytest.fixture
def watching(tmp_path: pathlib.Path):
    """Return a watch whose first check runs a command."""
    with Run(tmp_path, "watch", "--every", "1s", "--", *E2E, *WORKLOAD) as run:
        run.wait_for(lambda: bool(_workloads(run)))
        yield run


def test_a_check_ends_with_a_watch_that_is_killed(watching: Run) -> None:
    watching.process.send_signal(signal.SIGKILL)
    watching.process.wait()
    assert watching.left(within_s=15) == []


def test_a_check_that_is_killed_leaves_nothing_that_runs_beside_the_next_one(watching: Run) -> None:
    (first,) = _workloads(watching)
    (check,) = watching.pids("--quiet")
    os.kill(check, signal.SIGKILL)
    watching.wait_for(lambda: bool(lines(watching.out, "check")))
    assert first not in watching.pids()
    watching.interrupted()
