"""What all records and documents share."""

from __future__ import annotations

import datetime
from typing import Any, Self

import msgspec

from ncclprobe import __version__
from ncclprobe.findings import Finding


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """An immutable record; unknown fields of newer files are ignored when read."""

    def with_(self, **changes: Any) -> Self:
        """Return a copy with some fields changed."""
        return msgspec.structs.replace(self, **changes)


def now() -> str:
    """Return the UTC time as ISO 8601 with seconds: ``2026-11-22T02:11:00Z``."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Document(Record, frozen=True, kw_only=True):
    """What every command's ``--json`` prints: one of these."""

    schema: str
    """``ncclprobe.<command>/<version>``."""
    version: str = __version__
    """Of ncclprobe."""
    created: str = msgspec.field(default_factory=now)
    """UTC, ISO 8601."""
    findings: tuple[Finding, ...] = ()
    """What is worth knowing beyond the figures; an error-level one makes the exit status 3."""


class EnvVariable(Record, frozen=True, kw_only=True):
    """An environment variable that is recommended or was seen."""

    name: str
    """Such as ``NCCL_IB_HCA``."""
    value: str
    """As it is to be set; never quoted."""
    reason: str
    """Why, in a sentence for people."""


class Interval(Record, frozen=True, kw_only=True):
    """An estimate and the interval that holds it."""

    estimate: float
    """The best single value."""
    low: float
    """Lower end."""
    high: float
    """Upper end."""
