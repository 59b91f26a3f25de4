"""From a finished race to what its choice saves the workload whose messages were measured.

The winners' intervals hold together, so sums of their ends hold, too. docs/performance.md has the formulas.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from ncclprobe.findings import Finding, info
from ncclprobe.records.base import Interval
from ncclprobe.records.prediction import PredictedSize, Prediction, Workload
from ncclprobe.records.sweep import DEFAULT_CELL, Point, Ratio
from ncclprobe.sweep.race import Race

NOTHING = Interval(estimate=0.0, low=0.0, high=0.0)
PARTLY = 0.05
"""Share of the messages' estimated time from which on it is said that sizes don't stand for it."""


def default_us(race: Race, point: Point) -> float | None:
    """Return the median time of the library's own choice, None where it was not timed."""
    logs = list(race.evidence.log_times(point, DEFAULT_CELL))
    return float(np.exp(np.median(np.concatenate(logs)))) if logs else None


def weights(race: Race, workload: Workload) -> dict[Point, float]:
    """Return the time that the workload spends at each point, in µs."""
    by_size = {one.size_bytes: one.equivalent for one in workload.weights}
    timed = ((point, default_us(race, point)) for point in race.plan.points if point.size_bytes in by_size)
    return {point: by_size[point.size_bytes] * time for point, time in timed if time is not None}


def predicted(race: Race, workload: Workload) -> Prediction | None:
    """Return what the choice saves, None where nothing was timed."""
    sizes = tuple(_sizes(race, workload))
    time_us = sum(one.time_us for one in sizes)
    if time_us <= 0:
        return None
    saved = _sum(one.saved_us for one in sizes)
    share = _scaled(saved, 1 / time_us)
    return Prediction(
        workload=workload,
        sizes=sizes,
        time_us=time_us,
        saved_us=saved,
        saved_share=share,
        saved_per_step_us=_scaled(saved, 1 / workload.steps) if workload.steps else None,
        end_to_end=_end_to_end(share, workload),
    )


def _sizes(race: Race, workload: Workload) -> Iterator[PredictedSize]:
    operations = {one.size_bytes: one.operations for one in workload.weights}
    winners = race.winners
    for point, time_us in weights(race, workload).items():
        ratio = race.ratios[point, winners[point]] if point in winners else None
        yield PredictedSize(
            size_bytes=point.size_bytes,
            operations=operations.get(point.size_bytes, 0),
            time_us=time_us,
            saved_us=NOTHING if ratio is None else _scaled(_saved(ratio), time_us),
        )


def _saved(ratio: Ratio) -> Interval:
    """Return the share of a time that is saved when it is divided by a ratio."""
    return Interval(estimate=1 - 1 / ratio.ratio, low=1 - 1 / ratio.low, high=1 - 1 / ratio.high)


def _sum(parts: Iterable[Interval]) -> Interval:
    ends = [(one.estimate, one.low, one.high) for one in parts]
    estimate, low, high = (math.fsum(end[i] for end in ends) for i in range(3))
    return Interval(estimate=estimate, low=low, high=high)


def _scaled(interval: Interval, factor: float) -> Interval:
    return Interval(estimate=interval.estimate * factor, low=interval.low * factor, high=interval.high * factor)


def _end_to_end(share: Interval, workload: Workload) -> Interval | None:
    """Return the workload's speed with the choice over that without: 1 / (1 - communication · covered · saved)."""
    if workload.comm_share is None:
        return None
    part = workload.comm_share * workload.covered
    estimate, low, high = (1 / (1 - min(0.99, part * one)) for one in (share.estimate, share.low, share.high))
    return Interval(estimate=estimate, low=low, high=high)


def doubts(workload: Workload) -> tuple[Finding, ...]:
    """Return what a prediction leaves out, and what the profile's own counts leave open."""
    missing = 1 - workload.covered
    if missing <= PARTLY:
        return workload.doubts
    parts = ", ".join(f"{part.what} {part.share:.0%}" for part in workload.left_out[:4])
    message = f"{missing:.0%} of the workload's communication, by an estimate, is in messages not measured: {parts}"
    hint = "Sweep the other collectives with --collective; each sweep of a profile measures one."
    return (info("profile-partly", workload.source, message, hint), *workload.doubts)
