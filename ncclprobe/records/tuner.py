"""What NCCL asks a tuner, and what it was left with."""

from __future__ import annotations

import enum

from ncclprobe.names import Collective
from ncclprobe.records.base import Record

TUNED_COLLECTIVES = (
    Collective.BROADCAST, Collective.REDUCE, Collective.ALL_GATHER, Collective.REDUCE_SCATTER, Collective.ALL_REDUCE,
)  # fmt: skip
"""Those that NCCL asks a tuner about; the order is ``ncclFunc_t``'s."""


class AnswerSource(enum.StrEnum):
    """Where an answer came from; the order is plugin.h's."""

    LEFT_ALONE = "left-alone"
    FORCED = "forced"
    TABLE = "table"


class Refusal(enum.StrEnum):
    """Why a wish was not granted, so that NCCL's own choice stood; the order is plugin.h's, from 1."""

    UNAVAILABLE = "unavailable"
    """NCCL has no such entry for this operation on this communicator."""
    UNCHECKED = "unchecked"
    """NCCL would take it without checking that it is safe: LL128 up to NCCL 2.21, channels with CollNet."""
    HALF_A_CHOICE = "half-a-choice"
    """An algorithm without a protocol, or the reverse, which NCCL up to 2.21 cannot be told."""


class Answer(Record, frozen=True, kw_only=True):
    """One question of NCCL, and what it was left with."""

    number: int
    """Counted from 1 in this process."""
    generation: int
    """Of the wish that was in force; a force returned it."""
    comm_id: int
    """Alike on all ranks of a communicator; 0 up to NCCL 2.27."""
    size_bytes: int
    """Of the larger buffer; of the whole group where operations are grouped."""
    api: int
    """Version of the tuner interface, 2 to 6."""
    collective: Collective | None
    """None for one that this version does not know."""
    nranks: int
    """Of the communicator."""
    nnodes: int
    """Of the communicator."""
    num_pipe_ops: int
    """Operations in the group."""
    reg_buff: bool | None
    """Whether the user's buffers are registered; None up to NCCL 2.23."""
    source: AnswerSource
    """Where the wish came from."""
    refused: Refusal | None
    """Why it was not granted; None where it was, or where there was none."""
    algo: str | None
    """What NCCL takes: the wish, else its own cheapest. None where unknown (NCCL up to 2.21 left alone)."""
    proto: str | None
    """Likewise."""
    nchannels: int | None
    """What NCCL was told, an upper bound; None where that was left to it."""


class PluginState(Record, frozen=True, kw_only=True):
    """How the plugin in this process stands."""

    generation: int
    """Of the wish in force; rises with each change of it."""
    asked: int
    """Questions so far: the last answer's number."""
    opened: int
    """Communicators that NCCL has initialised with it; 0 after one was made means that NCCL did not load it."""
    closed: int
    """Communicators that are gone."""
    table_rows: int | None
    """Rows of the table in force, None where there is none."""
    recording: bool
    """Whether a record file is written."""


class RecordedAnswer(Record, frozen=True, kw_only=True):
    """One distinct question and answer, and how often it was seen."""

    count: int
    """Questions."""
    operations: int
    """Operations in them: several where NCCL groups them into one question."""
    collective: Collective | None
    """None for one that this version does not know."""
    size_bytes: int
    """Of the larger buffer; of the whole group where operations are grouped."""
    nranks: int
    """Of the communicator."""
    nnodes: int
    """Of the communicator."""
    source: AnswerSource
    """Where the wish came from."""
    refused: Refusal | None
    """Why it was not granted; None where it was, or where there was none."""
    algo: str | None
    """What NCCL takes; None where unknown."""
    proto: str | None
    """Likewise."""
    nchannels: int | None
    """What NCCL was told, an upper bound; None where that was left to it."""
    api: int
    """Version of the tuner interface, 2 to 6."""


class Recorded(Record, frozen=True, kw_only=True):
    """What the plugin recorded in one process."""

    source: str
    """The file as it was named."""
    host: str
    """Where the process ran."""
    pid: int
    """Its number there."""
    started: str
    """UTC, ISO 8601."""
    asked: int
    """Questions in all."""
    overflow: int
    """Those among them that found no room in the file."""
    answers: tuple[RecordedAnswer, ...]
    """The most frequent first."""
