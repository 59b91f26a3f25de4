"""From trials to a verdict: paired log-ratios, looked at several times, with one error budget over all looks.

Letters of shapes: ``P`` simulated paths. docs/performance.md, validate-e2e, derives what is done here.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ncclprobe.e2e.location import located
from ncclprobe.records.base import Interval, Record
from ncclprobe.records.e2e import Arm, E2eVerdict, Trial, TrialStatus

ALPHA = 0.04
"""Share of wrong answers over all looks; 5 % is promised, and a point is kept for noise that is not normal."""
SPENDING_POWER = 1.5
"""ALPHA · (n / N)^1.5 is spent after n of N pairs. Source: Kim & DeMets, Biometrika 74 (1987) 149."""
FIRST_LOOK = 4
"""Pairs; with fewer, the bounds are too large to settle anything."""
LOOK_GROWTH = 1.1
"""Pairs from one look to the next; looks that are closer together share nearly all their data."""
FARTHEST = math.log(1e50)
"""Of a ratio's logarithm from 0; what lies beyond says no more, and 1 / ratio times anything is a number still."""
PATHS, AT_ONCE = 100_000, 10_000
"""Simulated; the error rate is then met to 0.06 percentage points (one standard error)."""


class Judgement(Record, frozen=True, kw_only=True):
    """What the pairs say."""

    verdict: E2eVerdict
    """The answer."""
    ratio: Interval | None
    """Candidate's throughput / baseline's; None with under two pairs, or before the first look of several."""


def pairs(
    trials: Sequence[Trial], metric: str, *, lower_is_better: bool, arm: str = Arm.CANDIDATE
) -> tuple[float, ...]:
    """Return the log-ratio of each complete pair, an arm's throughput over the baseline's.

    Args:
        trials: In order; failed ones and warm-ups don't count.
        metric: Name of the value.
        lower_is_better: Whether it is a time, so that the throughput is its inverse.
        arm: Which; its n-th trial and the baseline's n-th are a pair.
    """
    values = {
        name: [trial.metrics[metric] for trial in trials if trial.arm == name and trial.status is TrialStatus.OK]
        for name in (Arm.BASELINE, arm)
    }
    sign = -1.0 if lower_is_better else 1.0
    both = zip(values[Arm.BASELINE], values[arm], strict=False)
    return tuple(sign * (math.log(candidate) - math.log(baseline)) for baseline, candidate in both)


@functools.lru_cache(maxsize=64)
def looks(most: int) -> tuple[int, ...]:
    """Return after how many pairs the data are looked at: whole blocks of two, further apart later on, and the last.

    Args:
        most: Pairs at which the comparison ends at the latest.
    """
    counts, count = [], FIRST_LOOK
    while count < most:
        counts.append(count)
        count = max(count + 2, 2 * math.ceil(count * LOOK_GROWTH / 2))
    return (*counts, most) if most >= 2 else ()


def judged(ratios: Sequence[float], most: int, min_effect: float, *, final: bool, comparisons: int = 1) -> Judgement:
    """Return the verdict and its interval, which holds at 95 % whenever the comparison ends.

    Args:
        ratios: Log-ratios of the pairs, in order.
        most: Pairs at which the comparison ends at the latest.
        min_effect: The smallest difference of interest.
        final: Whether no further look comes, for a reason that lies outside the values: the rest of the error budget
            is then spent here.
        comparisons: Arms beside the baseline; each gets an even share of the error budget (Bonferroni), so that all
            intervals hold together.
    """
    if len(ratios) < 2 or (not final and len(ratios) < looks(most)[0]):
        return Judgement(verdict=E2eVerdict.INCONCLUSIVE, ratio=None)
    interval = ratio_interval(ratios, critical_value(len(ratios), most, final=final, alpha=ALPHA / comparisons))
    return Judgement(verdict=verdict_of(interval, min_effect), ratio=interval)


def verdict_of(interval: Interval, min_effect: float) -> E2eVerdict:
    """Return what an interval of the ratio says.

    Args:
        interval: Candidate's throughput / baseline's.
        min_effect: Half the width of what counts as no difference.
    """
    if interval.low > 1:
        return E2eVerdict.FASTER
    if interval.high < 1:
        return E2eVerdict.SLOWER
    inside = interval.low > 1 - min_effect and interval.high < 1 + min_effect
    return E2eVerdict.NO_DIFFERENCE if inside else E2eVerdict.INCONCLUSIVE


def ratio_interval(ratios: Sequence[float], critical: float) -> Interval:
    """Return the ratio, the pairs' centre ·/÷ exp(critical · standard error).

    Args:
        ratios: Two or more log-ratios of pairs.
        critical: In standard errors.
    """
    centre, error = _located(tuple(ratios))
    half = critical * error
    return Interval(estimate=_ratio(centre), low=_ratio(centre - half), high=_ratio(centre + half))


def _ratio(log: float) -> float:
    return math.exp(min(max(log, -FARTHEST), FARTHEST))


@functools.lru_cache(maxsize=256)
def _located(ratios: tuple[float, ...]) -> tuple[float, float]:
    """Return the pairs' centre and its standard error; a comparison asks again after each trial."""
    (centre,), (error,) = located(np.array([ratios], dtype=np.float64))
    return float(centre), float(error)


def critical_value(count: int, most: int, *, final: bool, alpha: float = ALPHA) -> float:
    """Return how many standard errors the interval reaches after that many pairs.

    Args:
        count: Pairs, 2 or more.
        most: Pairs at which the last look comes.
        final: Whether all that is left of the error budget is spent.
        alpha: The error budget.
    """
    counts = (*(n for n in looks(most) if n < count), count)
    spent = tuple(_spent(n, most, alpha) for n in counts[:-1])
    return _look(counts, (*spent, alpha if final else _spent(count, most, alpha))).bound


def _spent(count: int, most: int, alpha: float) -> float:
    """Return the share of wrong answers that may have been given after that many pairs."""
    return alpha * math.pow(min(1.0, count / most), SPENDING_POWER)


class _Look(NamedTuple):
    """A look at simulated paths without an effect."""

    bound: float
    """Of the distance from no effect, in standard errors, at which a path leaves."""
    alive: npt.NDArray[np.bool_]
    """Which have not left, shape ``P``."""


@functools.lru_cache(maxsize=256)
def _look(counts: tuple[int, ...], spent: tuple[float, ...]) -> _Look:
    """Return the last of several looks, by which the last share of ``spent`` of all paths have left.

    The distance in standard errors has a distribution free of the unknown variance, so simulated paths give the bounds
    exactly but for their number.

    Args:
        counts: Pairs at each look.
        spent: Share of the paths that have left by then.

    Source: Lan & DeMets, Biometrika 70 (1983) 659; Jennison & Turnbull, Group Sequential Methods (2000), chapter 9
    (repeated confidence intervals).
    """
    alive_P = _look(counts[:-1], spent[:-1]).alive if len(counts) > 1 else np.ones(PATHS, dtype=np.bool_)
    distance_P = _distances(counts[-1])
    remaining = distance_P[alive_P]
    leaving = max(1, round(spent[-1] * PATHS) - (PATHS - len(remaining)))
    place = len(remaining) - leaving
    bound = float(np.partition(remaining, place)[place])
    return _Look(bound=bound, alive=alive_P & (distance_P < bound))


def _distances(count: int) -> npt.NDArray[np.floating]:
    """Return how far each path is from no effect after that many pairs; later pairs come on top of the same ones."""
    parts = []
    for seed in range(PATHS // AT_ONCE):
        draw = np.random.default_rng([20261122, seed])
        centre_P, error_P = located(draw.standard_normal((count, AT_ONCE), dtype=np.float32).T)
        parts.append(np.abs(centre_P) / error_P)
    return np.concatenate(parts)
