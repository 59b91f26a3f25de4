"""The noise of a group's value: normal on the log scale, or an outlier that can be anywhere.

Source: the contaminated normal and its weights; McLachlan & Peel, Finite Mixture Models (2000), section 7.5.
"""

from __future__ import annotations

import math

import numpy as np

from ncclprobe.nodes.design import Floats

BACKGROUND = 0.02
"""Density of an outlier's logarithm, the same everywhere: a value some 4.7 standard deviations off counts as one."""

FAST = 1e-6
"""Outliers on the fast side are so much rarer: what slows a group comes and goes, but nothing makes it faster."""

LEAST_SIGMA = 0.002
"""Noise of a group's value is never taken for less: 0.2 %, the scatter within a launch (docs/performance.md)."""


def log_density(error: Floats, spread: Floats | float, rate: float) -> Floats:
    """Return the log-density of a value's noise: normal, or an outlier with probability ``rate``."""
    outlier = np.where(error < 0, _outlier(rate), _outlier(rate * FAST))
    return np.asarray(outlier + np.log(1 + _odds(error, spread, rate)))


def probability(error: Floats, spread: Floats | float, rate: float) -> Floats:
    """Return the probability that a value with this error is no outlier."""
    odds = _odds(error, spread, rate)
    return np.asarray(odds / (1 + odds))


def _outlier(rate: float) -> float:
    return math.log(rate * BACKGROUND)


def _odds(error: Floats, spread: Floats | float, rate: float) -> Floats:
    """Return how many times as dense the normal part is as the outliers; at most some 1e15, as sigma has a floor."""
    normal = math.log1p(-rate) - 0.5 * math.log(2 * math.pi) - 0.5 * (error / spread) ** 2 - np.log(spread)
    return np.asarray(np.exp(normal - np.where(error < 0, _outlier(rate), _outlier(rate * FAST))))
