"""The ``mpi`` backend: real collectives between real ranks in host memory, with the MPI library's own algorithms."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from ncclprobe.backends.base import BackendOptions, Capabilities
from ncclprobe.backends.geometry import ITEM_BYTES, elements_per_rank
from ncclprobe.backends.messages import Described, Request, encode
from ncclprobe.backends.mpi_names import MPICH_START, OPEN_MPI_START, Choices, cell_environment
from ncclprobe.backends.watch import WORKER, decoded, measurements
from ncclprobe.errors import LaunchError, UsageError
from ncclprobe.launchers import make_launcher
from ncclprobe.launchers.base import Job, python_job
from ncclprobe.launchers.run import START_TIMEOUT_S, run_ranks
from ncclprobe.names import Collective
from ncclprobe.records.sweep import Cell, Launch, Measurement, Point

DTYPES = ("float32", "float64")
"""What MPI can sum and numpy can hold."""
LOCAL_RANKS = 4
"""Ranks on this machine unless told otherwise: the least at which trees and rings differ."""
COLLECTIVES = tuple(c for c in Collective if c is not Collective.REDUCE)
_YIELD = ("MPIR_CVAR_POLLS_BEFORE_YIELD", "1")
"""For ranks that share cores: MPICH's waiting ranks otherwise keep the core from those that have work."""


class MpiBackend:
    """Starts ranks of the MPI library that mpi4py runs on."""

    name = "mpi"

    def __init__(self, options: BackendOptions) -> None:
        if options.fabric:
            raise UsageError(f"the backend `mpi` measures real ranks, not {options.fabric}; use --backend sim")
        self._options, self._launcher = options, make_launcher(options.launcher)
        self._choices: Choices | None = None
        self.nranks = options.nranks or default_ranks(options, os.environ)

    def capabilities(self, collective: Collective) -> Capabilities:
        """Return the library's algorithms for a collective, as one rank of it says.

        Raises:
            UsageError: The backend does not run the collective.
            LaunchError: A rank could not be started.
        """
        if collective not in COLLECTIVES:
            raise UsageError(f"the backend `mpi` does not run {collective}; choose from {', '.join(COLLECTIVES)}")
        choices = self._describe()
        return Capabilities(
            library=choices.library,
            nranks=self.nranks,
            nnodes=len(set(self._options.hosts)) or (1 if self._options.launcher == "local" else None),
            cells=choices.cells(collective),
        )

    def points(self, collective: Collective) -> tuple[Point, ...]:
        """Return nothing: any size and type that MPI can sum is taken."""
        return ()

    def environment(self, collective: Collective, cell: Cell) -> dict[str, str]:
        """Return the variables that make a whole program run a collective as a cell does."""
        return cell_environment(self._describe().library, collective, cell)

    def close(self) -> None:
        """Return; nothing is started ahead."""

    def measure(self, launch: Launch) -> Iterator[Measurement]:
        """Start fresh ranks, run the launch's blocks and yield each sample as it comes.

        Raises:
            UsageError: A point's size or type cannot be run.
            LaunchError: The ranks could not be started or died.
        """
        for block in launch.blocks:
            _check(block.point, launch.nranks)
        yield from measurements(self._job(launch), self._launcher, launch, self.name)

    def _describe(self) -> Choices:
        if self._choices is None:
            job = python_job(WORKER, (self.name,), nranks=1, hosts=self._options.hosts[:1], env=MPICH_START)
            request = encode(Request(backend=self.name, launch=None))
            heard = [
                decoded(line) for line in run_ranks(job, self._launcher, request=request, timeout_s=START_TIMEOUT_S)
            ]
            self._choices = next((message.choices for message in heard if isinstance(message, Described)), None)
        if self._choices is None:
            raise LaunchError(
                "a rank ended without saying which MPI library it runs on; try `mpiexec -n 1 python -m "
                "mpi4py --mpi-library`"
            )
        return self._choices

    def _job(self, launch: Launch) -> Job:
        own = dict((*MPICH_START, *OPEN_MPI_START, *giving_way(launch.nranks, self._options.launcher)))
        env = tuple((own | dict(launch.env)).items())
        return python_job(WORKER, (self.name,), nranks=launch.nranks, hosts=self._options.hosts, env=env)


def giving_way(nranks: int, launcher: str) -> tuple[tuple[str, str], ...]:
    """Return what makes waiting ranks give way where there are more of them than cores, unless the user says."""
    # This process wants a core, too.
    crowded = launcher == "local" and nranks >= len(os.sched_getaffinity(0))
    return (_YIELD,) if crowded and _YIELD[0] not in os.environ else ()


def default_ranks(options: BackendOptions, environment: Mapping[str, str]) -> int:
    """Return the number of ranks where the user gives none: a Slurm job's tasks, one a host, or four here."""
    tasks = environment.get("SLURM_NTASKS", "")
    if options.launcher == "srun" and tasks.isdecimal():
        return max(2, int(tasks), len(options.hosts))
    return max(2, len(options.hosts)) if options.hosts else LOCAL_RANKS


def _check(point: Point, nranks: int) -> None:
    if point.dtype not in DTYPES:
        known = "MPI has no such type" if point.dtype in ITEM_BYTES else "it is unknown"
        raise UsageError(f"the backend `mpi` does not run {point.dtype} ({known}); choose from {', '.join(DTYPES)}")
    elements_per_rank(point, nranks)
