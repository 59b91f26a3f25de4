"""What a backend asks its ranks, and what they say while they work."""

from __future__ import annotations

import msgspec

from ncclprobe.backends.mpi_names import Choices
from ncclprobe.records.base import Record
from ncclprobe.records.sweep import Cell, Launch, Measurement, Point


class Request(Record, frozen=True, kw_only=True):
    """What ranks are to do."""

    backend: str
    """Name of the rank side: ``mpi``."""
    launch: Launch | None
    """What to measure; None asks for the library's choices."""


class Begun(Record, tag="begun", frozen=True, kw_only=True):
    """A sample is about to run; if nothing more is heard, it hangs."""

    point: Point
    """Where."""
    cell: Cell
    """With what."""
    block: int
    """As in the measurement."""
    warmup: bool
    """As in the measurement."""


class Timed(Record, tag="timed", frozen=True, kw_only=True):
    """The sample that was begun has run; its data are being checked."""


class Measured(Record, tag="measured", frozen=True, kw_only=True):
    """The sample that was begun is done."""

    measurement: Measurement
    """The sample."""


class Described(Record, tag="described", frozen=True, kw_only=True):
    """What was asked for without a launch."""

    choices: Choices
    """The library's."""


Message = Begun | Timed | Measured | Described
_DECODER: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)


def encode(message: Message | Request) -> bytes:
    """Return a message as one line of JSON."""
    return msgspec.json.encode(message)


def decode(line: bytes) -> Message:
    """Return the message in a line.

    Raises:
        msgspec.DecodeError: It is none, or of another version.
    """
    return _DECODER.decode(line)
