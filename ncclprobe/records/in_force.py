"""What was in force while a workload ran, as NCCL's log, the tuner plugin's record and the processes show it."""

from __future__ import annotations

import enum

from ncclprobe.records.base import Record
from ncclprobe.records.inspect import LogHca, Plugin


class Change(enum.StrEnum):
    """What became of a variable on its way to NCCL."""

    CHANGED = "changed"
    """It has another value."""
    DROPPED = "dropped"
    """It is not set."""
    ADDED = "added"
    """Nobody asked for it: the workload, the launcher or an nccl.conf set it."""


class Variable(Record, frozen=True, kw_only=True):
    """A variable that processes saw otherwise than it was set."""

    name: str
    """Such as ``NCCL_CUMEM_ENABLE``."""
    change: Change
    """How."""
    wanted: str | None
    """What the workload was started with; None for nothing."""
    seen: str | None
    """What NCCL's log, or else the process's environment, shows; None for nothing."""
    processes: int
    """How many saw it so."""


class Span(Record, frozen=True, kw_only=True):
    """Sizes of a collective that ran alike."""

    collective: str | None
    """In ncclprobe's spelling; None where the log names none."""
    min_bytes: int
    """The smallest that was seen."""
    max_bytes: int
    """The largest that was seen."""
    sizes: int
    """Distinct ones."""
    algo: str | None
    """NCCL's spelling; None where the record does not know it."""
    proto: str | None
    """NCCL's spelling; likewise."""
    nchannels: int | None
    """Used, as the log says, or allowed at most, as the record says; None where that is not said."""
    operations: int
    """How many; with CUDA graphs those that were captured, not those that were replayed."""


class Traffic(Record, frozen=True, kw_only=True):
    """The all-reduces that a tensor-parallel model needs, among those that NCCL saw."""

    token_bytes: int | None
    """What one token takes; None where the model's config.json is not at hand."""
    up_to_bytes: int
    """The largest message that counts here."""
    expected: int
    """All-reduces of a single forward pass, the least that NCCL must have seen."""
    seen: int
    """All-reduces of whole tokens up to that size."""


class Process(Record, frozen=True, kw_only=True):
    """A process that had libnccl loaded, as /proc showed it."""

    pid: int
    """Its number on this host."""
    library: str
    """libnccl's path, which in a container is the container's."""
    env: dict[str, str] | None
    """What it was started with, variables that matter alone; None where that was overwritten or cannot be read."""


class InForce(Record, frozen=True, kw_only=True):
    """What a trial ran with."""

    logs: int
    """NCCL's log files: one a process that used NCCL."""
    version: str | None = None
    """Of NCCL."""
    libraries: tuple[str, ...] = ()
    """Paths of libnccl in the processes on this host."""
    nranks: int | None = None
    """Of the largest communicator."""
    nnodes: int | None = None
    """None where the log does not say."""
    plugins: tuple[Plugin, ...] = ()
    """That NCCL looked for."""
    hcas: tuple[LogHca, ...] = ()
    """That NCCL used."""
    gdr: bool | None = None
    """GPUDirect RDMA in use on every rank; None without connections over the network."""
    transports: dict[str, int] = {}
    """NCCL's words and how many connections."""
    source: str | None = None
    """Where the spans come from: ``nccl-log`` or ``tuner-record``; None where neither shows any choice."""
    spans: tuple[Span, ...] = ()
    """Algorithm and protocol by size."""
    recorded: int = 0
    """Processes in which our tuner plugin counted."""
    tabled: int = 0
    """Operations on one rank whose setting came from the plugin's table."""
    refused: int = 0
    """Operations on one rank whose setting NCCL cannot run, so that its own choice stood."""
    variables: tuple[Variable, ...] = ()
    """Those that were changed, dropped or added."""
    traffic: Traffic | None = None
    """None where no all-reduces are expected, or where nothing shows what NCCL saw."""
    errors: tuple[str, ...] = ()
    """What NCCL says that failed."""
