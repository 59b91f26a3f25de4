"""Medians, robust locations, spreads within and between launches, and the quantiles that intervals need.

Letters of shapes: ``G`` groups (a cell at a point), ``L`` launches, ``N`` samples of a group. NaN means "not measured".
docs/performance.md tells how a sweep puts these together.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]

BIWEIGHT = 4.685
"""Cut-off for 95 % efficiency at the normal. Source: Huber & Ronchetti, Robust Statistics (2009), section 4.8."""

HUBER = 2.5
"""Cut-off of the weights between launches, 99 % efficiency at the normal. Source: as above, section 4.5."""


LEAST_DF = 8.0
"""Degrees of freedom that a common spread is worth at the least."""

INDEPENDENT = 0.4
"""Share of the groups that count as independent: cells at a point share the default."""


def normal_quantile(p: float) -> float:
    """Return the standard normal quantile."""
    return float(special.ndtri(p))


def t_quantile(p: float, df: Floats | float) -> Floats:
    """Return Student's quantile for any positive degrees of freedom, elementwise."""
    return np.asarray(special.stdtrit(np.asarray(df, dtype=float), p), dtype=float)


def median_interval(values: Floats, level: float = 0.95) -> tuple[float, float, float]:
    """Return the median and the ends of its distribution-free interval; the extremes where there are too few values.

    Args:
        values: One or more, shape ``N``.
        level: Coverage, 0 to 1.

    Source: Conover, Practical Nonparametric Statistics (1999), section 3.2.
    """
    ordered = np.sort(values)
    n = len(ordered)
    rank = int(special.bdtrik((1 - level) / 2, n, 0.5)) if n > 5 else 0
    return float(np.median(ordered)), float(ordered[rank]), float(ordered[n - 1 - rank])


@functools.lru_cache(maxsize=4096)
def trusted_rank(n: int, rate: float, bound: float) -> int:
    """Return how many of n values' extremes can be left out so that one good value is kept.

    The answer ``a`` is the largest for which more than ``n - 1 - a`` of the values are bad with a probability of at
    most ``bound``, each being bad with probability ``rate``: the value of rank ``a`` from the end is then no worse than
    a good one.
    """
    for a in range(n // 2, 0, -1):
        if special.bdtrc(n - 1 - a, n, rate) <= bound:
            return a
    return 0


def pair_scale(differences_NG: Floats) -> float:
    """Return a robust standard deviation from neighbours' differences: it needs no centre and ignores slow drift.

    Args:
        differences_NG: Samples in order of time, a column a group.

    Returns:
        The scale; 0 where no column has two samples.

    Source: the median absolute difference of neighbours over sqrt(2) times its normal value, 0.6745.
    """
    steps = np.abs(np.diff(differences_NG, axis=0))
    steps = steps[np.isfinite(steps)]
    return float(np.median(steps) / (math.sqrt(2) * 0.6745)) if len(steps) else 0.0


def biweight(values_NG: Floats, scale: float) -> tuple[Floats, Floats, Floats]:
    """Return each column's location by Tukey's biweight, and the sums that its variance follows from.

    Args:
        values_NG: Samples, a column a group; NaN where missing.
        scale: Their standard deviation without outliers; 0 makes it the median.

    Returns:
        Locations, sums of psi squared and sums of psi's derivative, shape ``G`` each.

    Source: Huber & Ronchetti, Robust Statistics (2009), sections 4.8 and 6.4.
    """
    present = np.isfinite(values_NG)
    centre = np.nanmedian(values_NG, axis=0)
    if scale <= 0:
        return centre, np.zeros_like(centre), np.sum(present, axis=0).astype(float)
    cut = BIWEIGHT * scale
    for _ in range(8):
        u2 = np.where(present, ((values_NG - centre) / cut) ** 2, 1.0)
        weight = np.where(u2 < 1, (1 - u2) ** 2, 0.0)
        total = np.sum(weight, axis=0)
        centre = np.where(total > 0, np.nansum(weight * values_NG, axis=0) / np.maximum(total, 1e-300), centre)
    residual = np.where(present, values_NG - centre, cut)
    u2 = np.minimum((residual / cut) ** 2, 1.0)
    psi = np.where(u2 < 1, residual * (1 - u2) ** 2, 0.0)
    slope = np.where(u2 < 1, (1 - u2) * (1 - 5 * u2), 0.0)
    return centre, np.sum(psi**2, axis=0), np.sum(slope, axis=0)


def huber_mean(values_GL: Floats, variances_GL: Floats) -> tuple[Floats, Floats, Floats]:
    """Return each row's weighted location over launches, its precision and its residual mean square.

    Args:
        values_GL: A value a launch; NaN where missing.
        variances_GL: Their variances, as far as known.

    Returns:
        Locations; the sum of the weights (1/variance, less for launches far off); the mean of squared standardised
        residuals, cut at HUBER and put right for that, with one degree of freedom spent (NaN with a single launch).

    Source: Huber & Ronchetti, Robust Statistics (2009), sections 4.5 and 7.6.
    """
    present = np.isfinite(values_GL)
    precision = np.where(present, 1 / variances_GL, 0.0)
    root = np.sqrt(precision)
    values = np.where(present, values_GL, 0.0)
    centre = _weighted_median(values_GL, precision)
    for _ in range(20):
        standard = np.abs(values - centre[:, None]) * root
        weight = precision * np.minimum(1.0, HUBER / np.maximum(standard, 1e-12))
        before, centre = centre, (weight * values).sum(axis=1) / np.maximum(weight.sum(axis=1), 1e-300)
        if np.all(np.abs(centre - before) <= 1e-9):
            break
    standard = np.abs(values - centre[:, None]) * root
    count = present.sum(axis=1)
    inside = (present & (standard < HUBER)).sum(axis=1)
    clipped = (np.minimum(standard, HUBER) ** 2).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_square = clipped / (count - 1) * np.where(inside > 0, count / np.maximum(inside, 1), 1.0)
    return centre, precision.sum(axis=1), np.where(count > 1, mean_square, np.nan)


def _weighted_median(values_GL: Floats, weights_GL: Floats) -> Floats:
    """Return each row's weighted median, the mean of both middle values where the weights balance."""
    order = np.argsort(np.where(np.isfinite(values_GL), values_GL, np.inf), axis=1)
    ordered = np.take_along_axis(values_GL, order, axis=1)
    total = np.cumsum(np.take_along_axis(weights_GL, order, axis=1), axis=1)
    half = total[:, -1:] / 2
    low = np.argmax(total >= half * (1 - 1e-9), axis=1)
    high = np.argmax(total > half * (1 + 1e-9), axis=1)
    rows = np.arange(len(values_GL))
    return np.asarray((ordered[rows, low] + ordered[rows, high]) / 2)


def between_variance(values_GL: Floats, within_GL: Floats) -> float:
    """Return the variance between launches that all groups share.

    Args:
        values_GL: A value a launch; NaN where missing.
        within_GL: Their variances within a launch.

    Returns:
        The variance at which the residuals' mean square is 1 on average, groups of precise values counting for more;
        0 where they are smaller without it.

    Source: Paule & Mandel, J. Res. NBS 87 (1982) 377, with Huber's residuals, pooled over groups.
    """
    count = np.sum(np.isfinite(values_GL), axis=1)
    usable = count > 1
    if not np.any(usable):
        return 0.0
    values, within, df = values_GL[usable], within_GL[usable], count[usable] - 1

    def excess(variance: float) -> float:
        weight = np.nanmean(1 / (within + variance), axis=1)
        return float(np.sum(weight * df * (huber_mean(values, within + variance)[2] - 1)))

    low, high = 0.0, float(np.nanmax(np.nanvar(values, axis=1))) * 4 + 1e-12
    if excess(low) <= 0:
        return 0.0
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return (low + high) / 2


def prior_df(mean_squares_G: Floats, df_G: Floats, most: float) -> float:
    """Return how many degrees of freedom the groups' common spread is worth: few where they scatter unalike.

    Args:
        mean_squares_G: Each group's residual mean square, about 1; NaN where it has none.
        df_G: Their degrees of freedom.
        most: The answer's upper end.

    Source: Smyth, Stat. Appl. Genet. Mol. Biol. 3 (2004) 3, section 6.2.
    """
    usable = np.isfinite(mean_squares_G) & (df_G > 0) & (mean_squares_G > 1e-12)
    if np.sum(usable) < 3:
        return most
    half = df_G[usable] / 2
    e = np.log(mean_squares_G[usable]) - special.digamma(half) + np.log(half)
    expected = special.polygamma(1, half)
    fourth = np.mean(special.polygamma(3, half) + 2 * expected**2)
    doubt = 2 * math.sqrt(float(fourth) / len(e) / INDEPENDENT)
    spread = float(np.var(e, ddof=1) - np.mean(expected))
    if spread <= doubt:
        return most
    return float(min(most, max(LEAST_DF, 2 * _inverse_trigamma(spread))))


def _inverse_trigamma(value: float) -> float:
    """Return x with trigamma(x) = value, by Newton's steps on its reciprocal."""
    x = 0.5 + 1 / value
    for _ in range(30):
        tri = float(special.polygamma(1, x))
        step = tri * (1 - tri / value) / float(special.polygamma(2, x))
        x += step
        if abs(step) < 1e-9 * x:
            break
    return x
