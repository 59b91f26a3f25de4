"""Likelihood intervals of effects, and the tests by which a component is named, suspected or cleared.

Letters of shapes: see design.py; ``S`` are the components chosen, ``O`` offsets from an estimate.

Source: Wilks, Ann. Math. Statist. 9 (1938) 60, for the likelihood ratio; Student's quantile in place of the normal
one because sigma is estimated; Holm, Scand. J. Statist. 6 (1979) 65, section 2, for Bonferroni's families.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ncclprobe.nodes.design import Floats, Ints
from ncclprobe.nodes.model import Fit, best_effects, only
from ncclprobe.stats import t_quantile

FAR = 8.0
"""Beyond this effect nothing is looked for: a share of 0.03 % of a healthy component's speed."""


FASTEST = 3.0
"""No component is taken for more than twenty times as fast as the healthy ones."""


def narrowed(found: Fit, chosen_S: Ints) -> Fit:
    """Return the fit with some of its components only, renumbered in this order (ascending)."""
    part, here_P = only(found.design, chosen_S)
    return dataclasses.replace(
        found,
        design=part,
        seen_P=found.seen_P[here_P],
        spread_P=found.spread_P[here_P],
        limit_P=found.limit_P[here_P],
    )


def estimates(found: Fit, chosen_S: Ints) -> tuple[Floats, Floats]:
    """Return the most likely effects, and how much log-likelihood they gain over no effect."""
    best, gain = best_effects(narrowed(found, chosen_S), most=np.inf, steps=4)
    return np.clip(best, -FAR, FASTEST), gain


def bounds(found: Fit, chosen_S: Ints, best: Floats, alpha: float) -> tuple[Floats, Floats]:
    """Return the slower and the faster ends of intervals that each miss the truth with probability ``alpha`` at most.

    An end is infinite where the data exclude nothing on its side. Where some values are slow and others are not, both
    may be outliers; the interval then holds both.
    """
    if not len(chosen_S):
        return np.zeros(0), np.zeros(0)
    part = narrowed(found, chosen_S)
    floor = part.log_likelihood(best) - ratio_threshold(alpha / 2, found.state.df)
    low, high = _around(part, best, floor)
    healthy = part.log_likelihood(np.zeros(len(best))) >= floor
    apart_S = np.flatnonzero(healthy & ((low > 0) | (high < 0)))
    if len(apart_S):
        other_low, other_high = _around(narrowed(part, apart_S), np.zeros(len(apart_S)), floor[apart_S])
        low[apart_S] = np.minimum(low[apart_S], other_low)
        high[apart_S] = np.maximum(high[apart_S], other_high)
    return low, high


def _around(part: Fit, effect: Floats, floor: Floats) -> tuple[Floats, Floats]:
    """Return the ends of what the data do not exclude on both sides of effects."""
    unit = part.state.sigma / np.sqrt(part.design.count_C)
    return _end(part, effect, -unit, floor), _end(part, effect, unit, floor)


def ratio_threshold(p: float, df: float) -> float:
    """Return the log-likelihood ratio that a one-sided test at level ``p`` asks for."""
    return float(t_quantile(1 - p, df)) ** 2 / 2


def _end(part: Fit, best: Floats, unit: Floats, floor: Floats) -> Floats:
    """Return the outermost effect on one side that the data do not exclude; infinite where they exclude none."""
    steps_O = np.concatenate([[0.0], np.geomspace(0.25, FAR / np.min(np.abs(unit)), 32)])
    inside, allowed = best.copy(), np.zeros(len(best), dtype=bool)
    for step in steps_O:
        effect = best + step * unit
        allowed = part.log_likelihood(effect) >= floor
        inside = np.where(allowed, effect, inside)
    return np.where(allowed, np.sign(unit) * np.inf, _bisected(part, inside, best, unit, floor, steps_O))


def _bisected(part: Fit, inside: Floats, best: Floats, unit: Floats, floor: Floats, steps_O: Floats) -> Floats:
    """Return where between the outermost allowed step and the next the likelihood falls below the floor."""
    place = np.searchsorted(steps_O, (inside - best) / unit - 1e-9)
    outside = best + unit * steps_O[np.minimum(place + 1, len(steps_O) - 1)]
    for _ in range(12):
        middle = (inside + outside) / 2
        allowed = part.log_likelihood(middle) >= floor
        inside, outside = np.where(allowed, middle, inside), np.where(allowed, outside, middle)
    return outside


def excluded(found: Fit, chosen_S: Ints, best: Floats, effect: float) -> Floats:
    """Return by how much log-likelihood the data speak against an effect as slow as this one or slower."""
    part = narrowed(found, chosen_S)
    against = part.log_likelihood(best) - part.log_likelihood(np.full(len(best), effect))
    return np.where(best > effect, against, 0.0)
