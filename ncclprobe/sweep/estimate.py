"""From evidence to estimates: each cell's log-ratio against the default, with its standard error.

The launch is the unit of replication: a cell's value in a launch is a robust location of its paired log-ratios there;
its variance is ``A + W / m``, A between launches (pooled over all cells and sizes), W between pairs, m pairs.
docs/performance.md has the formulas.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ncclprobe.records.base import Record
from ncclprobe.records.sweep import Cell, Environment, Point
from ncclprobe.stats import between_variance, huber_mean, prior_df, t_quantile, trusted_rank
from ncclprobe.sweep.evidence import Evidence, LaunchSummary, matrix

Floats = npt.NDArray[np.float64]
Group = tuple[Point, Cell]

OUTLIERS = 0.05, 1e-4
"""Share of samples that may be wild, and how unlikely more of them than can be left out may be."""

LAUNCH_OUTLIERS = 0.02, 1.5e-3
"""The same of launches."""

WITHIN_PRIOR_DF = 10.0
"""Degrees of freedom that a point's common variance between pairs is worth beside a cell's own."""


class Estimate(Record, frozen=True, kw_only=True):
    """A cell's log-ratio: log(default's time / cell's time)."""

    ratio: float
    """The location."""
    error: float
    """Its standard error, the spread between launches included."""
    df: float
    """Degrees of freedom of the error."""
    pairs: int
    """Over all launches."""
    launches: int
    """In which it was measured."""
    within: float
    """Variance of a single pair within a launch."""
    between: float
    """Variance between launches, common to all cells."""
    lowest: tuple[tuple[float, float], ...]
    """Values with their standard errors that are the truth's, were all others too high; none where that is absurd."""
    highest: tuple[tuple[float, float], ...]
    """The same, were all others too low."""

    def interval(self, low_alpha: float, high_alpha: float) -> tuple[float, float]:
        """Return the ends that miss the truth below and above with these probabilities."""
        low, high = (float(t_quantile(1 - alpha, self.df)) for alpha in (low_alpha, high_alpha))
        return self.low(low), self.high(high)

    def low(self, z: float) -> float:
        """Return the end that many standard errors down."""
        return min(value - z * error for value, error in ((self.ratio, self.error), *self.lowest))

    def high(self, z: float) -> float:
        """Return the end that many standard errors up."""
        return max(value + z * error for value, error in ((self.ratio, self.error), *self.highest))


def estimate(evidence: Evidence, groups: list[Group], launches: list[int]) -> dict[Group, Estimate]:
    """Return the estimates of those groups that were measured in those launches.

    Cells of environments of their own ran in other processes than the default: their spreads are pooled apart.

    Args:
        evidence: All that was measured; the spread between launches is pooled over every launch in it.
        groups: Cells at points.
        launches: Those whose values count for the location; all others count for the spread alone.
    """
    beside = [group for group in groups if not group[1].env]
    across = [group for group in groups if group[1].env]
    return _pooled(evidence, beside, launches) | (_pooled(evidence, across, launches) if across else {})


def _pooled(evidence: Evidence, groups: list[Group], launches: list[int]) -> dict[Group, Estimate]:
    everything = list(evidence.launches)
    summaries = {group: _summaries(evidence, group, everything) for group in groups}
    measured = [group for group, found in summaries.items() if found]
    if not measured:
        return {}
    spread = _Spread(measured, summaries, _within(measured, summaries), everything)
    chosen = [group for group in measured if any(index in summaries[group] for index in launches)]
    return spread.estimates(chosen, launches) if chosen else {}


def _summaries(evidence: Evidence, group: Group, launches: list[int]) -> dict[int, LaunchSummary]:
    point, cell = group
    found = {index: evidence.summaries(point, index).get(cell) for index in launches}
    return {index: summary for index, summary in found.items() if summary is not None}


def _within(groups: list[Group], summaries: dict[Group, dict[int, LaunchSummary]]) -> dict[Group, float]:
    """Return each group's variance of a pair, drawn towards the point's common one where it has few pairs."""
    own = {group: _pair_variance(list(summaries[group].values())) for group in groups}
    common: dict[Point, tuple[float, float]] = {}
    for (point, _), (variance, df) in own.items():
        total, weight = common.get(point, (0.0, 0.0))
        common[point] = total + variance * df, weight + df
    result = {}
    for group, (variance, df) in own.items():
        total, weight = common[group[0]]
        shared = total / weight if weight else 0.0
        result[group] = (WITHIN_PRIOR_DF * shared + df * variance) / (WITHIN_PRIOR_DF + df)
    return result


def _pair_variance(summaries: list[LaunchSummary]) -> tuple[float, float]:
    """Return the biweight's asymptotic variance of one pair, and its degrees of freedom."""
    count = sum(summary.count for summary in summaries)
    df = count - len(summaries)
    slope = max(sum(summary.slope for summary in summaries), 0.3 * count)
    if df <= 0:
        return 0.0, 0.0
    return sum(summary.psi2 for summary in summaries) * count / slope**2 * count / df, float(df)


class _Spread:
    """The spread between launches, pooled over all groups."""

    def __init__(
        self,
        groups: list[Group],
        summaries: dict[Group, dict[int, LaunchSummary]],
        within: dict[Group, float],
        launches: list[int],
    ) -> None:
        self.summaries, self.within, self.columns = summaries, within, launches
        self.rows = {group: i for i, group in enumerate(groups)}
        self.values_GL = matrix(({i: s.location for i, s in summaries[g].items()} for g in groups), launches)
        self.noise_GL = matrix(
            ({i: within[g] / s.count + 1e-14 for i, s in summaries[g].items()} for g in groups), launches
        )
        self.between = between_variance(self.values_GL, self.noise_GL)
        squares = huber_mean(self.values_GL, self.noise_GL + self.between)[2]
        counts = np.isfinite(self.values_GL).sum(axis=1)
        self.df0 = prior_df(squares, counts - 1.0, _pooled_df(groups, counts))

    def estimates(self, groups: list[Group], launches: list[int]) -> dict[Group, Estimate]:
        """Return the estimates of groups from the values of some launches."""
        rows = [self.rows[group] for group in groups]
        chosen = np.isin(self.columns, launches)
        values_GL = self.values_GL[rows][:, chosen]
        location, precision, square = huber_mean(values_GL, self.noise_GL[rows][:, chosen] + self.between)
        counts = np.isfinite(values_GL).sum(axis=1)
        df = self.df0 + counts - 1
        own = np.where(counts > 1, (counts - 1) * square, 0.0)
        error = np.sqrt((self.df0 + own) / df / precision)
        return {
            group: self._estimate(group, launches, float(location[i]), float(error[i]), float(df[i]))
            for i, group in enumerate(groups)
        }

    def _estimate(self, group: Group, launches: list[int], ratio: float, error: float, df: float) -> Estimate:
        found = [summary for index, summary in self.summaries[group].items() if index in launches]
        return Estimate(
            ratio=ratio,
            error=error,
            df=df,
            pairs=sum(summary.count for summary in found),
            launches=len(found),
            within=self.within[group],
            between=self.between,
            lowest=_trusted(found, self.within[group], self.between, sign=-1),
            highest=_trusted(found, self.within[group], self.between, sign=1),
        )


def _pooled_df(groups: list[Group], counts: npt.NDArray[np.int64]) -> float:
    """Return the degrees of freedom of the pooled spread between launches.

    Cells at a point share the default, which correlates their ratios by 1/2: the variance of the mean of k such
    squares is (1 + (k - 1) / 4) / k times that of one. What an environment's processes have in common is in all its
    cells and points alike, so they count once, and environments share the default's processes.
    """
    cells: dict[Point | None, list[int]] = {}
    environments: dict[Environment, int] = {}
    for (point, cell), count in zip(groups, counts, strict=True):
        if cell.env:
            environments[cell.env] = max(int(count) - 1, environments.get(cell.env, 0))
        elif count > 1:
            cells.setdefault(point, []).append(int(count) - 1)
    cells |= {None: list(environments.values())} if environments else {}
    return max(1.0, sum(sum(dfs) / (1 + (len(dfs) - 1) / 4) for dfs in cells.values()))


def _trusted(
    summaries: list[LaunchSummary], within: float, between: float, *, sign: int
) -> tuple[tuple[float, float], ...]:
    """Return the samples' and the launches' values next to the extreme one, as far as it can be trusted.

    With few samples or launches, half of them may be wild. The value of trusted_rank is then still a good one, and the
    truth lies within the standard error of as many good ones. Empty where the robust location cannot break down.
    """
    ratios = sorted((sign * ratio for summary in summaries for ratio in summary.ratios), reverse=True)
    values = sorted((sign * summary.location for summary in summaries), reverse=True)
    a, b = trusted_rank(len(ratios), *OUTLIERS), trusted_rank(len(values), *LAUNCH_OUTLIERS)
    count = len(ratios) / len(values)
    found = []
    if a < len(ratios) // 2:
        found.append((sign * ratios[a], math.sqrt(within / (a + 1))))
    if b < len(values) // 2:
        found.append((sign * values[b], math.sqrt((between + within / count) / (b + 1))))
    return tuple(found)
