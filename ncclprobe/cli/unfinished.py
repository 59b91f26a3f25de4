"""What ``report`` says of a run that has not ended."""

from __future__ import annotations

import pathlib
import shlex

from ncclprobe.e2e.command import metric_name, metric_pattern
from ncclprobe.e2e.interim import interim
from ncclprobe.e2e.resumed import resumed_doubts
from ncclprobe.e2e.sglang_command import METRICS
from ncclprobe.errors import RunDirectoryError
from ncclprobe.records.base import Document
from ncclprobe.records.e2e import E2eOptions, Resumed, Trial
from ncclprobe.store import (
    DOCUMENT,
    MANIFEST,
    RESUMABLE,
    is_packed,
    read_journal,
    read_manifest,
    stored_options,
    unpacking,
)


def is_unfinished(path: pathlib.Path) -> bool:
    """Return whether a path is a run directory without a result."""
    return (path / MANIFEST).is_file() and not (path / DOCUMENT).exists()


def so_far(path: pathlib.Path) -> Document:
    """Return what an unfinished run of ``validate-e2e`` says so far.

    Raises:
        RunDirectoryError: It is one of another command, of which nothing is said before its end.
    """
    manifest = read_manifest(path)
    way = f"ncclprobe {manifest.command} --resume {shlex.quote(str(path))}"
    way = f"{unpacking(path)} && {way}" if is_packed(path) else way
    if manifest.command != "validate-e2e":
        then = f"go on with `{way}`" if manifest.command in RESUMABLE else "run it again"
        raise RunDirectoryError(f"{path} holds an unfinished run of {manifest.command}, without a result yet; {then}")
    options = stored_options(path, manifest, E2eOptions)
    lines = list(read_journal(path, {"trial": Trial, "resumed": Resumed}))
    document = interim(options, _metric(options), [line for line in lines if isinstance(line, Trial)], way)
    changed = resumed_doubts(options.workload, [line for line in lines if isinstance(line, Resumed)])
    return document.with_(findings=(*document.findings, *changed))


def _metric(options: E2eOptions) -> str:
    """Return the name of what is compared."""
    if options.workload == "sglang":
        return options.metric or METRICS[options.sglang.bench]
    if options.workload == "command":
        return metric_name(metric_pattern(options.metric))
    from ncclprobe.e2e.proxy import METRIC  # brings the backends along

    return METRIC
