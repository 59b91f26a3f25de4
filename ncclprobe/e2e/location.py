"""Where log-ratios lie, and how well that is known: M-estimates, which a few outliers hardly move.

Huber's for few values; from ``ENOUGH`` on Tukey's biweight, to which values far out count for nothing, but which few
values do not determine well. Letters of shapes: ``P`` samples, ``N`` values of each. docs/performance.md,
validate-e2e, says why.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]

ENOUGH = 16
"""Values from which on the biweight is taken: with fewer its simulated bounds are wider than Huber's."""
TUNING = 1.5
"""Huber's: standard deviations beyond which a value counts as if it lay there, 96 % efficient for normal values.
Source: Huber & Ronchetti, Robust Statistics (2009), section 4.5."""
BIWEIGHT = 4.685
"""Tukey's: standard deviations beyond which a value does not count, 95 % efficient for normal values. Source: Huber &
Ronchetti, Robust Statistics (2009), section 4.8."""
EVEN = 1.2076
"""The weights' mean for normal values, over the mean of psi's derivative: makes the error that of the centre."""
STEPS = 5
"""Of each iteration. What its last digits lack is in the simulated bounds as well."""
CONSISTENT = math.erf(TUNING / math.sqrt(2)) - 2 * TUNING * math.exp(-(TUNING**2) / 2) / math.sqrt(2 * math.pi)
CONSISTENT += TUNING**2 * math.erfc(TUNING / math.sqrt(2))
"""Mean square of a standard normal value cut at ``TUNING``: makes the scale the standard deviation of normal values."""
MAD = 0.6745
"""Median absolute deviation of standard normal values."""
LEAST_INSIDE = 0.3
"""Share of the values, or mean of their weights; with less, the error would be a division by next to nothing."""


def located(values_PN: Floats) -> tuple[Floats, Floats]:
    """Return each sample's centre and the standard error of that.

    Args:
        values_PN: Two or more values a sample.
    """
    centre_P1, scale_P1 = _solved(values_PN)
    if values_PN.shape[1] >= ENOUGH:
        return _weighted(values_PN, centre_P1, scale_P1)
    cut_PN = _cut(values_PN, centre_P1, scale_P1)
    inside_P = np.maximum((cut_PN == values_PN).mean(axis=1), LEAST_INSIDE)
    return centre_P1[:, 0], cut_PN.std(axis=1, ddof=1) / math.sqrt(values_PN.shape[1]) / inside_P


def _solved(values_PN: Floats) -> tuple[Floats, Floats]:
    """Return centre and scale, solved together (Proposal 2), from median and median absolute deviation on.

    Source: Huber, Annals of Mathematical Statistics 35 (1964) 73 (Proposal 2); Huber & Ronchetti, Robust Statistics
    (2009), section 6.5 (the studentized estimate)
    """
    centre_P1 = np.median(values_PN, axis=1, keepdims=True)
    scale_P1 = np.median(np.abs(values_PN - centre_P1), axis=1, keepdims=True) / MAD
    scale_P1 = np.where(scale_P1 > 0, scale_P1, values_PN.std(axis=1, keepdims=True))
    for _ in range(STEPS):
        cut_PN = _cut(values_PN, centre_P1, scale_P1)
        centre_P1 = cut_PN.mean(axis=1, keepdims=True)
        scale_P1 = cut_PN.std(axis=1, ddof=1, keepdims=True) / math.sqrt(CONSISTENT)
    return centre_P1, scale_P1


def _cut(values_PN: Floats, centre_P1: Floats, scale_P1: Floats) -> Floats:
    """Return the values, those too far out moved to the edge."""
    reach_P1 = TUNING * scale_P1
    return np.clip(values_PN, centre_P1 - reach_P1, centre_P1 + reach_P1)


def _weighted(values_PN: Floats, centre_P1: Floats, scale_P1: Floats) -> tuple[Floats, Floats]:
    """Return the biweight's centre with that scale, and the standard error of a weighted mean.

    The weights' mean takes the place of that of psi's derivative: it is never near 0, and the simulated bounds know it.

    Source: Beaton & Tukey, Technometrics 16 (1974) 147 (the weights); Street, Carroll & Ruppert, The American
    Statistician 42 (1988) 152 (errors from weights)
    """
    reach_P1 = np.where(scale_P1 > 0, BIWEIGHT * scale_P1, 1.0)
    for _ in range(STEPS):
        weight_PN = _weight((values_PN - centre_P1) / reach_P1)
        centre_P1 = (weight_PN * values_PN).sum(axis=1, keepdims=True) / weight_PN.sum(axis=1, keepdims=True)
    weight_PN, count = _weight((values_PN - centre_P1) / reach_P1), values_PN.shape[1]
    spread_P = np.sqrt(((weight_PN * (values_PN - centre_P1)) ** 2).sum(axis=1) / (count - 1))
    return centre_P1[:, 0], EVEN * spread_P / math.sqrt(count) / np.maximum(weight_PN.mean(axis=1), LEAST_INSIDE)


def _weight(distance_PN: Floats) -> Floats:
    return np.maximum(1 - distance_PN**2, 0) ** 2
