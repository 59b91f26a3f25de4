"""How environments stand: one holds for a whole process, so it is judged by what it gives over all sizes.

Its gain is the weighted mean over sizes of the log-ratio of its cell at each; positive is faster than the default in
the environment as it is. docs/performance.md has the formulas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ncclprobe.records.base import Record
from ncclprobe.records.sweep import DEFAULT_CELL, Cell, Environment, Point
from ncclprobe.stats import between_variance, huber_mean
from ncclprobe.sweep import rules
from ncclprobe.sweep.estimate import Estimate, Group, estimate
from ncclprobe.sweep.evidence import Evidence, matrix

Cells = Mapping[Point, Cell]

DETECTABLE_GAIN = 0.01
"""An environment that could still be this much faster over all sizes than the best without it goes on."""
OWN_Z = 2.2
"""Standard errors by which a cell must beat its environment's own default to run there, as to end that one's race."""


class Standing(Record, frozen=True, kw_only=True):
    """What is known of an environment's gain."""

    cells: dict[Point, Cell]
    """What would run at each size."""
    ratio: float
    """The gain."""
    error: float
    """Its standard error: the mean of the sizes' errors, for they have the environment's processes in common."""


def standing(
    env: Environment, points: Sequence[Point], estimates: Mapping[Group, Estimate], cells: Cells | None = None
) -> Standing | None:
    """Return an environment's gain with its best cells, None where it has no estimate at some size.

    Args:
        env: Which; the empty one has the default at least, whose gain is 0.
        points: Sizes, of equal weight.
        estimates: So far.
        cells: What runs at each size; None takes the cell with the best estimate.
    """
    best = cells or _best(env, points, estimates)
    if len(best) < len(points) or any(not c.is_default and (p, c) not in estimates for p, c in best.items()):
        return None
    known = [estimates[point, cell] for point, cell in best.items() if not cell.is_default]
    return Standing(
        cells=dict(best),
        ratio=sum(e.ratio for e in known) / len(points),
        error=sum(e.error for e in known) / len(points),
    )


def _best(env: Environment, points: Sequence[Point], estimates: Mapping[Group, Estimate]) -> Cells:
    ratios = {group: e.ratio for group, e in estimates.items() if group[1].env == env}
    if not env:
        ratios |= {(point, DEFAULT_CELL): 0.0 for point in points}
    best: dict[Point, Cell] = {}
    for (point, cell), ratio in ratios.items():
        if point not in best or ratio > ratios[point, best[point]]:
            best[point] = cell
    return best


def deployable(
    env: Environment, points: Sequence[Point], cells: Sequence[Cell], evidence: Evidence, launches: list[int]
) -> Cells:
    """Return what would run at each size: the environment's best cell where it clearly beats its own default.

    Both ran in the same processes, so they are told apart far better than environments are. Where the library's own
    choice is refused, the best cell runs; a size that has neither is left out.

    Args:
        env: Which.
        points: Sizes.
        cells: Without environment.
        evidence: Of all environments.
        launches: Whose values count.
    """
    own = evidence.under(env)
    groups = [(p, c) for p in points for c in cells if own.usable(p, c) and evidence.usable(p, c.under(env))]
    estimates = estimate(own, groups, launches)
    chosen = {}
    for point in points:
        found = {cell: estimates[point, cell] for cell in cells if (point, cell) in estimates}
        best = max(found, key=lambda cell: found[cell].ratio, default=None)
        if best is not None and found[best].ratio - OWN_Z * found[best].error > rules.WORTHWHILE:
            chosen[point] = best.under(env)
        elif evidence.usable(point, DEFAULT_CELL.under(env)):
            chosen[point] = DEFAULT_CELL.under(env)
    return chosen


def hopeless(mine: Standing, base: Standing, best: Standing) -> bool:
    """Return whether an environment clearly cannot be the choice.

    Args:
        mine: The environment's.
        base: That of the environment as it is.
        best: The highest of all.
    """
    dominated = mine.ratio + rules.DOMINATED_Z * mine.error < best.ratio
    return dominated or mine.ratio + rules.FUTILE_Z * mine.error < base.ratio + DETECTABLE_GAIN


def gain(evidence: Evidence, cells: Cells, against: Cells, estimates: Mapping[Group, Estimate],
         stages: Mapping[str, list[int]]) -> Estimate | None:  # fmt: skip
    """Return the estimate of a gain over all sizes from whole launches, None with fewer than two.

    A launch's value is the mean over sizes, so whatever its sizes have in common is in the spread between launches,
    and the interval holds however they depend on each other.

    Args:
        evidence: All that was measured.
        cells: What runs at each size.
        against: What it is compared with at each size.
        estimates: For the variance of a pair.
        stages: Launches by stage; the last one's values count, those of the others for the spread alone.
    """
    rows = [
        {i: v for i in launches if (v := _launch_gain(evidence, cells, against, i))} for launches in stages.values()
    ]
    if not rows or len(rows[-1]) < 2:
        return None
    within = _within(cells, against, estimates)
    columns = sorted({index for row in rows for index in row})
    values_GL = matrix(({i: value for i, (value, _) in row.items()} for row in rows), columns)
    noise_GL = matrix(({i: within / count + 1e-14 for i, (_, count) in row.items()} for row in rows), columns)
    between = between_variance(values_GL, noise_GL)
    location, precision, _ = huber_mean(values_GL[-1:], noise_GL[-1:] + between)
    return Estimate(
        ratio=float(location[0]),
        error=float(1 / np.sqrt(precision[0])),
        df=float(sum(max(0, len(row) - 1) for row in rows)),
        pairs=sum(count for _, count in rows[-1].values()),
        launches=len(rows[-1]),
        within=within,
        between=between,
        lowest=(),
        highest=(),
    )


def _launch_gain(evidence: Evidence, cells: Cells, against: Cells, index: int) -> tuple[float, int] | None:
    """Return a launch's value and the least number of pairs in it, None where a size is missing."""
    total, counts = 0.0, []
    for point in cells:
        summaries = evidence.summaries(point, index)
        for cell, sign in ((cells[point], 1), (against[point], -1)):
            if not cell.is_default:
                if cell not in summaries:
                    return None
                total += sign * summaries[cell].location
                counts.append(summaries[cell].count)
    return total / len(cells), min(counts, default=0)


def _within(cells: Cells, against: Cells, estimates: Mapping[Group, Estimate]) -> float:
    groups = [(p, c) for side in (cells, against) for p, c in side.items() if (p, c) in estimates]
    return sum(estimates[group].within for group in groups) / len(cells) ** 2
