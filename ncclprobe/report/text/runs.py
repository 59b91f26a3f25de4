"""One text for any number of runs of any command: answers first, what they rest on, findings last."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ncclprobe.findings import Severity
from ncclprobe.records.base import Document, Record
from ncclprobe.records.e2e import E2eDocument
from ncclprobe.records.env import EnvDocument
from ncclprobe.records.inspect import InspectDocument
from ncclprobe.records.nodes import NodesDocument
from ncclprobe.records.profile import ProfileDocument
from ncclprobe.records.report import ReportDocument, ReportedFinding
from ncclprobe.records.scan import ScanDocument
from ncclprobe.records.sweep import SweepDocument
from ncclprobe.records.tune import TuneDocument
from ncclprobe.records.watch import WatchDocument
from ncclprobe.report.text.findings import WIDTH, finding_text
from ncclprobe.report.text.foretold import foretold
from ncclprobe.report.text.inspect import inspect_text
from ncclprobe.report.text.letters import letters, mark
from ncclprobe.report.text.nodes import nodes_text
from ncclprobe.report.text.profile import profile_text
from ncclprobe.report.text.scan import scan_text
from ncclprobe.report.text.sweep import sweep_text
from ncclprobe.report.text.tune import tune_text
from ncclprobe.report.text.validate_e2e import e2e_text
from ncclprobe.report.text.verdict import verdict
from ncclprobe.report.text.watch import watch_text

_ORDER = (Severity.ERROR, Severity.WARNING, Severity.INFO)


class Run(Record, frozen=True, kw_only=True):
    """A run as it was read."""

    source: str
    """Directory or file, as it was named."""
    document: Document
    """Its result."""
    stages: tuple[Document, ...] = ()
    """The documents of its stages, in order; only ``tune`` has them."""


def runs_text(runs: Sequence[Run]) -> str:
    """Return the answers of all runs, then what each rests on, then all findings with their hints."""
    several = len(runs) > 1
    known = letters(run.source for run in runs)
    answers = "\n".join(_answer(run, known) for run in runs) if several else ""
    both = foretold(one for run in runs for one in (run.document, *run.stages))
    beside = (textwrap.fill(sentence, WIDTH, break_on_hyphens=False) for sentence in both)
    bodies = (part for run in runs for part in _bodies(run, _named(run, known) if several else ""))
    parts = [answers, *beside, *bodies, _findings(all_findings(runs), known)]
    return "\n\n".join(part for part in parts if part)


def all_findings(runs: Iterable[Run]) -> tuple[ReportedFinding, ...]:
    """Return the findings of all runs, the worst first, each once with the runs that have it."""
    whose: dict[tuple[Severity, str, str, str, str], list[str]] = {}
    for run in runs:
        for one in run.document.findings:
            whose.setdefault((one.severity, one.code, one.subject, one.message, one.hint), []).append(run.source)
    found = [
        ReportedFinding(
            severity=severity, code=code, subject=subject, message=message, hint=hint, runs=tuple(dict.fromkeys(names))
        )
        for (severity, code, subject, message, hint), names in whose.items()
    ]
    return tuple(sorted(found, key=lambda finding: _ORDER.index(finding.severity)))


def _named(run: Run, known: Mapping[str, str]) -> str:
    """Return a run's letter and name."""
    return f"{mark([run.source], known)} {run.source}".lstrip()


def _answer(run: Run, known: Mapping[str, str]) -> str:
    """Return a run's letter, name and verdict; a long name stays whole, on its letter's line."""
    whose = mark([run.source], known)
    return textwrap.fill(
        f"{run.source}: {verdict(run.document)}",
        WIDTH,
        initial_indent=whose and f"{whose} ",
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _bodies(run: Run, title: str) -> Iterator[str]:
    """Yield a text each for the document and its stages, without their findings; the first without an empty title."""
    text = _text(run.document)
    yield f"{_heading(title, run.document)}\n\n{text}" if title else text
    for stage in run.stages:
        yield f"{_heading(_command(stage), stage)}\n\n{_text(stage)}"


def _heading(title: str, document: Document) -> str:
    line = f"{title} ({_command(document)}, {document.created})" if title != _command(document) else title
    return f"{line}\n{'=' * len(line)}"


def _command(document: Document) -> str:
    """Return ``sweep`` for ``ncclprobe.sweep/1``."""
    return document.schema.removeprefix("ncclprobe.").partition("/")[0]


def _text(document: Document) -> str:
    return _TEXTS[type(document)](document)


def _findings(findings: Sequence[ReportedFinding], known: Mapping[str, str]) -> str:
    found = "\n".join(finding_text(finding, mark(finding.runs, known)) for finding in findings)
    return f"Findings\n========\n\n{found}" if found else "No findings."


def _report_text(document: ReportDocument) -> str:
    lines = (f"{run.source}: {run.verdict}" for run in document.runs)
    return "\n".join(textwrap.fill(line, WIDTH, subsequent_indent="  ") for line in lines)


def _bare(write: Callable[..., str]) -> Callable[[Any], str]:
    """Return what writes a text without its findings, which are those of all runs further below."""
    return functools.partial(write, with_findings=False)


_TEXTS: dict[type[Document], Callable[[Any], str]] = {
    ScanDocument: _bare(scan_text),
    SweepDocument: _bare(sweep_text),
    NodesDocument: _bare(nodes_text),
    InspectDocument: _bare(inspect_text),
    ProfileDocument: _bare(profile_text),
    EnvDocument: lambda document: str(document.text).rstrip("\n"),
    E2eDocument: _bare(e2e_text),
    TuneDocument: _bare(tune_text),
    WatchDocument: _bare(watch_text),
    ReportDocument: _report_text,
}
"""Type -> what writes its text."""
