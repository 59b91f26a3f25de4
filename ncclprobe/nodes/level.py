"""Earlier runs: did the whole fleet become slower or faster? What all nodes share stands out in no node's verdict.

The same groups are compared from one run to the next. Where few groups are common, their values within the runs tell
the noise. Runs of one state differ, too: a change has to exceed what others of the history differ by.

Letters of shapes: ``G`` groups that both runs measured.

Source: Welch, Biometrika 34 (1947) 28 (two means of unequal variance); Student's t over groups where there are several
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from ncclprobe.findings import Finding, info, warning
from ncclprobe.nodes.design import Floats
from ncclprobe.nodes.evidence import slowdown
from ncclprobe.nodes.history import PastRun
from ncclprobe.nodes.sentences import percent
from ncclprobe.records.base import Interval
from ncclprobe.records.nodes import GroupValue
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

Key = tuple[str, ...]


def level_findings(runs: Sequence[PastRun], threshold: float) -> Iterator[Finding]:
    """Yield where all that two neighbouring runs have in common became slower or faster, by more than the threshold.

    Args:
        runs: In order of time; values are rates.
        threshold: The smallest change of interest, as a share.
    """
    units = sorted({value.unit for run in runs for value in run.values}, key=str)
    share = ALPHA / max(1, len(units) * (len(runs) - 1))
    for unit in units:
        steps = [(after, _between(before, after, unit, share)) for before, after in itertools.pairwise(runs)]
        known = [(after, change) for after, change in steps if change is not None]
        least = max(threshold, _usual([change.estimate for _, change in known]))
        for after, change in known:
            if max(-change.high, change.low) >= least:
                yield _finding(change, after, unit)


def _usual(changes: Sequence[float]) -> float:
    """Return what neighbouring runs of one state differ by at most, by Student's t on their median difference."""
    number = len(changes)
    if number < ENOUGH_STEPS:
        return UNKNOWN_SPREAD
    spread = float(np.median(np.abs(changes))) / NORMAL_QUARTILE
    return spread * float(t_quantile(1 - ALPHA / 2 / number, number * MEDIAN_EFFICIENCY))


def _between(before: PastRun, after: PastRun, unit: str | None, alpha: float) -> Interval | None:
    old, new = _groups(before, unit), _groups(after, unit)
    return _change([(old[key], new[key]) for key in sorted(old.keys() & new.keys())], alpha)


def _groups(run: PastRun, unit: str | None) -> dict[Key, list[float]]:
    """Return the logarithms of each group's values in a run."""
    found: dict[Key, list[float]] = defaultdict(list)
    for value in run.values:
        if value.unit == unit and value.status == "ok" and value.value:
            found[_key(value)].append(math.log(value.value))
    return found


def _key(value: GroupValue) -> Key:
    return (*sorted(value.nodes), value.rail or "")


def _change(pairs: Sequence[tuple[list[float], list[float]]], alpha: float) -> Interval | None:
    """Return how much slower the later values are, None where there are too few."""
    if len(pairs) >= SEVERAL:
        difference_G = np.array([np.median(new) - np.median(old) for old, new in pairs])
        error, df = float(np.std(difference_G, ddof=1)) / math.sqrt(len(pairs)), float(len(pairs) - 1)
        return _interval(float(np.mean(difference_G)), error, df, alpha)
    enough = [(np.array(old), np.array(new)) for old, new in pairs if min(len(old), len(new)) >= LEAST_VALUES]
    if not enough:
        return None
    parts = [_welch(old, new) for old, new in enough]
    variance = sum(v for _, v, _ in parts) / len(parts) ** 2
    return _interval(sum(d for d, *_ in parts) / len(parts), math.sqrt(variance), min(df for *_, df in parts), alpha)


def _welch(old: Floats, new: Floats) -> tuple[float, float, float]:
    """Return the difference of two means, its variance, and its degrees of freedom."""
    a, b = (max(float(np.var(values, ddof=1)), 1e-12) / len(values) for values in (old, new))
    df = (a + b) ** 2 / (a**2 / (len(old) - 1) + b**2 / (len(new) - 1))
    return float(np.mean(new) - np.mean(old)), a + b, df


def _interval(effect: float, error: float, df: float, alpha: float) -> Interval:
    half = float(t_quantile(1 - alpha / 2, df)) * error
    return slowdown(effect, effect - half, effect + half)


def _finding(change: Interval, after: PastRun, unit: str | None) -> Finding:
    slower = change.estimate > 0
    low, high = sorted((abs(change.low), abs(change.high)))
    how = f"{percent(abs(change.estimate))} {'slower' if slower else 'faster'} ({percent(low)} to {percent(high)})"
    what = f"what this run and the one before both measured became {how}" + (f" ({unit})" if unit else "")
    return (warning if slower else info)(
        "level-changed",
        after.time,
        f"{what}; no node stands out by what all have in common",
        "see what changed for all: load, settings, drivers; a node's own checks in that run may name one",
    )
