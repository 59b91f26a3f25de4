"""What runs recommend, read for the commands that emit or compare it."""

from __future__ import annotations

import pathlib

from ncclprobe.records.scan import ScanDocument
from ncclprobe.records.sweep import SweepDocument
from ncclprobe.store import DOCUMENT, read_document
from ncclprobe.tuner.environ import Settings, merged, scan_settings, sweep_settings

STAGES = ("scan", "sweep")
"""Folders of a run that holds several, in the order in which their variables are set."""


def run_settings(path: pathlib.Path) -> Settings:
    """Return what a run recommends: a scan's, a sweep's, or those of both in a run of `tune`.

    Args:
        path: A run directory or a document.

    Raises:
        RunDirectoryError: It holds no finished result of these commands.
        UsageError: Its stages contradict each other.
    """
    stages = [path / name for name in STAGES if (path / name / DOCUMENT).is_file()]
    return merged([_document_settings(stage) for stage in stages or [path]])


def _document_settings(path: pathlib.Path) -> Settings:
    document = read_document(path, (ScanDocument, SweepDocument))
    if isinstance(document, SweepDocument):
        return sweep_settings(document, str(path))
    assert isinstance(document, ScanDocument)  # noqa: S101 - read_document returns one of the types it was given
    return scan_settings(document, str(path))
