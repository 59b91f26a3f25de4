"""How much of a trial is the workload itself: the rest is its start, which loads, captures and compiles."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence

from tabulate import tabulate

from ncclprobe.records.e2e import OWN_TIME, Arm, E2eDocument, Trial, TrialStatus
from ncclprobe.units import format_seconds

ITSELF = {"sglang": OWN_TIME}
"""Workload -> its names for the time that it measured itself."""


def itself_s(document: E2eDocument, trial: Trial) -> float | None:
    """Return how long the workload itself ran in a trial, all its repeats together, None where it does not say."""
    names = ITSELF.get(document.workload, ())
    runs = [run[name] for run in trial.repeats or (trial.metrics,) for name in names if name in run]
    return sum(runs) if runs else None


def times_rows(document: E2eDocument) -> list[list[str]]:
    """Return a row an arm: name, a trial's wall time, the workload's own, its share; medians over good trials."""
    return list(_rows(document))


def _rows(document: E2eDocument) -> Iterator[list[str]]:
    for arm in _arms(document):
        good = [trial for trial in document.trials if trial.arm == arm and trial.status is TrialStatus.OK]
        both = [(trial.seconds, own) for trial in good if (own := itself_s(document, trial)) is not None]
        if both:
            whole, own = (statistics.median(column) for column in zip(*both, strict=True))
            yield [arm, format_seconds(whole), format_seconds(own), f"{own / whole:.0%}" if whole else "-"]


def _arms(document: E2eDocument) -> list[str]:
    return [*dict.fromkeys([Arm.BASELINE.value, *(trial.arm for trial in document.trials)])]


COLUMNS = ("arm", "a trial", "benchmark", "share")
"""Of ``times_rows``."""


def times_text(document: E2eDocument) -> str:
    """Return how much of the trials was the benchmark, empty where the workload does not say."""
    rows = times_rows(document)
    table = tabulate(rows, COLUMNS, tablefmt="simple", disable_numparse=True) if rows else ""
    return "\n\n".join(part for part in (table, spread_text(document)) if part)


def spread_text(document: E2eDocument) -> str:
    """Return how much values vary within a start and between starts, empty where no start has several."""
    good = [trial for trial in document.trials if trial.status is TrialStatus.OK and len(trial.repeats) > 1]
    by_arm = [[trial.metrics[document.metric] for trial in good if trial.arm == arm] for arm in _arms(document)]
    within = _spread([run[document.metric] for run in trial.repeats] for trial in good)
    between = _spread(by_arm)
    if within is None or between is None:
        return ""
    return f"Spread of {document.metric}: {within:.1%} within a start, {between:.1%} between starts."


def _spread(groups: Iterable[Sequence[float]]) -> float | None:
    """Return the standard deviation within groups of logarithms, pooled; None where no group has two values."""
    logs = [[math.log(value) for value in group] for group in groups if len(group) > 1]
    freedom = sum(len(group) - 1 for group in logs)
    squares = sum(statistics.variance(group) * (len(group) - 1) for group in logs)
    return math.sqrt(squares / freedom) if freedom else None
