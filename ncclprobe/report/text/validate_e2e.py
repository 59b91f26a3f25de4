"""What people read after ``validate-e2e``."""

from __future__ import annotations

import statistics

from tabulate import tabulate

from ncclprobe.records.e2e import (
    ARM_FAILED,
    RESULT_DIFFERS,
    Arm,
    Comparison,
    E2eDocument,
    E2eVerdict,
    Layout,
    TrialStatus,
)
from ncclprobe.report.text.beside import beside_text
from ncclprobe.report.text.e2e_in_force import in_force_text
from ncclprobe.report.text.e2e_times import times_text
from ncclprobe.report.text.findings import findings_text
from ncclprobe.report.text.telemetry import telemetry_text
from ncclprobe.units import format_seconds

ANSWERS = {
    E2eVerdict.FASTER: "The candidate is faster.",
    E2eVerdict.SLOWER: "The candidate is slower.",
    E2eVerdict.NO_DIFFERENCE: "There is no difference that matters.",
    E2eVerdict.INCONCLUSIVE: "Inconclusive: the trials cannot tell.",
}


def answer_sentence(document: E2eDocument) -> str:
    """Return the answer in a sentence; an arm that failed too often left none, nor did results that differ."""
    failed = [finding.subject for finding in document.findings if finding.code == ARM_FAILED]
    if failed and document.ratio is None:
        return f"No answer: {', '.join(failed)} failed too often to be compared."
    differs = any(finding.code == RESULT_DIFFERS for finding in document.findings)
    if differs and document.verdict is E2eVerdict.INCONCLUSIVE and len(document.comparisons) < 2:
        return "No answer: the arms did not compute the same."
    return ANSWERS[document.verdict]


def e2e_text(document: E2eDocument, path: str = "", *, with_findings: bool = True) -> str:
    """Return the answer, what it rests on, and the findings, in at most 80 columns where values allow it.

    Args:
        document: The result.
        path: Its run directory; empty for none.
        with_findings: Let the findings stand below; without, they only count for the answer.
    """
    answer = [_answer(document), _variants(document), beside_text(document.prediction), _table(document)]
    ran = [times_text(document), _settings(document)]
    found = findings_text(document.findings if with_findings else ())
    where = f"Run directory: {path}" if path else ""
    parts = [*answer, *ran, in_force_text(document), telemetry_text(document.trials), found, where]
    return "\n\n".join(part for part in parts if part)


def _answer(document: E2eDocument) -> str:
    chief = _chief(document)
    so_far = "" if document.finished else "unfinished, so far: "
    lines = [f"{so_far}{document.verdict}  {answer_sentence(document).replace('candidate', chief)}"]
    ratio = document.ratio
    if ratio is not None:
        lines.append(
            f"{chief} / baseline throughput: {ratio.estimate:.3f} (95 %: {ratio.low:.3f} to {ratio.high:.3f}), "
            f"{document.trials_per_arm} pair{'s' * (document.trials_per_arm != 1)}"
        )
    return "\n".join(lines)


def _chief(document: E2eDocument) -> str:
    """Return the arm that the answer is about: the candidate, or the fastest variant where there is none."""
    names = [one.arm for one in document.comparisons]
    if not names or Arm.CANDIDATE in names:
        return Arm.CANDIDATE.value
    return next((one.arm for one in document.comparisons if one.ratio == document.ratio), Arm.CANDIDATE.value)


def _variants(document: E2eDocument) -> str:
    """Return every arm's answer where there are several; the intervals hold together."""
    if len(document.comparisons) < 2:
        return ""
    rows = [_variant(one) for one in document.comparisons]
    columns = ["arm", "pairs", "/ baseline", "95 % together", "verdict"]
    return tabulate(rows, columns, tablefmt="simple", disable_numparse=True)


def _variant(one: Comparison) -> list[str]:
    ratio = one.ratio
    if ratio is None:
        return [one.arm, str(one.trials), "-", "-", str(one.verdict)]
    return [one.arm, str(one.trials), f"{ratio.estimate:.3f}", f"{ratio.low:.3f}-{ratio.high:.3f}", str(one.verdict)]


def _table(document: E2eDocument) -> str:
    rows = [_row(document, arm) for arm in _arms(document)]
    sense = ", lower is better" if document.lower_is_better else ""
    heading = f"{document.workload}, metric {document.metric}{sense}"
    columns = ["arm", "trials", "median", "lowest", "highest", "failed", "time"]
    return heading + "\n" + tabulate(rows, columns, tablefmt="simple", disable_numparse=True)


def _arms(document: E2eDocument) -> list[str]:
    names = [one.arm for one in document.comparisons] or [Arm.CANDIDATE.value]
    return [Arm.BASELINE.value, *names]


def _row(document: E2eDocument, arm: str) -> list[str]:
    trials = [trial for trial in document.trials if trial.arm == arm]
    values = [trial.metrics[document.metric] for trial in trials if trial.status is TrialStatus.OK]
    failed = sum(trial.status is TrialStatus.FAILED for trial in trials)
    shown = [f"{number:.5g}" for number in _spread(values)] if values else ["-"] * 3
    took = format_seconds(sum(trial.seconds for trial in trials)) if trials else "-"
    return [arm, str(len(values)), *shown, str(failed), took]


def _spread(values: list[float]) -> tuple[float, float, float]:
    return statistics.median(values), min(values), max(values)


def _settings(document: E2eDocument) -> str:
    lines = _setting(Arm.BASELINE, document.layout, document.baseline)
    if not document.comparisons:
        lines += _setting(Arm.CANDIDATE, None, document.candidate)
    for one in document.comparisons:
        lines += _setting(one.arm, one.layout, one.env)
    return "\n".join(lines)


def _setting(arm: str, layout: Layout | None, env: dict[str, str]) -> list[str]:
    shape = [] if layout is None or layout.label == arm else [f"{arm}: {layout.label}"]
    variables = [f"{arm}: {name}={value}" for name, value in env.items()]
    return [*shape, *variables] or [f"{arm}: nothing set"]
