"""Limits of months: longer than the kernel takes for a single wait."""

import socket
import sys

import pytest

from ncclprobe import processes
from ncclprobe.launchers import make_launcher
from ncclprobe.launchers.base import Job
from ncclprobe.launchers.run import run_ranks

MONTHS = 1e10


def test_a_command_may_take_months():
    assert processes.run(["echo", "done"], timeout_s=MONTHS).stdout == "done\n"


def test_the_longest_wait_is_one_that_a_socket_takes():
    with socket.socket() as link:
        link.settimeout(processes.LONGEST_WAIT_S)


@pytest.mark.mpi
def test_ranks_may_be_silent_for_months(tmp_path):
    script = tmp_path / "rank.py"
    script.write_text("from mpi4py import MPI\nMPI.COMM_WORLD.barrier()\n")
    job = Job(program=(sys.executable, str(script)), nranks=1)
    assert list(run_ranks(job, make_launcher("local"), timeout_s=MONTHS, start_timeout_s=MONTHS)) == []
