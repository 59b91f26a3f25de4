"""``mpiexec``/``mpirun`` of MPICH and its kin (hydra), and of Open MPI."""

from __future__ import annotations

import enum
import pathlib
import sys
import sysconfig
from typing import Self

from ncclprobe import processes
from ncclprobe.errors import MissingDependencyError
from ncclprobe.launchers.base import Job


class Flavour(enum.StrEnum):
    """Whose options the program takes."""

    HYDRA = "hydra"
    """MPICH, MVAPICH, Intel MPI."""
    OPEN_MPI = "open-mpi"


def flavour_of(version_text: str) -> Flavour:
    """Return whose program printed this for ``--version``; unknown ones are taken for hydra.

    Source: Open MPI 4.1 prints ``mpirun (Open MPI) 4.1.4``, its 5.0 ``mpirun (Open MPI) 5.0.3``
    """
    return (
        Flavour.OPEN_MPI if "open mpi" in version_text.lower() or "openrte" in version_text.lower() else Flavour.HYDRA
    )


def find_mpiexec() -> str:
    """Return the path of the mpiexec that belongs to this Python's MPI, else the first on PATH.

    Raises:
        MissingDependencyError: There is none.
    """
    for folder in (pathlib.Path(sys.executable).parent, pathlib.Path(sysconfig.get_path("scripts"))):
        if (folder / "mpiexec").exists():
            return str(folder / "mpiexec")
    found = processes.which("mpiexec") or processes.which("mpirun")
    if found is None:
        raise MissingDependencyError(
            "there is no mpiexec beside this Python or on PATH; `pip install 'ncclprobe[embedded]'` brings one,"
            " or load the site's MPI module and `pip install 'ncclprobe[mpi]'`"
        )
    return found


class MpirunLauncher:
    """Starts ranks over hosts, by ssh or by what the MPI library was built for."""

    name = "mpirun"

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
        """Return the command's tokens."""
        return mpiexec_command(self._program, self._flavour, job)

    def environment(self, job: Job) -> dict[str, str]:
        """Return what the program needs itself."""
        return mpiexec_environment(self._flavour)


def mpiexec_command(program: str, flavour: Flavour, job: Job, options: tuple[str, ...] = ()) -> list[str]:
    """Return the tokens that start a job's ranks, consecutive ranks on one host.

    Args:
        program: Path of mpiexec.
        flavour: Whose options it takes.
        job: What to start.
        options: More of the launcher's own, put before the job's.

    Source: MPICH 5.0, mpiexec --help; Open MPI 4.1, mpirun(1)
    """
    hydra = flavour is Flavour.HYDRA
    tokens = [program, *options, *(_hydra_hosts(job) if hydra else _open_mpi_hosts(job))]
    for name, value in job.env:
        tokens += ["-genv", name, value] if hydra else ["-x", f"{name}={value}"]
    for name, _ in job.inherited:  # hydra hands all of its environment on, through a socket
        tokens += [] if hydra else ["-x", name]
    return [*tokens, "-n", str(job.nranks), *job.program]


def mpiexec_environment(flavour: Flavour) -> dict[str, str]:
    """Return what mpiexec needs itself: Open MPI refuses root, and idle ranks that give way, without being told.

    Source: Open MPI 4.1, mpirun(1), "--allow-run-as-root"; its FAQ, "What is oversubscription?"
    """
    if flavour is Flavour.HYDRA:
        return {}
    return {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_mpi_yield_when_idle": "1"}


def _hydra_hosts(job: Job) -> list[str]:
    if not job.hosts:
        return [] if job.ranks_per_host is None else ["-ppn", str(job.ranks_per_host)]
    return ["-hosts", ",".join(job.hosts), "-ppn", str(job.per_host)]


def _open_mpi_hosts(job: Job) -> list[str]:
    if not job.hosts:
        per_host = [] if job.ranks_per_host is None else ["--map-by", f"ppr:{job.ranks_per_host}:node"]
        return ["--oversubscribe", *per_host]
    return ["--oversubscribe", "--host", ",".join(f"{host}:{job.per_host}" for host in job.hosts)]
