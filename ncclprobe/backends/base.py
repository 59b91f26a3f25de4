"""The seam between a sweep and what runs its collectives."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Protocol

from ncclprobe.findings import Finding
from ncclprobe.names import Collective
from ncclprobe.records.base import Record
from ncclprobe.records.sweep import Cell, Launch, Measurement, Point


class GpuOptions(Record, frozen=True, kw_only=True):
    """How the backend ``nccl`` measures; the others take the defaults alone."""

    mode: str = "auto"
    """``graph`` replays captured operations, ``eager`` enqueues each; ``auto`` captures up to a size."""
    in_place: bool = False
    """Whether operations read and write the same buffer."""
    memory: str = "cuda"
    """``cuda`` takes buffers from cudaMalloc, as PyTorch does; ``nccl`` from ncclMemAlloc, as nccl-tests does."""


class BackendOptions(Record, frozen=True, kw_only=True):
    """What a backend is made from."""

    nranks: int | None = None
    """Ranks to start; None takes the backend's own default."""
    fabric: pathlib.Path | None = None
    """Description of a simulated fabric."""
    launcher: str = "local"
    """Which launcher starts the ranks."""
    hosts: tuple[str, ...] = ()
    """Hosts to start ranks on; empty for this one."""
    seed: int = 0
    """A simulator's draws depend on it."""
    channels: tuple[int, ...] = ()
    """Numbers of channels that are asked for; a backend that takes any offers these beside the library's own."""
    gpu: GpuOptions = GpuOptions()
    """How GPUs are measured."""
    ahead: bool = False
    """Whether the next launch's processes may be started while one is measured; ``close`` is called in the end."""


class Capabilities(Record, frozen=True, kw_only=True):
    """What a backend can run."""

    library: str
    """With its version."""
    nranks: int
    """Of the communicator that a launch makes."""
    nnodes: int | None
    """Hosts, None where not known before the launch."""
    cells: tuple[Cell, ...]
    """Every cell it has for the collective, the default not among them."""
    findings: tuple[Finding, ...] = ()
    """What is worth knowing before anything is measured."""


class Backend(Protocol):
    """Runs launches. ``simulated`` is a user's option; ``mpi`` and ``nccl`` start real ranks."""

    name: str

    def capabilities(self, collective: Collective) -> Capabilities:
        """Return what can be run.

        Raises:
            UsageError: The backend does not have the collective.
        """
        ...

    def points(self, collective: Collective) -> tuple[Point, ...]:
        """Return the only points that it has for a collective; empty where it takes any size and type."""
        ...

    def environment(self, collective: Collective, cell: Cell) -> dict[str, str]:
        """Return the variables that make every operation of a collective run with a cell.

        Empty where no variable can say it, or none safely; a per-size table can still.
        """
        ...

    def measure(self, launch: Launch) -> Iterator[Measurement]:
        """Start fresh ranks, run the launch's blocks and yield the samples as they come, warm-ups too.

        A cell that is refused, sums wrongly or hangs is yielded with that status and not run again in this launch.
        After a hang the ranks are gone: the iterator ends, and the caller launches what is left anew.

        Raises:
            LaunchError: The ranks could not be started or died.
        """
        ...

    def close(self) -> None:
        """End what was started ahead; nothing is measured afterwards."""
        ...
