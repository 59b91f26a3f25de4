"""What ``watch`` records and says."""

from __future__ import annotations

import enum

from ncclprobe.records.base import Document, Record

CHANGES = ("choice-changed", "level-changed", "node-changed")
"""Codes of the findings that say that something is not as it was before."""


class CheckStatus(enum.StrEnum):
    """How a check ended."""

    DONE = "done"
    FAILED = "failed"


class Check(Record, frozen=True, kw_only=True):
    """One check of a schedule."""

    number: int
    """From 1, earlier processes' checks counted."""
    started: str
    """UTC, ISO 8601."""
    seconds: float
    """Wall time."""
    status: CheckStatus
    """``failed`` where it left no result; the schedule goes on."""
    exit_status: int
    """The command's; negative where a signal ended it."""
    path: str
    """Its run directory, relative to the watch's."""
    message: str
    """Its answer, or why it failed: a sentence for people."""


class WatchDocument(Document, frozen=True, kw_only=True):
    """``ncclprobe.watch/1``."""

    schema: str = "ncclprobe.watch/1"
    check: str
    """The command that is repeated: ``sweep``."""
    arguments: tuple[str, ...]
    """Its arguments."""
    every_s: float
    """From the start of one check to that of the next."""
    checks: tuple[Check, ...]
    """In order of time; the findings are those of the last good one, and what changed in the history."""
