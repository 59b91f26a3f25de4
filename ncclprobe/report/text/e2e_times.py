"""How much of a trial is the workload itself: the rest is its start, which loads, captures and compiles."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from tabulate import tabulate

from ncclprobe.records.e2e import Arm, E2eDocument, Trial, TrialStatus
from ncclprobe.units import format_seconds

ITSELF = {"sglang": ("total_latency", "duration")}
"""Workload -> its names for the time that it measured itself.

Source: SGLang 0.5.17, benchmark/offline_throughput.py, benchmark/one_batch.py (total_latency), benchmark/serving.py
(duration)
"""


def itself_s(document: E2eDocument, trial: Trial) -> float | None:
    """Return how long the workload itself ran in a trial, None where it does not say."""
    names = ITSELF.get(document.workload, ())
    return next((trial.metrics[name] for name in names if name in trial.metrics), None)


def times_rows(document: E2eDocument) -> list[list[str]]:
    """Return a row an arm: name, a trial's wall time, the workload's own, its share; medians over good trials."""
    return list(_rows(document))


def _rows(document: E2eDocument) -> Iterator[list[str]]:
    for arm in dict.fromkeys([Arm.BASELINE.value, *(trial.arm for trial in document.trials)]):
        good = [trial for trial in document.trials if trial.arm == arm and trial.status is TrialStatus.OK]
        both = [(trial.seconds, own) for trial in good if (own := itself_s(document, trial)) is not None]
        if both:
            whole, own = (statistics.median(column) for column in zip(*both, strict=True))
            yield [arm, format_seconds(whole), format_seconds(own), f"{own / whole:.0%}"]


COLUMNS = ("arm", "a trial", "benchmark", "share")
"""Of ``times_rows``."""


def times_text(document: E2eDocument) -> str:
    """Return how much of the trials was the benchmark, empty where the workload does not say."""
    rows = times_rows(document)
    return tabulate(rows, COLUMNS, tablefmt="simple", disable_numparse=True) if rows else ""
