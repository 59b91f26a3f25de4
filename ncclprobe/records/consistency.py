"""What a document must hold beyond its fields' types: reports rely on it, and someone may have edited the file."""

from __future__ import annotations

import datetime

from ncclprobe.names import DEFAULT
from ncclprobe.records.base import Document
from ncclprobe.records.e2e import E2eDocument, TrialStatus
from ncclprobe.records.sweep import SweepDocument


def contradiction(document: Document) -> str:
    """Return what a document lacks or says against itself, empty for none."""
    try:
        datetime.datetime.fromisoformat(document.created)
    except ValueError:
        return f"created is {document.created!r}, which is no time"
    if isinstance(document, SweepDocument):
        return _without_default(document)
    return _without_metric(document) if isinstance(document, E2eDocument) else ""


def _without_default(document: SweepDocument) -> str:
    points = {(cell.collective, cell.dtype, cell.size_bytes) for cell in document.cells}
    points -= {(c.collective, c.dtype, c.size_bytes) for c in document.cells if c.algo == DEFAULT and not c.env}
    return f"no cell has the default at {min(points)}" if points else ""


def _without_metric(document: E2eDocument) -> str:
    good = [trial for trial in document.trials if trial.status is TrialStatus.OK]
    lacking = [trial for trial in good if document.metric not in trial.metrics]
    return f"trial {lacking[0].order} has no {document.metric!r}" if lacking else ""
