"""What ``report`` says of runs."""

from __future__ import annotations

from ncclprobe.findings import Finding
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


class ReportedFinding(Finding, frozen=True, kw_only=True):
    """A finding, and the runs that have it."""

    runs: tuple[str, ...] = ()
    """Their sources, in the order in which they were named; empty in documents from before there was this field."""


class ReportDocument(Document, frozen=True, kw_only=True):
    """``ncclprobe.report/1``."""

    schema: str = "ncclprobe.report/1"
    runs: tuple[Reported, ...]
    """In the order in which they were named."""
    findings: tuple[ReportedFinding, ...] = ()
    """Those of all runs, the worst first, each once."""
