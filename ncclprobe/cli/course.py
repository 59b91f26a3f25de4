"""An open run of ``tune``: which stages have ended, and the documents they left in their folders."""

from __future__ import annotations

import itertools
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from ncclprobe.cli.output import note
from ncclprobe.errors import ProbeError, RunDirectoryError
from ncclprobe.records.base import Document
from ncclprobe.records.tune import Stage, StageName, StageStatus, TuneOptions
from ncclprobe.report.text.verdict import verdict
from ncclprobe.store import DOCUMENT, MANIFEST, RunDirectory, read_document, read_journal, stored_options
from ncclprobe.units import format_seconds

JOURNALLED = "stage"
"""Kind of the journal's lines: a stage that ended."""
Kind = TypeVar("Kind", bound=Document)


class Skipped(NamedTuple):
    """That a stage has nothing to do."""

    reason: str
    """Why, for people."""


Work = Callable[["Course", pathlib.Path], Document | Skipped]


class Course:
    """The stages of a run, each ended once: an earlier process's count."""

    def __init__(self, directory: RunDirectory) -> None:
        self.directory = directory
        self.options = stored_options(directory.path, directory.manifest, TuneOptions)
        lines = read_journal(directory.path, {JOURNALLED: Stage})
        ended = [stage for stage in lines if isinstance(stage, Stage)]
        self.stages = {stage.name: stage for stage in ended if stage.status is not StageStatus.FAILED}

    def run(self, name: StageName, work: Work) -> None:
        """Run a stage unless it has ended, and journal how it ended.

        Raises:
            ProbeError: It failed; that is journalled, too, and it is tried again by the next process.
        """
        if name in self.stages:
            note(f"{name}: {self.stages[name].status} earlier")
            return
        note(f"{name}: begun")
        began = time.monotonic()
        try:
            outcome = work(self, self.directory.path / name)
        except ProbeError as problem:
            self._end(name, StageStatus.FAILED, str(problem), began)
            raise
        if isinstance(outcome, Skipped):
            self._end(name, StageStatus.SKIPPED, f"{outcome.reason}.", began)
        else:
            self._end(name, StageStatus.DONE, verdict(outcome), began)

    def _end(self, name: StageName, status: StageStatus, message: str, began: float) -> None:
        path = None if status is StageStatus.SKIPPED else name.value
        seconds = round(time.monotonic() - began, 3)
        stage = Stage(name=name, status=status, seconds=seconds, path=path, message=message)
        self.stages[name] = stage
        self.directory.append(stage, JOURNALLED)
        took = "" if status is StageStatus.SKIPPED else f" ({format_seconds(seconds)})"
        note(f"{name}: {status}{took}: {message}")

    def read(self, name: StageName, kind: type[Kind]) -> Kind:
        """Return what a stage found.

        Raises:
            RunDirectoryError: It has no result of that kind.
        """
        document = read_document(self.directory.path / name, (kind,))
        if not isinstance(document, kind):
            raise RunDirectoryError(f"{self.directory.path / name} holds no {kind.__name__}")
        return document

    def found(self, name: StageName, kind: type[Kind]) -> Kind | None:
        """Return what a stage found, None where it was skipped, failed or has not begun."""
        stage = self.stages.get(name)
        there = stage is not None and stage.status is StageStatus.DONE
        return self.read(name, kind) if there and (self.directory.path / name / DOCUMENT).is_file() else None


def fresh(path: pathlib.Path) -> pathlib.Path:
    """Return the path of a stage's folder, what an interrupted attempt left in it set aside beside it."""
    if (path / MANIFEST).exists():
        path.rename(next(name for name in _aside(path) if not name.exists()))
    return path


def _aside(path: pathlib.Path) -> Iterator[pathlib.Path]:
    return (path.with_name(f"{path.name}.interrupted-{number}") for number in itertools.count(1))
