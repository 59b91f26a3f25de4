"""Shared memory of ranks that are ended before they have taken its names themselves."""

from __future__ import annotations

import pathlib
import sys

import pytest

from ncclprobe import processes
from ncclprobe.launchers.mpirun import find_mpiexec

pytestmark = pytest.mark.mpi

RANK = """
import time
from mpi4py import MPI
MPI.COMM_WORLD.Barrier()
lines = [line.split() for line in open("/proc/self/maps")]
if MPI.COMM_WORLD.rank == 0:
    print(*{line[5] for line in lines if "/dev/shm/" in line[-1]}, flush=True)
time.sleep(60)
"""
INTERRUPTED = """
import sys
from ncclprobe import processes
started = processes.start(sys.argv[1:], stderr=processes.DEVNULL)
print(started.stdout.readline().decode(), end="")
processes.end_all()
started.wait()
processes.end_tree(started)
"""


def _ranks() -> list[str]:
    return [find_mpiexec(), "-n", "2", sys.executable, "-c", RANK]


@pytest.mark.parametrize("grace_s", [0.0, 2.0])
def test_ranks_that_are_ended_while_they_start_leave_no_segment(grace_s: float) -> None:
    started = processes.start(_ranks(), stderr=processes.DEVNULL)
    assert started.stdout is not None
    with started.stdout as said:
        mapped = [pathlib.Path(path) for path in said.readline().decode().split()]
    assert mapped
    assert all(path.exists() for path in mapped)
    processes.end_tree(started, grace_s)
    assert not [path for path in mapped if path.exists()]


def test_ranks_that_an_interrupt_ends_while_they_start_leave_no_segment() -> None:
    ended = processes.run([sys.executable, "-c", INTERRUPTED, *_ranks()], timeout_s=60)
    assert (ended.returncode, ended.stderr) == (0, "")
    mapped = [pathlib.Path(path) for path in ended.stdout.split()]
    assert mapped
    assert not [path for path in mapped if path.exists()]
