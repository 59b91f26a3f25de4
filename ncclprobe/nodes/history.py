"""Earlier runs: when did a node change? Each run says how fast each node was beside the healthy ones of that run.

A node's series is tested for one change of its mean, then each side for another. What all nodes share from run to run
cancels, as each run has a level of its own.

Letters of shapes: ``T`` the runs that a node was in, in order of time; ``S`` places where a series may be split.

Source: the likelihood ratio of a change in a normal mean; Hinkley, Biometrika 57 (1970) 1; several changes by binary
segmentation; Vostrikova, Soviet Math. Dokl. 24 (1981) 55; what is known of the time by the likelihood of other splits;
Siegmund, Int. Statist. Rev. 56 (1988) 31.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from ncclprobe.findings import Finding, info, warning
from ncclprobe.nodes import readings as of_run
from ncclprobe.nodes.design import MOST_EPOCHS, Floats, parse_time
from ncclprobe.nodes.evidence import NAMED_FROM, slowdown
from ncclprobe.records.base import Interval
from ncclprobe.records.nodes import GroupValue
from ncclprobe.stats import t_quantile

ALPHA = 0.01
"""In a fleet in which nothing changed a change is found in at most 1 % of histories."""

TIME_RATIO = 3.84 / 2
"""Log-likelihood that the time of a change may lose: chi-squared's 95 % quantile at one degree of freedom, halved."""

LEAST_SPREAD = 0.003
"""Spread of a healthy node from run to run is never taken for less than 0.3 % (docs/performance.md)."""

JUDGED_RUNS, JUDGED_NAMES = MOST_EPOCHS, 1_000_000
"""The newest runs that nodes are judged by, and the names in their values: levels of more runs are not told apart."""


@dataclasses.dataclass(frozen=True)
class PastRun:
    """What an earlier run measured."""

    time: str
    """When it began, ISO 8601."""
    source: str
    """Its directory."""
    values: tuple[GroupValue, ...]
    """In order of time."""
    readings: tuple[of_run.Reading, ...] | None = None
    """What the values say of each node; None where that is still to be found."""


@dataclasses.dataclass(frozen=True, slots=True)
class Reading:
    """What one run says of one node."""

    run: int
    """Index of the run."""
    effect: float
    """Logarithm of its share of a healthy node's speed."""
    deviation: float
    """Standard deviation of that."""
    df: float
    """Degrees of freedom that the deviation rests on."""


@dataclasses.dataclass(frozen=True)
class Change:
    """A node's speed before a time and after it."""

    node: str
    """Its name."""
    unit: str | None
    """Of the values that show it."""
    run: int
    """The first run after it."""
    earliest: int
    """The first run after it may be this one, at 95 %."""
    latest: int
    """Or as late as this one."""
    before: Interval
    """Slowdown against healthy nodes, at 95 %."""
    after: Interval
    """Until the next change."""
    drop: Interval
    """How much slower it is than it was before, the multiplicity of nodes and times included; below 0 if faster."""
    runs_before: int
    """With readings of this node, since the change before."""
    runs_after: int
    """Until the next one."""


def ordered(runs: Iterable[PastRun]) -> tuple[PastRun, ...]:
    """Return the runs that measured something, in order of time."""
    return tuple(sorted((run for run in runs if run.values), key=lambda run: (parse_time(run.time), run.source)))


def changes(runs: Sequence[PastRun], threshold: float) -> tuple[Change, ...]:
    """Return when nodes changed, in order of time.

    Args:
        runs: In order of time; the values of one that has its readings are not needed.
        threshold: The smallest slowdown of interest; smaller changes are left out as smaller slowdowns are.
    """
    of_units = _series(runs)
    units = sorted(of_units, key=str)
    found = [change for unit in units for change in _of_unit(of_units[unit], unit, threshold, len(units))]
    return tuple(sorted(_one_a_node(found), key=lambda change: (change.run, change.node)))


def change_findings(runs: Sequence[PastRun], found: Iterable[Change]) -> Iterator[Finding]:
    """Yield what changed: a warning for a node that became slower, a word for one that became faster."""
    for change in found:
        slower = change.drop.estimate > 0
        hint = (
            f"see what was done to {change.node} between these runs, its logs, and `ncclprobe scan` then and now"
            if slower
            else "nothing, if it was repaired; else see what else changed"
        )
        yield (warning if slower else info)("node-changed", change.node, sentence(runs, change), hint)


def sentence(runs: Sequence[PastRun], change: Change) -> str:
    """Return what is known of a change, for people."""
    low, high = sorted((abs(change.drop.low), abs(change.drop.high)))
    how = f"{_percent(abs(change.drop.estimate))} {'slower' if change.drop.estimate > 0 else 'faster'}"
    before = f"{_percent(change.before.estimate)} below healthy nodes in {_runs(change.runs_before)} before"
    after = f"{_percent(change.after.estimate)} in {_runs(change.runs_after)} after"
    unit = f" ({change.unit})" if change.unit else ""
    return f"{how} ({100 * low:.1f} to {_percent(high)}) {_since(runs, change)}: {before}, {after}{unit}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _since(runs: Sequence[PastRun], change: Change) -> str:
    first = f"since {runs[change.run].time}"
    if change.earliest == change.latest:
        return first
    return f"{first} (between {runs[change.earliest].time} and {runs[change.latest].time})"


def _runs(number: int) -> str:
    return f"{number} run" if number == 1 else f"{number} runs"


class Newest:
    """Holds the values of the newest runs, and no more of them than nodes can be judged by."""

    def __init__(self) -> None:
        self._runs: deque[PastRun] = deque()
        self._names, self._first = 0, 0

    def add(self, run: PastRun) -> None:
        """Take the next run, and let go of the oldest ones."""
        self._runs.append(run)
        self._names += _names(run)
        while len(self._runs) > JUDGED_RUNS or (len(self._runs) > 1 and self._names > JUDGED_NAMES):
            self._names -= _names(self._runs.popleft())
            self._first += 1

    def values(self, found: Iterable[Change]) -> tuple[GroupValue, ...]:
        """Return the values since the last change of each of their nodes, with times in place of rounds.

        Args:
            found: What changed in all the runs that were added.
        """
        since: dict[str, int] = defaultdict(int)
        for change in found:
            since[change.node] = max(since[change.node], change.run)
        return tuple(
            value.with_(round=None, time=f"{parse_time(run.time) + (value.round or 0) / 1000:.3f}")
            for number, run in enumerate(self._runs, self._first)
            for value in run.values
            if all(since[node] <= number for node in value.nodes)
        )


def _names(run: PastRun) -> int:
    return sum(len(value.nodes) for value in run.values)


def _series(runs: Iterable[PastRun]) -> dict[str | None, dict[str, list[Reading]]]:
    """Return each node's readings of a unit in order of time."""
    of_units: dict[str | None, dict[str, list[Reading]]] = defaultdict(lambda: defaultdict(list))
    for number, run in enumerate(runs):
        for node, unit, effect, deviation, df in of_run.readings(run.values) if run.readings is None else run.readings:
            of_units[unit][node].append(Reading(number, effect, deviation, df))
    return of_units


def _of_unit(series: dict[str, list[Reading]], unit: str | None, threshold: float, units: int) -> Iterator[Change]:
    spread = _spread(series.values())
    splits = sum(len(readings) - 1 for readings in series.values())
    if splits:
        df = float(np.median([reading.df for readings in series.values() for reading in readings]))
        needed = float(t_quantile(1 - ALPHA / units / splits / 2, df))
        least = -math.log1p(-NAMED_FROM * threshold)
        for node, whole in series.items():
            for left, right, near in _segments(whole, spread, needed, least):
                yield _change(node, unit, (left, right), near, spread, needed)


def _spread(series: Iterable[Sequence[Reading]]) -> float:
    """Return how far a node's speed varies from run to run beyond its readings' own deviations.

    The median square of standardised differences between neighbouring runs is 0.455, chi-squared's median at one degree
    of freedom, when the spread is right; few changes among many differences don't move a median.
    """
    pairs = [(a, b) for readings in series for a, b in itertools.pairwise(readings)]
    if not pairs:
        return LEAST_SPREAD
    square = np.array([(a.effect - b.effect) ** 2 for a, b in pairs])
    own = np.array([a.deviation**2 + b.deviation**2 for a, b in pairs])
    trials = np.concatenate([[LEAST_SPREAD], np.geomspace(LEAST_SPREAD, 0.5, 64)[1:]])
    medians = np.array([np.median(square / (own + 2 * trial**2)) for trial in trials])
    return float(trials[int(np.argmax(medians <= 0.455))]) if np.any(medians <= 0.455) else float(trials[-1])


def _segments(
    readings: Sequence[Reading], spread: float, needed: float, least: float
) -> Iterator[tuple[Sequence[Reading], Sequence[Reading], tuple[int, int]]]:
    """Yield the readings before and after each change, between its neighbours, and the runs that it may be."""
    cuts = sorted(_cuts(readings, 0, spread, needed, least))
    ends = [0, *cuts, len(readings)]
    for first, cut, last in zip(ends[:-2], ends[1:-1], ends[2:], strict=True):
        part = readings[first:last]
        near = np.flatnonzero(_likelihood(part, spread) >= _likelihood(part, spread)[cut - first - 1] - TIME_RATIO)
        yield readings[first:cut], readings[cut:last], (part[int(near[0]) + 1].run, part[int(near[-1]) + 1].run)


def _cuts(readings: Sequence[Reading], offset: int, spread: float, needed: float, least: float) -> Iterator[int]:
    """Yield the places at which a series is split, by splitting it where that gains most, then each part."""
    if len(readings) < 2:
        return
    gain = _likelihood(readings, spread)
    cut = int(np.argmax(gain)) + 1
    before, after = _mean(readings[:cut], spread)[0], _mean(readings[cut:], spread)[0]
    if gain[cut - 1] > needed**2 / 2 and abs(after - before) >= least:
        yield cut + offset
        yield from _cuts(readings[:cut], offset, spread, needed, least)
        yield from _cuts(readings[cut:], offset + cut, spread, needed, least)


def _likelihood(readings: Sequence[Reading], spread: float) -> Floats:
    """Return the log-likelihood that each split gains over none, shape ``S``."""
    weight_T = np.array([1 / (reading.deviation**2 + spread**2) for reading in readings])
    total_T = np.cumsum(weight_T * [reading.effect for reading in readings])
    held_T = np.cumsum(weight_T)
    left, right = held_T[:-1], held_T[-1] - held_T[:-1]
    difference = (total_T[-1] - total_T[:-1]) / right - total_T[:-1] / left
    return np.asarray(difference**2 * left * right / held_T[-1] / 2)


def _mean(readings: Sequence[Reading], spread: float) -> tuple[float, float]:
    """Return the weighted mean of readings and its standard deviation."""
    weight = np.array([1 / (reading.deviation**2 + spread**2) for reading in readings])
    mean = float(np.sum(weight * [reading.effect for reading in readings]) / np.sum(weight))
    return mean, float(1 / math.sqrt(np.sum(weight)))


def _change(
    node: str,
    unit: str | None,
    sides: tuple[Sequence[Reading], Sequence[Reading]],
    near: tuple[int, int],
    spread: float,
    needed: float,
) -> Change:
    (before, low), (after, high) = (_mean(side, spread) for side in sides)
    return Change(
        node=node,
        unit=unit,
        run=sides[1][0].run,
        earliest=near[0],
        latest=near[1],
        before=_interval(before, 1.96 * low),
        after=_interval(after, 1.96 * high),
        drop=_interval(after - before, needed * math.hypot(low, high)),
        runs_before=len(sides[0]),
        runs_after=len(sides[1]),
    )


def _interval(effect: float, half: float) -> Interval:
    return slowdown(effect, effect - half, effect + half)


def _one_a_node(found: Sequence[Change]) -> list[Change]:
    """Return the changes, those that several units show at overlapping times only once: the surest."""
    kept: list[Change] = []
    for change in sorted(found, key=_surety, reverse=True):
        if not any(_same(change, other) for other in kept):
            kept.append(change)
    return kept


def _surety(change: Change) -> float:
    return abs(change.drop.estimate) / max(change.drop.high - change.drop.low, 1e-9)


def _same(change: Change, other: Change) -> bool:
    overlap = change.earliest <= other.latest and other.earliest <= change.latest
    return change.node == other.node and change.unit != other.unit and overlap
