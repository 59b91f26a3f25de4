"""What ``report`` says of runs."""

from __future__ import annotations

from ncclprobe.records.base import Document, Record


class Reported(Record, frozen=True, kw_only=True):
    """One run."""

    source: str
    """The run directory or file, as it was named."""
    schema: str
    """Of its document: ``ncclprobe.sweep/1``."""
    version: str
    """Of the ncclprobe that wrote it."""
    created: str
    """When, UTC."""
    verdict: str
    """Its answer, in a sentence."""


class ReportDocument(Document, frozen=True, kw_only=True):
    """``ncclprobe.report/1``."""

    schema: str = "ncclprobe.report/1"
    runs: tuple[Reported, ...]
    """In the order in which they were named; the findings are those of all of them."""
