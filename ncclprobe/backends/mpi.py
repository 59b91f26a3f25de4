"""The ``mpi`` backend: real collectives between real ranks in host memory, with the MPI library's own algorithms."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import msgspec

from ncclprobe.backends.base import BackendOptions, Capabilities
from ncclprobe.backends.geometry import ITEM_BYTES, elements_per_rank
from ncclprobe.backends.messages import Begun, Described, Measured, Message, Request, Timed, decode, encode
from ncclprobe.backends.mpi_names import MPICH_START, OPEN_MPI_START, Choices, cell_environment
from ncclprobe.errors import BackendError, LaunchError, MeasurementTimeout, UsageError
from ncclprobe.launchers import make_launcher
from ncclprobe.launchers.base import Job, python_job
from ncclprobe.launchers.run import START_TIMEOUT_S, run_ranks
from ncclprobe.names import Collective
from ncclprobe.records.sweep import Cell, Launch, Measurement, Point, Status
from ncclprobe.units import format_seconds, format_size

WORKER = "ncclprobe.sweep.worker"
"""The module that each rank runs."""
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

    def measure(self, launch: Launch) -> Iterator[Measurement]:
        """Start fresh ranks, run the launch's blocks and yield each sample as it comes.

        Raises:
            UsageError: A point's size or type cannot be run.
            LaunchError: The ranks could not be started or died.
        """
        for block in launch.blocks:
            _check(block.point, launch.nranks)
        watch = _Watch(launch)
        request = encode(Request(backend=self.name, launch=launch))
        try:
            for line in run_ranks(self._job(launch), self._launcher, request=request, timeout_s=watch.limit_s):
                if (measurement := watch.hear(_decode(line))) is not None:
                    yield measurement
        except MeasurementTimeout as problem:
            yield watch.timed_out(problem)
        except LaunchError as problem:
            raise LaunchError(f"{problem}\n{watch.where}") from problem

    def _describe(self) -> Choices:
        if self._choices is None:
            job = python_job(WORKER, nranks=1, hosts=self._options.hosts[:1], env=MPICH_START)
            request = encode(Request(backend=self.name, launch=None))
            heard = [
                _decode(line) for line in run_ranks(job, self._launcher, request=request, timeout_s=START_TIMEOUT_S)
            ]
            self._choices = next((message.choices for message in heard if isinstance(message, Described)), None)
        if self._choices is None:
            raise LaunchError(
                "a rank ended without saying which MPI library it runs on; try `mpiexec -n 1 python -m "
                "mpi4py --mpi-library`"
            )
        return self._choices

    def _job(self, launch: Launch) -> Job:
        own = dict((*MPICH_START, *OPEN_MPI_START, *self._yield(launch.nranks)))
        return python_job(
            WORKER, nranks=launch.nranks, hosts=self._options.hosts, env=tuple((own | dict(launch.env)).items())
        )

    def _yield(self, nranks: int) -> tuple[tuple[str, str], ...]:
        """Return what makes waiting ranks give way where there are more of them than cores, unless the user says."""
        # This process wants a core, too.
        crowded = self._options.launcher == "local" and nranks >= len(os.sched_getaffinity(0))
        return (_YIELD,) if crowded and _YIELD[0] not in os.environ else ()


def default_ranks(options: BackendOptions, environment: Mapping[str, str]) -> int:
    """Return the number of ranks where the user gives none: the allocation's, one a host, or four on this machine."""
    tasks = environment.get("SLURM_NTASKS", "")
    if options.launcher == "srun" and tasks.isdecimal():
        return max(2, int(tasks))
    return max(2, len(options.hosts)) if options.hosts else LOCAL_RANKS


def _check(point: Point, nranks: int) -> None:
    if point.dtype not in DTYPES:
        known = "MPI has no such type" if point.dtype in ITEM_BYTES else "it is unknown"
        raise UsageError(f"the backend `mpi` does not run {point.dtype} ({known}); choose from {', '.join(DTYPES)}")
    elements_per_rank(point, nranks)


def _decode(line: bytes) -> Message:
    try:
        return decode(line)
    except msgspec.DecodeError as problem:
        raise BackendError(
            f"rank 0 sent what is no message ({problem}): {line[:200]!r}; is another ncclprobe on the ranks' path?"
        ) from problem


class _Watch:
    """Knows which sample is in flight."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._begun: Begun | None = None

    def limit_s(self) -> float:
        """Return how long silence may last: for a sample the launch's timeout, for preparations more."""
        return self._launch.timeout_s if self._begun else max(self._launch.timeout_s, START_TIMEOUT_S)

    def hear(self, message: Message) -> Measurement | None:
        """Take in a message and return the measurement in it."""
        if isinstance(message, Begun):
            self._begun = message
        elif isinstance(message, Measured):
            self._begun = None
            return message.measurement
        elif not isinstance(message, Timed):
            raise BackendError("rank 0 answered a question that was not asked")
        return None

    def timed_out(self, problem: MeasurementTimeout) -> Measurement:
        """Return the measurement of the sample that hangs.

        Raises:
            LaunchError: None was in flight.
        """
        if self._begun is None:
            raise LaunchError(f"{problem}\n{self.where}") from problem
        return Measurement(
            launch=self._launch.index,
            point=self._begun.point,
            block=self._begun.block,
            cells=(self._begun.cell,),
            times_us=(None,),
            statuses=(Status.TIMEOUT,),
            wrong=(0,),
            spent_s=self._launch.timeout_s,
            warmup=self._begun.warmup,
            message=f"no end after {format_seconds(self._launch.timeout_s)}; the ranks were ended",
        )

    @property
    def where(self) -> str:
        """Return what was in flight, for a message."""
        if self._begun is None:
            return f"No sample of launch {self._launch.index} was in flight."
        point, cell = self._begun.point, self._begun.cell
        place = f"{point.collective} {point.dtype} {format_size(point.size_bytes)}"
        return f"In flight was {cell.label} at {place}; leave it out, or measure again."
