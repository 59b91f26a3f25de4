"""Where log-ratios lie, and how well that is known: Huber's M-estimate, which a few outliers hardly move.

Letters of shapes: ``P`` samples, ``N`` values of each. docs/performance.md, validate-e2e, says why.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]

TUNING = 1.5
"""Standard deviations beyond which a value counts as if it lay there: 96 % efficient for normal values. Source: Huber &
Ronchetti, Robust Statistics (2009), section 4.5."""
STEPS = 5
"""Of the iteration. What its last digits lack is in the simulated bounds as well."""
CONSISTENT = math.erf(TUNING / math.sqrt(2)) - 2 * TUNING * math.exp(-(TUNING**2) / 2) / math.sqrt(2 * math.pi)
CONSISTENT += TUNING**2 * math.erfc(TUNING / math.sqrt(2))
"""Mean square of a standard normal value cut at ``TUNING``: makes the scale the standard deviation of normal values."""
MAD = 0.6745
"""Median absolute deviation of standard normal values."""
LEAST_INSIDE = 0.3
"""Share of the values; with fewer of them uncut, the error would be a division by next to nothing."""


def located(values_PN: Floats) -> tuple[Floats, Floats]:
    """Return each sample's centre and the standard error of that.

    Centre and scale are solved together (Proposal 2), from median and median absolute deviation on.

    Args:
        values_PN: Two or more values a sample.

    Source: Huber, Annals of Mathematical Statistics 35 (1964) 73 (Proposal 2); Huber & Ronchetti, Robust Statistics
    (2009), section 6.5 (the studentized estimate)
    """
    count = values_PN.shape[1]
    centre_P1 = np.median(values_PN, axis=1, keepdims=True)
    scale_P1 = np.median(np.abs(values_PN - centre_P1), axis=1, keepdims=True) / MAD
    scale_P1 = np.where(scale_P1 > 0, scale_P1, values_PN.std(axis=1, keepdims=True))
    for _ in range(STEPS):
        cut_PN = _cut(values_PN, centre_P1, scale_P1)
        centre_P1 = cut_PN.mean(axis=1, keepdims=True)
        scale_P1 = cut_PN.std(axis=1, ddof=1, keepdims=True) / math.sqrt(CONSISTENT)
    cut_PN = _cut(values_PN, centre_P1, scale_P1)
    inside_P = np.maximum((cut_PN == values_PN).mean(axis=1), LEAST_INSIDE)
    return centre_P1[:, 0], cut_PN.std(axis=1, ddof=1) / math.sqrt(count) / inside_P


def _cut(values_PN: Floats, centre_P1: Floats, scale_P1: Floats) -> Floats:
    """Return the values, those too far out moved to the edge."""
    reach_P1 = TUNING * scale_P1
    return np.clip(values_PN, centre_P1 - reach_P1, centre_P1 + reach_P1)
