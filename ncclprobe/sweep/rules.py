"""The rules of the race, pure: how much to measure, which cells go on, when an answer is clear.

Everything is on log-ratios (log(default's time / cell's time); 0.01 is 1 % faster). docs/performance.md derives it.
"""

from __future__ import annotations

import math

from ncclprobe.records.base import Record
from ncclprobe.records.sweep import WIDEST as RATIO_WIDEST
from ncclprobe.stats import normal_quantile
from ncclprobe.sweep.estimate import Estimate

WORTHWHILE = math.log(1.005)
"""A size changes only if its interval's low end exceeds this (the contract of ``sweep``)."""

WIDEST = math.log(RATIO_WIDEST)
"""Where an interval ends that has too few launches to say anything."""

EXPLORE_ALPHA = 0.01
"""Error budget of all intervals of cells that were not confirmed, two-sided."""

CONFIRM_LOW_ALPHA, CONFIRM_HIGH_ALPHA = 0.008, 0.008
"""Error budget of the confirmed cells' intervals: a false change has the first."""


class Look(Record, frozen=True, kw_only=True):
    """What has been measured of a cell that is still in the race when it is looked at."""

    launches: int
    """Fresh launches in all, at least."""
    share: float
    """Pairs in all, as a share of the plain design's n."""
    alpha: float
    """Share of the error budget."""


EXPLORE = (
    Look(launches=2, share=0.0, alpha=0.10),
    Look(launches=5, share=0.10, alpha=0.15),
    Look(launches=6, share=0.20, alpha=0.20),
    Look(launches=7, share=0.35, alpha=0.25),
    Look(launches=9, share=0.55, alpha=0.30),
)
"""The race's looks; the first has FIRST_PAIRS in all."""

EXHAUSTIVE = (Look(launches=2, share=0.0, alpha=0.10), Look(launches=8, share=1.0, alpha=0.90))
"""The plain design's looks: nothing is dropped."""

CONFIRM_ALPHAS = (0.55, 0.20, 0.15, 0.10)
"""Shares of the error budget of the looks at a winner."""

USUAL_SAVING = 2.5
"""How much less than the plain design a race usually takes (data/sweep_simulated_202611: cost)."""

EXPLORE_BUDGET, STARTS_BUDGET = 0.6, 0.3
"""Share of a budget after which exploring ends, so that what was found can be confirmed; share of what is left that
starting a look's launches may cost."""

FIRST_PAIRS = 6
"""Pairs of the first look: every second may be wild and a slow cell is still told (estimate.OUTLIERS)."""

DETECTABLE = 0.025
"""A cell that could still be this much faster goes on, at the full precision."""

FUTILE_Z, DOMINATED_Z, CLEAR_Z = 2.4, 2.2, 2.0
"""Standard errors by which a cell must miss DETECTABLE, or the best cell, to drop out; by which the best must win."""

LAST_Z = 1.2
"""Standard errors by which the best cell must win at the last look to be confirmed."""

POWER_Z = 2.2
"""A planned look at a winner succeeds with a probability of 98.6 %: normal_quantile(0.986)."""

HOPE_Z, LEAST_POWER_Z = 1.4, 0.5
"""A look that cannot be planned so well is still taken where the gain, HOPE_Z standard errors above its estimate, would
be shown with 69 %: normal_quantile(0.69)."""

MOST_PAIRS, FIRST_CONFIRM = 1.5, 0.35
"""Pairs that the confirmation of a winner may take, as a share of the plain design's n, and of these the first look."""

LEAST_PAIRS = 8
"""Pairs of a launch, where more launches would do: with fewer, two wild samples make a launch wild."""

MOST_LAUNCHES = 40
"""Launches that the confirmation of a winner may take in one look."""


def plain_pairs(within: float, comparisons: int) -> float:
    """Return the plain design's n from the variance of a pair: ``max(20, 2 (z s / 0.01)^2)`` with ``within = 2 s^2``.

    Args:
        within: Variance of a paired log-ratio.
        comparisons: Cells × sizes.

    Source: the contract of ``sweep`` (docs/sweep.md, cost.exhaustive_s).
    """
    return max(20.0, within * (comparisons_z(comparisons) / 0.01) ** 2)


def comparisons_z(comparisons: int) -> float:
    """Return the normal quantile of ``1 - 0.05 / (2 * comparisons)``."""
    return normal_quantile(1 - 0.05 / (2 * comparisons))


def launches_for(estimate: Estimate, pairs: float, least: int) -> int:
    """Return how many launches in all those pairs are to be spread over.

    So many that the spread between launches adds at most half of what the spread between pairs leaves:
    ``A / launches <= W / (2 pairs)``.
    """
    balanced = math.ceil(2 * estimate.between * pairs / estimate.within) if estimate.within > 0 else least
    return max(least, min(MOST_LAUNCHES, balanced, math.floor(pairs / LEAST_PAIRS)))


def futile(estimate: Estimate, detectable: float) -> bool:
    """Return whether a cell is clearly not faster than the default by what can be detected."""
    return estimate.high(FUTILE_Z) < detectable


def dominated(estimate: Estimate, best: Estimate) -> bool:
    """Return whether a cell is clearly slower than the best one at its point."""
    return estimate.high(DOMINATED_Z) < min(best.ratio, best.low(0.0))


def promising(estimate: Estimate, *, last: bool) -> bool:
    """Return whether the only cell left, or at the last look the best one, is worth confirming."""
    return estimate.ratio - (LAST_Z if last else CLEAR_Z) * estimate.error > WORTHWHILE


class ConfirmPlan(Record, frozen=True, kw_only=True):
    """How to measure a winner again."""

    launches: int
    """Fresh ones."""
    pairs: int
    """In each."""


def plan_confirmation(estimate: Estimate, finalists: int, look: int, most_pairs: float) -> ConfirmPlan | None:
    """Return what shows that a cell is worth changing to, None where that takes more than the plain design.

    The gain is taken half a standard error below its estimate, since the best of several looks better than it is.

    Args:
        estimate: Of the cell so far.
        finalists: Points at which a cell is confirmed.
        look: Number of looks at it so far.
        most_pairs: Over all launches.
    """
    z = normal_quantile(1 - CONFIRM_LOW_ALPHA * CONFIRM_ALPHAS[look] / finalists)
    gap = estimate.ratio - 0.5 * estimate.error - WORTHWHILE
    hope = estimate.ratio + HOPE_Z * estimate.error - WORTHWHILE
    plan = _pairs_for(estimate, (max(gap, hope / 4, 1e-4) / (z + POWER_Z)) ** 2)
    most = most_pairs * (FIRST_CONFIRM if look == 0 else 1.0)
    if plan.launches * plan.pairs > most:
        plan = plan.with_(pairs=max(LEAST_PAIRS, math.floor(most / plan.launches)))
    reached = math.sqrt(estimate.between / plan.launches + estimate.within / (plan.launches * plan.pairs))
    return plan if hope > (z + LEAST_POWER_Z) * reached * (math.sqrt(FIRST_CONFIRM) if look == 0 else 1.0) else None


def _pairs_for(estimate: Estimate, variance: float) -> ConfirmPlan:
    """Return launches, and pairs in each, after which the estimate has at most this variance, or nearly so."""
    unlimited = estimate.within / variance * 2
    wanted = min(math.ceil(2 * estimate.between / variance), MOST_LAUNCHES, math.floor(unlimited / LEAST_PAIRS))
    launches = max(3, wanted)
    left = max(variance - estimate.between / launches, variance / 10)
    return ConfirmPlan(launches=launches, pairs=max(LEAST_PAIRS, math.ceil(estimate.within / (launches * left))))
