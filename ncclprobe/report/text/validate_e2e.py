"""What people read after ``validate-e2e``."""

from __future__ import annotations

import statistics

from tabulate import tabulate

from ncclprobe.records.e2e import Arm, E2eDocument, E2eVerdict, TrialStatus
from ncclprobe.report.text.findings import findings_text
from ncclprobe.units import format_seconds

ANSWERS = {
    E2eVerdict.FASTER: "The candidate is faster.",
    E2eVerdict.SLOWER: "The candidate is slower.",
    E2eVerdict.NO_DIFFERENCE: "There is no difference that matters.",
    E2eVerdict.INCONCLUSIVE: "Inconclusive: the trials cannot tell.",
}


def e2e_text(document: E2eDocument, path: str = "") -> str:
    """Return the answer, what it rests on, and the findings, in at most 80 columns where values allow it.

    Args:
        document: The result.
        path: Its run directory; empty for none.
    """
    parts = [_answer(document), _table(document), _settings(document), findings_text(document.findings)]
    where = f"Run directory: {path}" if path else ""
    return "\n\n".join(part for part in (*parts, where) if part)


def _answer(document: E2eDocument) -> str:
    lines = [f"{document.verdict}  {ANSWERS[document.verdict]}"]
    ratio = document.ratio
    if ratio is not None:
        lines.append(
            f"candidate / baseline throughput: {ratio.estimate:.3f} (95 %: {ratio.low:.3f} to {ratio.high:.3f}), "
            f"{document.trials_per_arm} pairs"
        )
    return "\n".join(lines)


def _table(document: E2eDocument) -> str:
    rows = [_row(document, arm) for arm in Arm]
    sense = ", lower is better" if document.lower_is_better else ""
    heading = f"{document.workload}, metric {document.metric}{sense}"
    columns = ["arm", "trials", "median", "lowest", "highest", "failed", "time"]
    return heading + "\n" + tabulate(rows, columns, tablefmt="simple", disable_numparse=True)


def _row(document: E2eDocument, arm: Arm) -> list[str]:
    trials = [trial for trial in document.trials if trial.arm is arm]
    values = [trial.metrics[document.metric] for trial in trials if trial.status is TrialStatus.OK]
    failed = sum(trial.status is TrialStatus.FAILED for trial in trials)
    shown = [f"{number:.5g}" for number in _spread(values)] if values else ["-"] * 3
    took = format_seconds(sum(trial.seconds for trial in trials)) if trials else "-"
    return [str(arm), str(len(values)), *shown, str(failed), took]


def _spread(values: list[float]) -> tuple[float, float, float]:
    return statistics.median(values), min(values), max(values)


def _settings(document: E2eDocument) -> str:
    lines = []
    for arm, settings in ((Arm.BASELINE, document.baseline), (Arm.CANDIDATE, document.candidate)):
        lines += [f"{arm}: {name}={value}" for name, value in settings.items()] or [f"{arm}: nothing set"]
    return "\n".join(lines)
