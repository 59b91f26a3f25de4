"""What ``profile`` reads: a workload's messages, one rank's. None for what no source says."""

from __future__ import annotations

import enum

from ncclprobe.records.base import Document, Record


class Basis(enum.StrEnum):
    """Where a count comes from."""

    MEASURED = "measured"
    INFERRED = "inferred"


class ProfileKind(enum.StrEnum):
    """What a file was recognised as; where several tell of messages, the first of this list is believed."""

    PROFILE = "profile"
    NCCL_LOG = "nccl-log"
    NCCL_PROFILER = "nccl-profiler"
    TUNER_RECORD = "tuner-record"
    NCCL_INSPECTOR = "nccl-inspector"
    NCCL_TUNING = "nccl-tuning"
    SGLANG = "sglang"
    NSYS = "nsys"


class Message(Record, frozen=True, kw_only=True):
    """Operations of one collective, type and size."""

    collective: str
    """In ncclprobe's spelling; NCCL's own word in small letters for what is none, such as ``gather``."""
    dtype: str | None = None
    """``bfloat16``; None where the source doesn't say."""
    size_bytes: int
    """As nccl-tests counts: of the whole buffer where ranks share it."""
    count: int
    """How often it ran, on one rank."""
    basis: Basis = Basis.MEASURED
    """``inferred`` where operations seen at a graph's capture were multiplied by its replays."""
    seen: int
    """Operations that the source shows; the count itself where it is measured."""
    nranks: int | None = None
    """Of the communicator."""


class CommKernel(Record, frozen=True, kw_only=True):
    """What ran, by collective and setting."""

    collective: str
    """In ncclprobe's spelling."""
    algo: str | None = None
    """NCCL's spelling; None where the source doesn't prove it, as a kernel's name rarely does."""
    proto: str | None = None
    """Likewise."""
    dtype: str | None = None
    """``bfloat16``; None for kernels that copy without looking at the type."""
    time_us: float | None = None
    """Of all of them; None where the source has no times."""
    count: int
    """Kernels, or operations where the source tells of these."""
    name: str | None = None
    """Of the kernel, without its arguments."""
    source: str
    """The file."""


class ProfileSource(Record, frozen=True, kw_only=True):
    """One file, or the files of one kind that are a run's ranks."""

    source: str
    """As it was named; the first of several."""
    files: int = 1
    """How many."""
    kind: ProfileKind
    """What it is."""
    operations: int = 0
    """Of all ranks; kernels for nsys."""
    ranks: int = 0
    """How many told of operations; devices for nsys."""
    rank: str | None = None
    """The one whose operations are the profile: ``host:pid[device]``, the most bytes of all."""
    alike: bool | None = None
    """Whether all ranks had the same operations; None with fewer than two."""
    used: bool = False
    """Whether the profile's messages are this one's."""


class ProfileDocument(Document, frozen=True, kw_only=True):
    """``ncclprobe.profile/1``."""

    schema: str = "ncclprobe.profile/1"
    sources: tuple[ProfileSource, ...] = ()
    """What was read."""
    rank: str | None = None
    """Whose messages these are."""
    messages: tuple[Message, ...] = ()
    """The most bytes first."""
    kernels: tuple[CommKernel, ...] = ()
    """The most time, then the most operations first; of every source that has them, so not to be added up."""
    comm_share: float | None = None
    """NCCL's kernels' share of all kernels' time, 0 to 1."""
    steps: int | None = None
    """Decode steps that the messages belong to; None where the source doesn't say."""
