"""Slurm's ``srun``, inside an allocation or making one of its own."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Self

from ncclprobe import processes
from ncclprobe.errors import MissingDependencyError
from ncclprobe.launchers.allocation import allocated_hosts
from ncclprobe.launchers.base import Job, refuse_strangers
from ncclprobe.launchers.mpirun import Flavour, find_mpiexec, flavour_of

_MPI_TYPES = {Flavour.HYDRA: "pmi2", Flavour.OPEN_MPI: "pmix"}


class SrunLauncher:
    """Starts ranks as one Slurm job step."""

    name = "srun"

    def __init__(
        self, program: str, mpi: str | None, cpus: tuple[int, ...] = (), hosts: tuple[str, ...] = ()
    ) -> None:  # fmt: skip
        """Take srun's path, its kind of MPI, and each host's CPUs and name in this process's allocation."""
        self._program, self._mpi, self._cpus, self._hosts = program, mpi, cpus, hosts

    @classmethod
    def find(cls) -> Self:
        """Return the launcher, which wires ranks up as the MPI library that has its mpiexec here expects it.

        Raises:
            MissingDependencyError: There is no srun.
        """
        program = processes.which("srun")
        if program is None:
            raise MissingDependencyError("there is no srun on PATH; this is no Slurm cluster, use --launcher mpirun")
        hosts = allocated_hosts(cls.name, os.environ) if "SLURM_JOB_ID" in os.environ else ()
        return cls(program, _mpi_type(), allocated_cpus(os.environ), hosts)

    def command(self, job: Job) -> list[str]:
        """Return the command's tokens; ``env`` sets the variables, since --export cannot take a comma in a value.

        What this process may have inherited of a step that it runs in (SLURM_NNODES, SLURM_DISTRIBUTION) is overruled.

        Raises:
            UsageError: The job names a host that is not in the allocation.

        Source: Slurm 22.05, srun(1)
        """
        if self._hosts:
            refuse_strangers(job, self._hosts, "Slurm")
        tokens = [self._program, "--ntasks", str(job.nranks), "--kill-on-bad-exit=1", "--input=0", "--unbuffered"]
        tokens += ["--distribution", "block", *(["--job-name", job.name] if job.name else [])]
        if self._mpi is not None:
            tokens.append(f"--mpi={self._mpi}")
        if job.hosts:
            tokens += ["--nodes", str(len(job.hosts)), "--nodelist", ",".join(job.hosts)]
        elif self._cpus:
            tokens += ["--nodes", str(min(len(self._cpus), -(-job.nranks // (job.ranks_per_host or 1))))]
        if job.hosts or job.ranks_per_host:
            tokens += ["--ntasks-per-node", str(job.per_host)]
        tokens += self._sharing(job)
        return [*tokens, "env", *(f"{name}={value}" for name, value in job.env), *job.program]

    def environment(self, job: Job) -> dict[str, str]:
        """Return what srun needs itself: that it hands its environment on, whatever the site has settled.

        Source: Slurm 22.05, srun(1), SLURM_EXPORT_ENV
        """
        return {"SLURM_EXPORT_ENV": "ALL"} if job.inherited else {}

    def _sharing(self, job: Job) -> list[str]:
        """Return options for a step in an allocation: it would wait until no other step is there, the next ranks' too.

        Source: Slurm 22.05, srun(1), --overlap and --overcommit
        """
        if not self._cpus:
            return []
        return ["--overlap", "--overcommit"] if self._is_crowded(job) else ["--overlap"]

    def _is_crowded(self, job: Job) -> bool:
        """Return whether the allocation has fewer CPUs than ranks, which srun refuses unless it is told."""
        placed = bool(job.hosts or job.ranks_per_host)
        return job.per_host > min(self._cpus) if placed else job.nranks > sum(self._cpus)


def allocated_cpus(environment: Mapping[str, str]) -> tuple[int, ...]:
    """Return the CPUs of each host of the allocation, from ``8(x2),4``; none outside of an allocation.

    Source: Slurm 22.05, salloc(1), SLURM_JOB_CPUS_PER_NODE
    """
    groups = re.findall(r"(\d{1,9})(?:\(x(\d{1,9})\))?(?:,|$)", environment.get("SLURM_JOB_CPUS_PER_NODE", ""))
    return tuple(int(cpus) for cpus, times in groups for _ in range(int(times or 1)))


def _mpi_type() -> str | None:
    """Return how the MPI library here takes its ranks, None to leave it to the cluster's default."""
    try:
        program = find_mpiexec()
    except MissingDependencyError:
        return None
    return _MPI_TYPES[flavour_of(processes.run([program, "--version"], timeout_s=30).stdout)]
