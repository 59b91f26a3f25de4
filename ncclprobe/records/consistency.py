"""What a document must hold beyond its fields' types: reports rely on it, and someone may have edited the file."""

from __future__ import annotations

import datetime
import re

import msgspec

from ncclprobe.decoding import is_measured
from ncclprobe.names import DEFAULT, LIBRARY_PREFIXES
from ncclprobe.records.base import Document, Interval
from ncclprobe.records.e2e import E2eDocument, TrialStatus
from ncclprobe.records.in_force import InForce
from ncclprobe.records.scan import ScanDocument
from ncclprobe.records.sweep import SweepDocument
from ncclprobe.records.tune import TuneDocument

_CODE = re.compile(
    r"(?:LD|DYLD|BASH|PYTHON|PERL|RUBY|NODE|JAVA|_JAVA|JDK|LUA|GCONV|GLIBC|MALLOC|GIT|SSH|SUDO|TCL|VIM)_?\w*|\w*PATH|ENV|IFS"
    r"|PS[0-4]|PROMPT_COMMAND|SHELL(?:OPTS)?|ZDOTDIR|EDITOR|VISUAL|PAGER|BROWSER|HOME|TMPDIR|LOCALDOMAIN|HOSTALIASES"
)
"""Variables by which shells, loaders and interpreters find or run code, or whole installations are replaced."""


def contradiction(document: Document) -> str:
    """Return what a document lacks or says against itself, empty for none."""
    try:
        datetime.datetime.fromisoformat(document.created)
    except ValueError:
        return f"created is {document.created!r}, which is no time"
    if foreign := _foreign(document):
        return f"it recommends {foreign!r}, by which programs find or run code"
    if isinstance(document, SweepDocument):
        return _without_default(document) or _untimed(document)
    return _without_metric(document) or _unmeasured(document) if isinstance(document, E2eDocument) else ""


def _foreign(document: Document) -> str:
    """Return which recommended variable would make a job that sets it run what it names; no run measures such."""
    if isinstance(document, SweepDocument):
        names = [*document.choice.env, *(name for one in document.environments for name in one.env)]
    else:
        names = [one.name for one in document.env] if isinstance(document, ScanDocument | TuneDocument) else []
    return next((name for name in names if _CODE.fullmatch(name) and not name.startswith(LIBRARY_PREFIXES)), "")


def _without_default(document: SweepDocument) -> str:
    points = {(cell.collective, cell.dtype, cell.size_bytes) for cell in document.cells}
    points -= {(c.collective, c.dtype, c.size_bytes) for c in document.cells if c.algo == DEFAULT and not c.env}
    return f"no cell has the default at {min(points)}" if points else ""


def _untimed(document: SweepDocument) -> str:
    """Return which cell's times are none: ratios and logarithms are taken of them."""
    timed = ((cell, cell.time_us) for cell in document.cells if cell.time_us is not None)
    wrong = (cell for cell, time in timed if not all(map(is_measured, (time.low, time.median, time.high))))
    return next(
        (f"a cell of {cell.collective} at {cell.size_bytes} bytes has a time of 0 or less" for cell in wrong), ""
    )


def _without_metric(document: E2eDocument) -> str:
    good = [trial for trial in document.trials if trial.status is TrialStatus.OK]
    lacking = [trial for trial in good if document.metric not in trial.metrics]
    return f"trial {lacking[0].number} has no {document.metric!r}" if lacking else ""


def _unmeasured(document: E2eDocument) -> str:
    """Return which trial's values are none, or which ratio: logarithms and inverses are taken of them."""
    for trial in document.trials:
        values = [run.get(document.metric) for run in (trial.metrics, *trial.repeats)]
        if trial.status is TrialStatus.OK and not all(value is not None and is_measured(value) for value in values):
            return f"trial {trial.number} has a {document.metric!r} of 0 or less, or a repeat without it"
        try:
            msgspec.convert(trial.effective.get("in_force", {"logs": 0}), InForce)
        except msgspec.ValidationError as problem:
            return f"in_force of trial {trial.number}: {problem}"
    compared = (document.ratio, *(one.ratio for one in document.comparisons), *_foretold(document))
    ends = (end for one in compared if one is not None for end in (one.low, one.estimate, one.high))
    return "" if all(end > 0 for end in ends) else "a ratio of throughputs is 0 or less"


def _foretold(document: E2eDocument) -> tuple[Interval | None, ...]:
    return () if document.prediction is None else (document.prediction.ratio, document.prediction.measured)
