"""Ranks as plain processes of this machine, for libraries that bring their own way to meet: no MPI is needed.

``python -m ncclprobe.launchers.spawn NRANKS PROGRAM ...`` starts them and ends with them: the first rank that fails
ends all others, and its status is the command's.

Source: PyTorch's torchrun documentation, "Environment Variables" (``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK``)
"""

from __future__ import annotations

import os
import platform
import signal
import sys
import time
from types import FrameType
from typing import Self

from ncclprobe import processes
from ncclprobe.errors import UsageError
from ncclprobe.launchers.base import Job

POLL_S = 0.01
"""Between two looks at the ranks."""
_FOREIGN = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "SLURM_PROCID", "PBS_TASKNUM")
"""What an outer launcher left in the environment and ``ranks.rank_from`` would believe first."""


class SpawnLauncher:
    """Starts ranks on this machine without any MPI library."""

    name = "local"

    @classmethod
    def find(cls) -> Self:
        """Return the launcher; all it needs is this Python."""
        return cls()

    def command(self, job: Job) -> list[str]:
        """Return the command's tokens.

        Raises:
            UsageError: The job names hosts.
        """
        if job.hosts:
            raise UsageError(f"the launcher `local` starts ranks here, not on {job.hosts[0]}; use --launcher mpirun")
        return [sys.executable, "-m", "ncclprobe.launchers.spawn", str(job.nranks), *job.program]

    def environment(self, job: Job) -> dict[str, str]:
        """Return the job's variables: the ranks inherit them."""
        return dict(job.env)


def rank_environment(rank: int, nranks: int, inherited: dict[str, str]) -> dict[str, str]:
    """Return a rank's whole environment."""
    kept = {name: value for name, value in inherited.items() if name not in _FOREIGN}
    return kept | {"RANK": str(rank), "WORLD_SIZE": str(nranks), "LOCAL_RANK": str(rank)}


def main(nranks: int, program: list[str]) -> int:
    """Start the ranks, wait for their end and return the exit status."""
    signal.signal(signal.SIGTERM, _stop)
    ranks = [_start(rank, nranks, program) for rank in range(nranks)]
    try:
        return _wait(ranks)
    finally:
        for process in ranks:
            processes.kill_group(process)
        for process in ranks:
            process.wait()


def _start(rank: int, nranks: int, program: list[str]) -> processes.Process[bytes]:
    """Start a rank: the first has this process's stdin and stdout, the others say everything to stderr."""
    environment = rank_environment(rank, nranks, dict(os.environ))
    first = rank == 0
    return processes.start(
        program, env=environment, stdin=0 if first else processes.DEVNULL, stdout=1 if first else 2, stderr=2
    )


def _wait(ranks: list[processes.Process[bytes]]) -> int:
    """Return 0 once all have ended well, else the status of the first that did not."""
    while True:
        ended = {rank: status for rank, process in enumerate(ranks) if (status := process.poll()) is not None}
        for rank, status in ended.items():
            if status:
                return _failed(rank, status)
        if len(ended) == len(ranks):
            return 0
        time.sleep(POLL_S)


def _failed(rank: int, status: int) -> int:
    how = f"ended by signal {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}"
    sys.stderr.write(f"ncclprobe: rank {rank} on {platform.node()}: {how}\n")
    return 128 - status if status < 0 else status


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signal.SIGTERM)


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]), sys.argv[2:]))
