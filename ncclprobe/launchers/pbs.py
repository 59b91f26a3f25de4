"""``mpiexec`` inside a PBS job, on the hosts that the job was given."""

from __future__ import annotations

import os
import pathlib
from typing import Self

from ncclprobe import processes
from ncclprobe.errors import UsageError
from ncclprobe.launchers.base import Job, refuse_strangers
from ncclprobe.launchers.mpirun import Flavour, find_mpiexec, flavour_of, mpiexec_command, mpiexec_environment

_OWN_HOSTS = {Flavour.HYDRA: ("-rmk", "user"), Flavour.OPEN_MPI: ()}
"""Options that keep mpiexec from reading the host file a second time."""


def parse_nodefile(text: str) -> tuple[str, ...]:
    """Return the hosts in a PBS node file, each once, in order; a host has one line for each of its slots.

    Source: OpenPBS 22, pbs_environment(7B), PBS_NODEFILE
    """
    return tuple(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))


class PbsLauncher:
    """Starts ranks on the hosts of the PBS job that this process is part of."""

    name = "pbs"

    def __init__(self, program: str, flavour: Flavour, hosts: tuple[str, ...]) -> None:
        self._program, self._flavour, self.hosts = program, flavour, hosts

    @classmethod
    def find(cls) -> Self:
        """Return the launcher for the job's hosts.

        Raises:
            UsageError: This is no PBS job.
            MissingDependencyError: There is no mpiexec.
        """
        nodefile = os.environ.get("PBS_NODEFILE")
        if not nodefile:
            raise UsageError(
                "PBS_NODEFILE is not set: this is no PBS job; submit one with qsub, or use another launcher"
            )
        try:
            hosts = parse_nodefile(pathlib.Path(nodefile).read_text())
        except OSError as problem:
            raise UsageError(
                f"cannot read PBS_NODEFILE {nodefile}: {problem.strerror}; run on the job's first host"
            ) from problem
        program = find_mpiexec()
        return cls(program, flavour_of(processes.run([program, "--version"], timeout_s=30).stdout), hosts)

    def command(self, job: Job) -> list[str]:
        """Return the command's tokens.

        Raises:
            UsageError: The job names a host that PBS did not give.
        """
        refuse_strangers(job, self.hosts, "PBS")
        placed = job.with_(hosts=job.hosts or self.hosts)
        return mpiexec_command(self._program, self._flavour, placed, _OWN_HOSTS[self._flavour])

    def environment(self, job: Job) -> dict[str, str]:
        """Return what mpiexec needs itself."""
        return mpiexec_environment(self._flavour)
