"""What people read of a run of ``tune``, above the texts of its stages."""

from __future__ import annotations

import textwrap

from tabulate import tabulate

from ncclprobe.records.e2e import RESULT_DIFFERS, E2eDocument, E2eVerdict
from ncclprobe.records.nodes import NodesDocument, NodeStatus
from ncclprobe.records.sweep import SweepDocument, Verdict
from ncclprobe.records.tune import Stage, StageStatus, TuneDocument
from ncclprobe.report.text.findings import WIDTH, findings_text
from ncclprobe.report.text.sweep import verdict_sentence
from ncclprobe.report.text.verdict import nodes_verdict
from ncclprobe.units import format_seconds

UNFINISHED = "Unfinished: the sweep has no answer yet."
_MESSAGE_WIDTH = 48
_AFTER = {
    (Verdict.CHANGE, E2eVerdict.FASTER): "The workload confirms it: with the change it is faster",
    (Verdict.CHANGE, E2eVerdict.NO_DIFFERENCE): "The workload runs as fast with the change as without",
    (Verdict.CHANGE, E2eVerdict.INCONCLUSIVE): "The workload's trials cannot tell whether it gains from the change",
    (Verdict.KEEP_DEFAULTS, E2eVerdict.SLOWER): "The workload agrees: {tried}, which came closest, makes it slower",
    (Verdict.KEEP_DEFAULTS, E2eVerdict.NO_DIFFERENCE): "The workload agrees: it runs as fast with {tried}",
    (Verdict.KEEP_DEFAULTS, E2eVerdict.INCONCLUSIVE): "The workload's trials cannot tell {tried} from the defaults",
    (Verdict.KEEP_DEFAULTS, E2eVerdict.FASTER): "Yet the workload was faster with {tried}",
}
"""The sweep's answer and the workload's -> what is said of the workload."""


def tune_text(document: TuneDocument, path: str = "", *, with_findings: bool = True) -> str:
    """Return the verdict, a row a stage, what to set, and the findings.

    Args:
        document: The result.
        path: Its run directory; empty for none.
        with_findings: Let the findings stand below; without, they only count for the answer.
    """
    parts = [
        _verdict(document),
        _stages(document.stages),
        _settings(document),
        findings_text(document.findings if with_findings else ()),
        f"Run directory: {path}" if path else "",
    ]
    return "\n\n".join(part for part in parts if part)


def tune_verdict(
    sweep: SweepDocument, nodes: NodesDocument | None, e2e: E2eDocument | None, tried: str, skipped: str
) -> str:
    """Return the answer of all stages in a few sentences.

    Args:
        sweep: The sweep's document.
        nodes: The nodes' document; None where there was only one.
        e2e: The workload's document; None where none was run.
        tried: What the workload's candidate was: ``the choice`` or a setting.
        skipped: Why there was no workload; empty where it has not begun.
    """
    slow = nodes_verdict(nodes) if nodes is not None and _stands_out(nodes) else ""
    return " ".join(part for part in (_together(sweep, e2e, tried, skipped), slow) if part)


def _stands_out(nodes: NodesDocument) -> bool:
    statuses = [*(v.status for v in nodes.nodes), *(v.status for v in nodes.links), *(v.status for v in nodes.rails)]
    return any(status is not NodeStatus.OK for status in statuses)


def _together(sweep: SweepDocument, e2e: E2eDocument | None, tried: str, skipped: str) -> str:
    """Return the sweep's answer and what the workload says to it."""
    if e2e is None:
        return f"{verdict_sentence(sweep)} " + (f"No workload was run: {skipped}" if skipped else "")
    ratio = e2e.ratio
    how = f" ({ratio.estimate:.3f} times, 95 %: {ratio.low:.3f} to {ratio.high:.3f})" if ratio else ""
    if any(finding.code == RESULT_DIFFERS for finding in e2e.findings):
        return "Keep the defaults: the workload's results differ between its trials, so something was summed wrongly."
    if sweep.choice.verdict is Verdict.CHANGE and e2e.verdict is E2eVerdict.SLOWER:
        return f"Keep the defaults: collectives alone get faster with the change, but the workload gets slower{how}."
    return f"{verdict_sentence(sweep)} {_AFTER[sweep.choice.verdict, e2e.verdict].format(tried=tried)}{how}."


def _verdict(document: TuneDocument) -> str:
    return textwrap.fill(document.verdict, WIDTH)


def _stages(stages: tuple[Stage, ...]) -> str:
    rows = [
        (stage.name, stage.status, _seconds(stage), textwrap.fill(stage.message, _MESSAGE_WIDTH)) for stage in stages
    ]
    headers = ("stage", "status", "time", "answer")
    return tabulate(rows, headers, tablefmt="simple", disable_numparse=True)


def _seconds(stage: Stage) -> str:
    return "-" if stage.status is StageStatus.SKIPPED else format_seconds(stage.seconds)


def _settings(document: TuneDocument) -> str:
    lines = []
    for variable in document.env:
        lines += textwrap.wrap(variable.reason, WIDTH, initial_indent="# ", subsequent_indent="# ")
        # A shell such as zsh would look for a command behind an unquoted =.
        lines.append(f"export {variable.name}='{variable.value}'")
    if document.table:
        rows = "1 row" if len(document.table) == 1 else f"{len(document.table)} rows"
        lines.append(f"The choice by message size, as a tuner table of {rows}: env/tuner.csv")
    return "\n".join(lines) or "Nothing to set."
