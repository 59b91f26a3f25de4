"""Earlier runs: did the whole fleet become slower or faster? What all nodes share stands out in no node's verdict.

The same groups are compared from one run to the next. Where few groups are common, their values within the runs tell
the noise. Runs of one state differ, too: a change has to exceed what others of the history differ by.

Letters of shapes: ``G`` groups that both runs measured.

Source: Welch, Biometrika 34 (1947) 28 (two means of unequal variance); Student's t over groups where there are several
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ncclprobe.findings import Finding, info, warning
from ncclprobe.nodes.design import Floats
from ncclprobe.nodes.evidence import slowdown
from ncclprobe.nodes.history import PastRun
from ncclprobe.nodes.sentences import percent
from ncclprobe.records.base import Interval
from ncclprobe.stats import t_quantile

ALPHA = 0.01
"""Over all pairs of neighbouring runs and units together."""
LEAST_VALUES = 3
"""Of a group in a run, where fewer than SEVERAL groups are common."""
SEVERAL = 5
"""Common groups from which on the spread between groups tells the noise."""

ENOUGH_STEPS, UNKNOWN_SPREAD = 4, 0.15
"""Differences between neighbouring runs that show how much runs differ anyway; with fewer, 15 % are taken for usual."""
NORMAL_QUARTILE = 0.6745
"""Median absolute value of a standard normal variable."""
MEDIAN_EFFICIENCY = 0.37
"""Of the median absolute deviation as a measure of spread, beside the standard deviation. Source: Huber & Ronchetti,
Robust Statistics (2009), section 5.1"""

Groups = dict[tuple[str, ...], list[float]]
"""The logarithms of each group's values in a run."""


class Step(NamedTuple):
    """How much faster a run was than the one before it."""

    time: str
    """When the later one began."""
    effect: float
    """Logarithm of the ratio."""
    error: float
    """Its standard error."""
    df: float
    """Degrees of freedom of that."""

    def interval(self, alpha: float) -> Interval:
        """Return how much slower the later run was; the truth lies outside with probability ``alpha``."""
        half = float(t_quantile(1 - alpha / 2, self.df)) * self.error
        return slowdown(self.effect, self.effect - half, self.effect + half)


class Levels:
    """Compares each run with the one before it, and holds no more of a run than the next one needs."""

    def __init__(self) -> None:
        self._runs = 0
        self._before: dict[str | None, Groups] = {}
        self._steps: dict[str | None, list[Step]] = {}

    def add(self, run: PastRun) -> None:
        """Take the next run in order of time; its values are rates."""
        after = _groups(run)
        for unit in {value.unit for value in run.values}:
            known = self._steps.setdefault(unit, [])
            if unit in self._before and unit in after:
                known.extend(_step(run.time, self._before[unit], after[unit]))
        self._before = after
        self._runs += 1

    def findings(self, threshold: float) -> Iterator[Finding]:
        """Yield where all that neighbouring runs have in common became slower or faster, by more than the threshold.

        Args:
            threshold: The smallest change of interest, as a share.
        """
        share = ALPHA / max(1, len(self._steps) * (self._runs - 1))
        for unit in sorted(self._steps, key=str):
            known = [(step.time, step.interval(share)) for step in self._steps[unit]]
            least = max(threshold, _usual([change.estimate for _, change in known]))
            for time, change in known:
                if max(-change.high, change.low) >= least:
                    yield _finding(change, time, unit)


def level_findings(runs: Iterable[PastRun], threshold: float) -> Iterator[Finding]:
    """Yield where all that two neighbouring runs have in common became slower or faster, by more than the threshold.

    Args:
        runs: In order of time; values are rates.
        threshold: The smallest change of interest, as a share.
    """
    levels = Levels()
    for run in runs:
        levels.add(run)
    yield from levels.findings(threshold)


def _usual(changes: Sequence[float]) -> float:
    """Return what neighbouring runs of one state differ by at most, by Student's t on their median difference."""
    number = len(changes)
    if number < ENOUGH_STEPS:
        return UNKNOWN_SPREAD
    spread = float(np.median(np.abs(changes))) / NORMAL_QUARTILE
    return spread * float(t_quantile(1 - ALPHA / 2 / number, number * MEDIAN_EFFICIENCY))


def _groups(run: PastRun) -> dict[str | None, Groups]:
    """Return each unit's groups in a run."""
    found: dict[str | None, Groups] = defaultdict(lambda: defaultdict(list))
    for value in run.values:
        if value.status == "ok" and value.value:
            found[value.unit][*sorted(value.nodes), value.rail or ""].append(math.log(value.value))
    return found


def _step(time: str, before: Groups, after: Groups) -> Iterator[Step]:
    """Yield how much faster the later values are, nothing where too few groups or values are common."""
    pairs = [(before[key], after[key]) for key in sorted(before.keys() & after.keys())]
    if len(pairs) >= SEVERAL:
        difference_G = np.array([np.median(new) - np.median(old) for old, new in pairs])
        error = float(np.std(difference_G, ddof=1)) / math.sqrt(len(pairs))
        yield Step(time, float(np.mean(difference_G)), error, float(len(pairs) - 1))
        return
    enough = [(np.array(old), np.array(new)) for old, new in pairs if min(len(old), len(new)) >= LEAST_VALUES]
    if enough:
        parts = [_welch(old, new) for old, new in enough]
        variance = sum(v for _, v, _ in parts) / len(parts) ** 2
        yield Step(time, sum(d for d, *_ in parts) / len(parts), math.sqrt(variance), min(df for *_, df in parts))


def _welch(old: Floats, new: Floats) -> tuple[float, float, float]:
    """Return the difference of two means, its variance, and its degrees of freedom."""
    a, b = (max(float(np.var(values, ddof=1)), 1e-12) / len(values) for values in (old, new))
    df = (a + b) ** 2 / (a**2 / (len(old) - 1) + b**2 / (len(new) - 1))
    return float(np.mean(new) - np.mean(old)), a + b, df


def _finding(change: Interval, time: str, unit: str | None) -> Finding:
    slower = change.estimate > 0
    low, high = sorted((abs(change.low), abs(change.high)))
    how = f"{percent(abs(change.estimate))} {'slower' if slower else 'faster'} ({percent(low)} to {percent(high)})"
    what = f"what this run and the one before both measured became {how}" + (f" ({unit})" if unit else "")
    return (warning if slower else info)(
        "level-changed",
        time,
        f"{what}; no node stands out by what all have in common",
        "see what changed for all: load, settings, drivers; a node's own checks in that run may name one",
    )
