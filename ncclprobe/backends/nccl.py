"""The ``nccl`` backend: real collectives between real GPUs, one process each, with cells switched live.

Ranks need no MPI: the local launcher starts plain processes, and those of mpirun, srun and PBS meet in the same way
(``launchers.gang``). What a GPU user has from pip alone is then enough.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator, Mapping

from ncclprobe.backends.base import BackendOptions, Capabilities
from ncclprobe.backends.geometry import elements_per_rank
from ncclprobe.backends.messages import Described, Request, encode
from ncclprobe.backends.mpi_names import Choices
from ncclprobe.backends.nccl_crew import Crew
from ncclprobe.backends.nccl_library import Nccl, gpu_count
from ncclprobe.backends.nccl_names import COLLECTIVES, DTYPES, FP8_SINCE, cell_environment, cells, version_number
from ncclprobe.backends.nccl_settings import NODES_VARIABLE, RankSettings, passed_on
from ncclprobe.backends.watch import WORKER, decoded
from ncclprobe.errors import LaunchError, UsageError
from ncclprobe.findings import Finding, info, warning
from ncclprobe.launchers import make_launcher
from ncclprobe.launchers.base import Job, Launcher, python_job
from ncclprobe.launchers.gang import Meeting
from ncclprobe.launchers.run import START_TIMEOUT_S, run_ranks
from ncclprobe.launchers.spawn import SpawnLauncher
from ncclprobe.names import Collective
from ncclprobe.records.sweep import Cell, Launch, Measurement, Point
from ncclprobe.tuner.build import plugin_path

AHEAD_CORES = 4
"""Cores a rank from which on the next launch's processes are started ahead."""
TUNER_VARIABLE = "NCCL_TUNER_PLUGIN"
FOREIGN_TUNERS = {"ofi": "AWS OFI NCCL", "gcp": "Google's", "gib": "Google's", "tcpx": "Google's"}
"""Word in a plugin's name -> whose it is. Source: NCCL 2.28.9, docs env.rst; the plugins' own READMEs."""


class NcclBackend:
    """Starts a rank a GPU."""

    name = "nccl"

    def __init__(self, options: BackendOptions) -> None:
        if options.fabric:
            raise UsageError(f"the backend `nccl` measures real GPUs, not {options.fabric}; use --backend sim")
        self._options = options
        self._launcher: Launcher = SpawnLauncher() if options.launcher == "local" else make_launcher(options.launcher)
        self._choices: Choices | None = None
        self._plugin: str | None = None
        self._spare: Crew | None = None

    def capabilities(self, collective: Collective) -> Capabilities:
        """Return NCCL's cells for a collective.

        Raises:
            UsageError: The backend does not run the collective, or not in place, or there are too few GPUs.
            MissingDependencyError: NCCL, its binding or a compiler for the tuner plugin is absent.
        """
        if collective not in COLLECTIVES:
            raise UsageError(f"the backend `nccl` does not run {collective}; choose from {', '.join(COLLECTIVES)}")
        if self._options.gpu.in_place and collective in (Collective.ALLTOALL, Collective.SENDRECV):
            raise UsageError(f"NCCL has no {collective} in place; leave --in-place away")
        choices = self._describe()
        nranks = self._options.nranks or default_ranks(self._options, choices.ngpus or 0, os.environ)
        found = cells(collective, version_number(choices.library), os.environ, self._options.channels)
        return Capabilities(
            library=choices.library,
            nranks=nranks,
            nnodes=self._nnodes(nranks),
            cells=found,
            findings=tuple(doubts(os.environ, nranks, choices.ngpus or 0, self._options)),
        )

    def points(self, collective: Collective) -> tuple[Point, ...]:
        """Return nothing: any size and type that NCCL takes can be asked for."""
        return ()

    def environment(self, collective: Collective, cell: Cell) -> dict[str, str]:
        """Return the variables that make a whole program run a collective as a cell does."""
        return cell_environment(collective, cell)

    def measure(self, launch: Launch) -> Iterator[Measurement]:
        """Start fresh ranks, run the launch's blocks and yield each sample as it comes.

        Raises:
            UsageError: A point's size or type cannot be run.
            LaunchError: The ranks could not be started or died.
        """
        version = version_number(self._describe().library)
        for block in launch.blocks:
            check(block.point, launch.nranks, version)
        crew, self._spare = self._crew(launch), None
        with crew:
            for number, measurement in enumerate(crew.measurements(launch)):
                if number == 0 and self._starts_ahead(launch):
                    self._spare = Crew.ahead(self._job(launch), self._launcher, here=True)
                yield measurement

    def close(self) -> None:
        """End the ranks that were started ahead for a launch that never came."""
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.end()

    def _nnodes(self, nranks: int) -> int | None:
        if self._options.launcher != "local":
            return len(set(self._options.hosts)) or None
        return int(os.environ.get(NODES_VARIABLE, "0") or 0) or (nranks if nranks > gpu_count() else 1)

    def _describe(self) -> Choices:
        """Return which NCCL there is and how many GPUs a host has: here, or as a rank elsewhere says."""
        if self._choices is None:
            here = self._options.launcher == "local"
            self._choices = Choices(library=Nccl().name, algorithms={}, ngpus=gpu_count()) if here else self._asked()
        return self._choices

    def _asked(self) -> Choices:
        settings = RankSettings(timeout_s=START_TIMEOUT_S, plugin="")
        request = encode(Request(backend=self.name, launch=None))
        with Meeting(1, here=False, hosts=self._options.hosts[:1]) as meeting:
            env = tuple(passed_on(os.environ).items())
            job = python_job(WORKER, (self.name, settings.text()), nranks=1, hosts=self._options.hosts[:1], env=env)
            job = job.with_(inherited=meeting.environment)
            heard = [
                decoded(line) for line in run_ranks(job, self._launcher, request=request, timeout_s=START_TIMEOUT_S)
            ]
        for message in heard:
            if isinstance(message, Described):
                return message.choices
        raise LaunchError("a rank ended without saying which NCCL it has; run `ncclprobe scan` on its host")

    def _crew(self, launch: Launch) -> Crew:
        """Return ranks for a launch: those that were started ahead, where they fit and have not waited too long."""
        spare, self._spare = self._spare, None
        if spare is not None and spare.fits(self._job(launch)):
            return spare
        if spare is not None:
            spare.end()
        return self._new_crew(launch)

    def _starts_ahead(self, launch: Launch) -> bool:
        """Return whether the next launch's ranks import their libraries now: only where that takes no rank's core."""
        cores = len(os.sched_getaffinity(0))
        return self._options.ahead and self._options.launcher == "local" and cores >= AHEAD_CORES * launch.nranks

    def _new_crew(self, launch: Launch) -> Crew:
        return Crew(self._job(launch), self._launcher, here=self._options.launcher == "local")

    def _job(self, launch: Launch) -> Job:
        cells = [cell for block in launch.blocks for cell in block.cells]
        settings = RankSettings(
            timeout_s=launch.timeout_s,
            plugin=self._built(),
            most_channels=max([*self._options.channels, *(cell.nchannels or 0 for cell in cells)], default=0),
            gpu=self._options.gpu,
        )
        own = passed_on(os.environ) | dict(launch.env) | {TUNER_VARIABLE: settings.plugin}
        return python_job(
            WORKER,
            (self.name, settings.text()),
            nranks=launch.nranks,
            hosts=self._options.hosts,
            env=tuple(own.items()),
        )

    def _built(self) -> str:
        if self._plugin is None:
            self._plugin = str(plugin_path())
        return self._plugin


def default_ranks(options: BackendOptions, ngpus: int, environment: Mapping[str, str]) -> int:
    """Return the number of ranks where the user gives none: one a GPU, or where hosts are unknown a Slurm job's tasks.

    Raises:
        UsageError: There are fewer than two GPUs.
    """
    tasks = environment.get("SLURM_NTASKS", "")
    if options.launcher == "srun" and not options.hosts and tasks.isdecimal():
        return int(tasks)
    nranks = ngpus * max(1, len(options.hosts))
    if nranks == 1:
        raise UsageError(
            "a collective needs two GPUs, and there is one; --nranks 2 tries everything out on it, no more"
        )
    if nranks == 0:
        raise UsageError("a collective needs two GPUs, and there is none; check nvidia-smi and CUDA_VISIBLE_DEVICES")
    return nranks


def check(point: Point, nranks: int, version: int) -> None:
    """Refuse what NCCL cannot run.

    Raises:
        UsageError: The point's type is unknown to this NCCL or its size holds no element for each rank.
    """
    if point.dtype not in DTYPES:
        raise UsageError(f"the backend `nccl` does not run {point.dtype}; choose from {', '.join(DTYPES)}")
    if point.dtype.startswith("float8") and version < FP8_SINCE:
        raise UsageError(f"NCCL sums {point.dtype} from its version 2.24 on; choose float32, float16 or bfloat16")
    elements_per_rank(point, nranks)


def doubts(environment: Mapping[str, str], nranks: int, ngpus: int, options: BackendOptions) -> Iterator[Finding]:
    """Yield what is worth knowing before anything is measured.

    Args:
        environment: Of this process.
        nranks: Ranks that are going to be started.
        ngpus: GPUs of a host.
        options: Where they are started, and how they measure.
    """
    yield from _foreign_tuner(environment)
    yield from _masked(environment)
    nodes = environment.get(NODES_VARIABLE, "")
    if ngpus and nranks > ngpus * max(1, len(options.hosts)) and options.launcher == "local":
        yield warning(
            "functional-only",
            "nccl",
            f"{nranks} ranks share {ngpus} GPU{'s' * (ngpus > 1)}, as nodes of their own that talk through sockets",
            "It shows that everything works; the figures mean nothing. Give each rank a GPU to measure.",
        )
    elif nodes:
        yield info(
            "pretended-nodes",
            NODES_VARIABLE,
            f"the ranks of this host look like {nodes} nodes to NCCL and talk through sockets",
            "The choice holds for such nodes alone; unset the variable to measure this host.",
        )


def _foreign_tuner(environment: Mapping[str, str]) -> Iterator[Finding]:
    for name in (TUNER_VARIABLE, "NCCL_NET_PLUGIN"):
        value = environment.get(name, "")
        whose = next((who for word, who in FOREIGN_TUNERS.items() if word in pathlib.Path(value).name.lower()), None)
        if not value or value == "none" or (whose is None and name != TUNER_VARIABLE):
            continue
        yield warning(
            "tuner-plugin-replaced",
            name,
            f"{name}={value} brings {whose or 'a'} tuner plugin, and NCCL loads one only: the ranks of this sweep load"
            " ncclprobe's instead",
            "Here `default` is NCCL's own choice without that plugin. A table would replace it in jobs as well: compare"
            " both with `ncclprobe validate-e2e` before changing anything.",
        )


def _masked(environment: Mapping[str, str]) -> Iterator[Finding]:
    for name in ("NCCL_ALGO", "NCCL_PROTO"):
        if value := environment.get(name, ""):
            yield warning(
                "choice-masked",
                name,
                f"{name}={value} is set, so NCCL offers the sweep nothing else, and `default` is not its default",
                f"Unset {name} to compare with NCCL's own choice.",
            )
