"""Ranks on this machine alone, whatever scheduler it belongs to."""

from __future__ import annotations

from typing import Self

from ncclprobe import processes
from ncclprobe.errors import UsageError
from ncclprobe.launchers.base import Job
from ncclprobe.launchers.mpirun import Flavour, find_mpiexec, flavour_of, mpiexec_command, mpiexec_environment

_STAY_HERE = {
    Flavour.HYDRA: ("-launcher", "fork", "-rmk", "user"),
    Flavour.OPEN_MPI: ("--mca", "plm", "isolated", "--mca", "ras", "^slurm,tm,lsf,gridengine"),
}
"""Options that keep mpiexec from taking the hosts of the allocation that it finds itself in."""


class LocalLauncher:
    """Starts ranks on this machine, more than it has cores where asked to."""

    name = "local"

    def __init__(self, program: str, flavour: Flavour) -> None:
        self._program, self._flavour = program, flavour

    @classmethod
    def find(cls) -> Self:
        """Return the launcher of the mpiexec that belongs to this Python's MPI.

        Raises:
            MissingDependencyError: There is none.
        """
        program = find_mpiexec()
        return cls(program, flavour_of(processes.run([program, "--version"], timeout_s=30).stdout))

    def command(self, job: Job) -> list[str]:
        """Return the command's tokens.

        Raises:
            UsageError: The job names hosts.
        """
        if job.hosts:
            raise UsageError(f"the launcher `local` starts ranks here, not on {job.hosts[0]}; use --launcher mpirun")
        return mpiexec_command(self._program, self._flavour, job, _STAY_HERE[self._flavour])

    def environment(self, job: Job) -> dict[str, str]:
        """Return what the program needs itself."""
        return mpiexec_environment(self._flavour)
