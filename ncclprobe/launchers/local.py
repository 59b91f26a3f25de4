"""Ranks on this machine alone, whatever scheduler it belongs to."""

from __future__ import annotations

from ncclprobe.errors import UsageError
from ncclprobe.launchers.base import Job
from ncclprobe.launchers.mpirun import Flavour, MpirunLauncher, mpiexec_command

_STAY_HERE = {
    Flavour.HYDRA: ("-launcher", "fork", "-rmk", "user"),
    Flavour.OPEN_MPI: ("--mca", "plm", "isolated", "--mca", "ras", "^slurm,tm,lsf,gridengine"),
}
"""Options that keep mpiexec from taking the hosts of the allocation that it finds itself in."""


MOST_RANKS = 1024
"""On one machine: four on each of 256 cores; a mistyped number would take its memory and its process table."""


class LocalLauncher(MpirunLauncher):
    """Starts ranks on this machine, more than it has cores where asked to."""

    name = "local"

    def command(self, job: Job) -> list[str]:
        """Return the command's tokens.

        Raises:
            UsageError: The job names hosts, or more ranks than one machine bears.
        """
        if job.hosts:
            raise UsageError(f"the launcher `local` starts ranks here, not on {job.hosts[0]}; use --launcher mpirun")
        if job.nranks > MOST_RANKS:
            raise UsageError(f"{job.nranks} ranks on this machine alone; it takes at most {MOST_RANKS}")
        return mpiexec_command(self._program, self._flavour, job, _STAY_HERE[self._flavour])
