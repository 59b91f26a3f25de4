"""What all groups share at a time: a level that wanders from epoch to epoch, found by smoothing.

Letters of shapes: ``E`` epochs, ``Q`` trial speeds of the wandering.

Source: the local level model, its filter, likelihood and smoother; Durbin & Koopman, Time Series Analysis by State
Space Methods (2012), sections 2.2 (filter), 2.4 (smoother), 2.9 (diffuse start) and 2.10 (likelihood).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SPEEDS = np.array([0.0, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1000.0])
"""Trial variances of a step between epochs, in units of one value's variance."""


def smooth(mean_E: Floats, weight_E: Floats, sigma: float) -> tuple[Floats, Floats]:
    """Return the level at each epoch and its variance, the wandering's speed being the most likely one.

    Any wandering at all costs 1 of log-likelihood, the price of a parameter (Akaike, IEEE Trans. Autom. Control 19
    (1974) 716).

    Args:
        mean_E: Mean of the epoch's values; of no meaning where its weight is 0.
        weight_E: How many values that mean is worth.
        sigma: Standard deviation of one value, over 0.
    """
    variance_E = sigma**2 / np.maximum(weight_E, 1e-9)
    levels, variances, predicted, likelihood = _filter(mean_E, variance_E, SPEEDS * sigma**2)
    best = int(np.argmax(likelihood - (SPEEDS > 0)))
    return _backwards(levels[:, best], variances[:, best], predicted[:, best])


def _filter(mean_E: Floats, variance_E: Floats, step_Q: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return filtered levels, their variances, the variances predicted (shape ``EQ`` each) and log-likelihoods."""
    shape = (len(mean_E), len(step_Q))
    levels, variances, predicted = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    level, variance = np.full(len(step_Q), mean_E[0]), np.full(len(step_Q), variance_E[0])
    levels[0], variances[0], predicted[0] = level, variance, variance
    likelihood = np.zeros(len(step_Q))
    for epoch in range(1, len(mean_E)):
        ahead = variance + step_Q
        total = ahead + variance_E[epoch]
        error = mean_E[epoch] - level
        likelihood -= (np.log(total) + error**2 / total) / 2
        gain = ahead / total
        level, variance = level + gain * error, ahead * (1 - gain)
        levels[epoch], variances[epoch], predicted[epoch] = level, variance, ahead
    return levels, variances, predicted, likelihood


def _backwards(level_E: Floats, variance_E: Floats, predicted_E: Floats) -> tuple[Floats, Floats]:
    """Return the smoothed levels and variances of one speed (Rauch, Tung and Striebel's recursion)."""
    level, variance = level_E.copy(), variance_E.copy()
    for epoch in range(len(level) - 2, -1, -1):
        share = variance_E[epoch] / predicted_E[epoch + 1]
        level[epoch] += share * (level[epoch + 1] - level_E[epoch])
        variance[epoch] += share**2 * (variance[epoch + 1] - predicted_E[epoch + 1])
    return level, variance
