"""What the process that judges asks the ranks of a fleet, and what rank 0 answers."""

from __future__ import annotations

import msgspec

from ncclprobe.backends.fleet import Outcome, OwnCheck
from ncclprobe.errors import BackendError
from ncclprobe.records.base import Record


class FleetSettings(Record, frozen=True, kw_only=True):
    """The worker's second argument, as JSON."""

    size_bytes: int
    """Of the all-reduce that groups run."""
    window_s: float
    """A group takes samples for so long, three at least."""
    timeout_s: float
    """A group that takes longer in all is given up."""
    patience_s: float
    """A rank that hears nothing for so long ends itself: its host may be cut off."""

    def text(self) -> str:
        """Return the argument."""
        return msgspec.json.encode(self).decode()


class Measure(Record, tag="measure", frozen=True, kw_only=True):
    """Run the all-reduce in disjoint groups of ranks at the same time; answered by a ``Grouped`` each and ``Done``."""

    groups: tuple[tuple[int, ...], ...]
    """Ranks, ascending."""


class CheckInside(Record, tag="check", frozen=True, kw_only=True):
    """Run each node's own checks; answered by a ``Checked`` a rank and ``Done``."""

    groups: tuple[tuple[int, ...], ...]
    """The ranks of each node that has several: they run the all-reduce among themselves, too."""


class Wait(Record, tag="wait", frozen=True, kw_only=True):
    """Nothing to do yet: rank 0 tells the others that it is still there."""


class Stop(Record, tag="stop", frozen=True, kw_only=True):
    """End."""


class Ready(Record, tag="ready", frozen=True, kw_only=True):
    """The ranks have met."""

    names: tuple[str, ...]
    """The node of each rank, as the scheduler or itself calls it."""
    library: str
    """What runs the all-reduce."""


class Grouped(Record, tag="grouped", frozen=True, kw_only=True):
    """What a group of ranks measured."""

    group: int
    """Its place in the request."""
    seconds: float
    """In all, connecting and warming up included."""
    outcome: Outcome
    """Its samples, or why there are none."""


class Checked(Record, tag="checked", frozen=True, kw_only=True):
    """What a rank's checks gave."""

    rank: int
    """Which."""
    values: tuple[OwnCheck, ...]
    """Those that could be measured."""
    wrong: tuple[int, ...] = ()
    """Of the group that this rank is the first of, as in ``Outcome``."""


class Done(Record, tag="done", frozen=True, kw_only=True):
    """All that will come has come."""


class Answered(Record, tag="answered", frozen=True, kw_only=True):
    """A host answers."""

    name: str
    """As the scheduler or itself calls it."""
    ngpus: int
    """GPUs that NCCL could be run on: 0 without a driver or the libraries."""


Request = Measure | CheckInside | Wait | Stop
Answer = Ready | Grouped | Checked | Done | Answered
_REQUESTS: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_ANSWERS: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)


def encode(message: Record) -> bytes:
    """Return a message as one line of JSON."""
    return msgspec.json.encode(message)


def request_in(line: bytes) -> Request:
    """Return the request in a line.

    Raises:
        msgspec.DecodeError: There is none.
    """
    return _REQUESTS.decode(line)


def answer_in(line: bytes) -> Answer:
    """Return the answer in a line that rank 0 sent.

    Raises:
        BackendError: There is none.
    """
    try:
        return _ANSWERS.decode(line)
    except msgspec.DecodeError as problem:
        raise BackendError(
            f"rank 0 sent what is no answer ({problem}): {line[:200]!r}; is another ncclprobe on the hosts' path?"
        ) from problem
