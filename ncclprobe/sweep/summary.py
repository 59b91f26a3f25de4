"""From a race to what is reported: cells, winners, gain and cost."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ncclprobe.bandwidth import algbw, busbw
from ncclprobe.names import Collective
from ncclprobe.records.sweep import DEFAULT_CELL, Cell, CellResult, Cost, Point, Ratio, Status, Summary
from ncclprobe.stats import median_interval
from ncclprobe.sweep.race import Race
from ncclprobe.sweep.rules import comparisons_z
from ncclprobe.units import Bytes, Seconds


def cell_results(race: Race) -> tuple[CellResult, ...]:
    """Return every cell at every point, the default first."""
    cells = (DEFAULT_CELL, *race.plan.cells)
    return tuple(_cell_result(race, point, cell) for point in race.plan.points for cell in cells)


def _cell_result(race: Race, point: Point, cell: Cell) -> CellResult:
    status, message = status_of(race, point, cell)
    logs = list(race.evidence.log_times(point, cell))
    times = np.exp(np.concatenate(logs)) if logs else np.array([])
    median, low, high = median_interval(times) if len(times) else (None, None, None)
    seconds, size = Seconds((median or 0) / 1e6), Bytes(point.size_bytes)
    collective = Collective(point.collective)
    return CellResult(
        collective=point.collective,
        dtype=point.dtype,
        size_bytes=point.size_bytes,
        algo=cell.algo,
        proto=cell.proto,
        nchannels=cell.nchannels,
        env=dict(cell.env),
        samples=len(times),
        time_us=None if median is None or low is None or high is None else Summary(median=median, low=low, high=high),
        algbw_gbps=algbw(size, seconds) if seconds else None,
        busbw_gbps=busbw(collective, size, seconds, race.plan.nranks) if seconds else None,
        wrong=race.evidence.wrong[point, cell],
        status=status,
        vs_default=race.ratios.get((point, cell)) if status in (Status.OK, Status.ELIMINATED) else None,
        message=message,
    )


def gain(race: Race, weights: Mapping[Point, float] | None = None) -> Ratio:
    """Return the geometric mean of the gains over all points, those that don't change counting as 1.

    With an environment's variables it was measured as such. Else the winners' intervals hold together, so the mean of
    their ends holds, too, however the points depend on each other and however the winners were selected.

    Args:
        race: A finished race.
        weights: The time that the workload spends at each point; None weighs all alike.
    """
    if race.overall is not None:
        return race.overall
    weight = {point: 1.0 if weights is None else weights.get(point, 0.0) for point in race.plan.points}
    total = sum(weight.values()) or 1.0
    ratios = {point: race.ratios[point, cell] for point, cell in race.winners.items()}

    def mean(end: str) -> float:
        return math.exp(sum(weight[point] * math.log(getattr(ratio, end)) for point, ratio in ratios.items()) / total)

    return Ratio(ratio=mean("ratio"), low=mean("low"), high=mean("high"))


def cost(race: Race) -> Cost:
    """Return what the race took and what the plain design would take at the measured medians.

    Source: the contract of ``sweep`` (docs/sweep.md, cost.exhaustive_s).
    """
    groups = [(point, cell) for point in race.plan.points for cell in (DEFAULT_CELL, *race.plan.cells)]
    logs = {g: np.concatenate(found) for g in groups if g[1] not in race.evidence.out and (found := _logs(race, *g))}
    pooled = sum(float(np.sum((values - values.mean()) ** 2)) for values in logs.values())
    df = sum(len(values) - 1 for values in logs.values())
    comparisons = max(1, sum(not cell.is_default for _, cell in logs))
    spread = math.sqrt(pooled / df) if df else 0.0
    n = max(20.0, 2 * (comparisons_z(comparisons) * spread / 0.01) ** 2)
    once = sum(
        float(np.exp(np.median(values))) * race.evidence.operations[point] for (point, _), values in logs.items()
    )
    return Cost(measured_s=race.evidence.spent_s, exhaustive_s=n * once / 1e6)


def _logs(race: Race, point: Point, cell: Cell) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    return list(race.evidence.log_times(point, cell))


def status_of(race: Race, point: Point, cell: Cell) -> tuple[Status, str]:
    """Return how a cell ended at a point, and why."""
    if cell in race.evidence.out:
        return race.evidence.out[cell]
    if (point, cell) in race.evidence.refused:
        return Status.REFUSED, race.evidence.refused[point, cell]
    if not cell.is_default and race.dropped(point, cell):
        return Status.ELIMINATED, ""
    return Status.OK, ""
