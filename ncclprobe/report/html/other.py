"""What the other commands found, for people: stages of ``tune``, nodes' hardware, emitted settings, what was read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ncclprobe.records.base import Document, EnvVariable
from ncclprobe.records.e2e import E2eDocument
from ncclprobe.records.env import EnvDocument
from ncclprobe.records.inspect import InspectDocument, TunerRow
from ncclprobe.records.nodes import NodesDocument
from ncclprobe.records.profile import ProfileDocument
from ncclprobe.records.report import ReportDocument
from ncclprobe.records.scan import ScanDocument
from ncclprobe.records.sweep import SweepDocument
from ncclprobe.records.tune import StageStatus, TuneDocument
from ncclprobe.records.watch import WatchDocument
from ncclprobe.report.html.e2e import e2e_body
from ncclprobe.report.html.markup import Markup, element, joined, table
from ncclprobe.report.html.nodes import nodes_body
from ncclprobe.report.html.part import Body, Part
from ncclprobe.report.html.sweep import sweep_body
from ncclprobe.report.text.inspect import inspect_text
from ncclprobe.report.text.profile import profile_text
from ncclprobe.report.text.scan import scan_text
from ncclprobe.secrecy import open_variables
from ncclprobe.units import format_seconds, format_size


def body(part: Part, key: str) -> Body:
    """Return a document's part of the page, without its answer and its findings.

    Args:
        part: The document and what lies beside it.
        key: Begins the plots' keys.
    """
    return _BODIES[type(part.document)](part, part.document, key)


def _tune(_part: Part, document: TuneDocument, _key: str) -> Body:
    rows = [
        [
            str(stage.name),
            str(stage.status),
            "-" if stage.status is StageStatus.SKIPPED else format_seconds(stage.seconds),
            stage.message,
        ]
        for stage in document.stages
    ]
    stages = table(("stage", "status", "time", "answer"), rows, caption="Stages", numbers="llrl")
    return Body(content=joined([stages, _variables(document.env), _rows(document.table)]))


def _variables(env: tuple[EnvVariable, ...]) -> Markup:
    values = open_variables({one.name: one.value for one in env})
    return table(
        ("variable", "value", "reason"), ([one.name, values[one.name], one.reason] for one in env), caption="To set"
    )


def _rows(rows: tuple[TunerRow, ...]) -> Markup:
    shown = (
        [
            row.collective,
            format_size(row.min_bytes),
            format_size(row.max_bytes),
            row.algo,
            row.proto,
            "-" if row.nchannels is None else str(row.nchannels),
        ]
        for row in rows
    )
    columns = ("collective", "from", "to", "algo", "proto", "channels")
    return table(columns, shown, caption="The choice by message size", numbers="lrrllr")


def _scan(_part: Part, document: ScanDocument, _key: str) -> Body:
    return _text(scan_text(document, with_findings=False))


def _env(_part: Part, document: EnvDocument, _key: str) -> Body:
    return _text(document.text.rstrip("\n"))


def _inspect(_part: Part, document: InspectDocument, _key: str) -> Body:
    return _text(inspect_text(document, with_findings=False))


def _profile(_part: Part, document: ProfileDocument, _key: str) -> Body:
    return _text(profile_text(document, with_findings=False))


def _report(_part: Part, document: ReportDocument, _key: str) -> Body:
    rows = ([run.source, run.created, run.verdict] for run in document.runs)
    return Body(content=table(("run", "created", "answer"), rows))


def _watch(_part: Part, document: WatchDocument, _key: str) -> Body:
    rows = (
        [check.started, str(check.status), format_seconds(check.seconds), check.message] for check in document.checks
    )
    return Body(content=table(("check", "status", "time", "answer"), rows, caption="Checks", numbers="llrl"))


def _text(text: str) -> Body:
    return Body(content=element("pre", text, tabindex="0"))


_BODIES: dict[type[Document], Callable[[Part, Any, str], Body]] = {
    SweepDocument: lambda _part, document, key: sweep_body(document, key),
    NodesDocument: nodes_body,
    E2eDocument: lambda _part, document, key: e2e_body(document, key),
    TuneDocument: _tune,
    ScanDocument: _scan,
    EnvDocument: _env,
    InspectDocument: _inspect,
    ProfileDocument: _profile,
    ReportDocument: _report,
    WatchDocument: _watch,
}
"""Type -> what makes its part."""
