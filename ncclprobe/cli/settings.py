"""What runs recommend, read for the commands that emit or compare it."""

from __future__ import annotations

import pathlib

from ncclprobe.records.scan import ScanDocument
from ncclprobe.records.sweep import SweepDocument
from ncclprobe.records.tune import StageName, TuneDocument
from ncclprobe.store import DOCUMENT, MANIFEST, Manifest, read_document, read_manifest
from ncclprobe.tuner.environ import Settings, scan_settings, sweep_settings, tune_settings


def run_settings(path: pathlib.Path) -> Settings:
    """Return what a run of `scan`, `sweep` or `tune` recommends.

    Args:
        path: A run directory or a document.

    Raises:
        RunDirectoryError: It holds no result of these commands.
    """
    document = read_document(path, (ScanDocument, SweepDocument, TuneDocument))
    if isinstance(document, SweepDocument):
        return sweep_settings(document, str(path))
    if isinstance(document, TuneDocument):
        return tune_settings(document, str(path))
    assert isinstance(document, ScanDocument)  # noqa: S101 - read_document returns one of the types it was given
    return scan_settings(document, str(path))


def measuring_manifest(path: pathlib.Path) -> Manifest | None:
    """Return how a run that measured collectives was started, None where it did not or does not say.

    Args:
        path: A run directory of `sweep` or `tune`; another one, or a document, says nothing.
    """
    manifest = read_manifest(path) if (path / MANIFEST).is_file() else None
    return manifest if manifest and manifest.command in ("sweep", "tune") else None


def swept(path: pathlib.Path) -> SweepDocument | None:
    """Return the sweep that a run's settings come from, None where it holds none.

    Args:
        path: A run directory or a document, of `scan`, `sweep` or `tune`.
    """
    document = read_document(path, (ScanDocument, SweepDocument, TuneDocument))
    if isinstance(document, TuneDocument) and (path / StageName.SWEEP / DOCUMENT).is_file():
        document = read_document(path / StageName.SWEEP, (SweepDocument,))
    return document if isinstance(document, SweepDocument) else None


def measured_library(path: pathlib.Path) -> str:
    """Return the library with which a run measured collectives, empty where it did not or does not say.

    Args:
        path: A run directory or a document, of `scan`, `sweep` or `tune`.
    """
    document = swept(path)
    return "" if document is None else document.library
