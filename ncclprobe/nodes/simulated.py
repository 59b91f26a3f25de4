"""A simulated fleet: draws what the groups of a round would show. It never sleeps, and counts the time it would take.

Letters of shapes: ``A`` groups of a round, ``S`` samples of a group, ``T`` steps of simulated time.

Source of the drift: the Ornstein-Uhlenbeck process; Gillespie, Phys. Rev. E 54 (1996) 2084, eq. 2.47 (exact update).
"""

from __future__ import annotations

import math
import re

import numpy as np
import numpy.typing as npt

from ncclprobe.backends.fabric import Fabric
from ncclprobe.records.nodes import Group, GroupValue, Round
from ncclprobe.records.sweep import DEFAULT_CELL

Floats = npt.NDArray[np.float64]

DRIFT_TIME_S = 2.0
"""Correlation time of the drift, in simulated seconds."""

SAMPLES, WARMUPS = 15, 2
"""Of one group in one round; the median of 15 is hardly moved by one sample in twenty being an outlier."""

LEAST_SAMPLES, PATIENCE = 3, 4.0
"""A group that is slow ends after this many times a healthy group's time, but not before so many samples."""

LONGEST_S = 0.025
"""The operation measured is the largest of the fabric's table that takes at most so long."""

NOMINAL_BYTES, NOMINAL_GBPS = 1 << 28, 40.0
"""What is measured where the fabric has neither table nor model: 256 MiB at 80 % of a 400 Gbit/s port's rate."""


class SimulatedFleet:
    """Measures groups of a described fabric; its values are bandwidths in GB/s."""

    def __init__(self, fabric: Fabric, seed: int) -> None:
        self.fabric, self.rails = fabric, rail_names(fabric)
        self._rng = np.random.default_rng([seed, 1])
        self._drift = float(self._rng.standard_normal())
        self._links = {frozenset(link.nodes): link.factor for link in fabric.slow_links}
        self._rails = {rail.rail: rail.factor for rail in fabric.slow_rails}
        self._bytes, self._seconds = _operation(fabric)

    def measure(self, planned: Round) -> list[GroupValue]:
        """Return the values of a round's groups, drawn at the same simulated time."""
        speed_A = np.array([self._speed(group) for group in planned.groups]) / self._launch_factors(len(planned.groups))
        times_AS = self._times(speed_A)
        kept = [_kept(times, self._seconds) for times in times_AS]
        return [
            GroupValue(
                nodes=group.nodes,
                value=float(self._bytes / np.median(times) / 1e9),
                unit="GB/s",
                rail=group.rail,
                round=planned.index,
                samples=tuple(float(rate) for rate in self._bytes / times / 1e9),
                seconds=float(spent),
            )
            for group, (times, spent) in zip(planned.groups, kept, strict=True)
        ]

    def _speed(self, group: Group) -> float:
        """Return the share of a healthy group's speed: that of its slowest node, link or rail."""
        rails = [group.rail] if group.rail is not None else list(self.rails)
        links = (self._links.get(frozenset((a, b)), 1.0) for a in group.nodes for b in group.nodes if a < b)
        nodes = (self.fabric.slow_nodes.get(node, 1.0) for node in group.nodes)
        return min([1.0, *nodes, *links, *(self._rails.get(rail, 1.0) for rail in rails)])

    def _launch_factors(self, number: int) -> Floats:
        noise = self.fabric.noise
        factor = np.exp(_sigma(noise.launch_cv) * self._rng.standard_normal(number))
        far = self._rng.random(number) < noise.launch_outlier_rate
        return np.where(far, factor * noise.launch_outlier_factor, factor)

    def _times(self, speed_A: Floats) -> Floats:
        """Return each group's times in seconds, warm-ups first."""
        noise, shape = self.fabric.noise, (len(speed_A), WARMUPS + SAMPLES)
        times = self._seconds / speed_A[:, None] * np.exp(_sigma(noise.cv) * self._rng.standard_normal(shape))
        times = np.where(self._rng.random(shape) < noise.outlier_rate, times * noise.outlier_factor, times)
        return times * np.exp(noise.drift * self._drifts(times)) if noise.drift else times

    def _drifts(self, times_AS: Floats) -> Floats:
        """Return the drift at each sample's start, which all groups share, and go on to the end of the round."""
        starts = np.cumsum(times_AS, axis=1) - times_AS
        step = max(self._seconds, float(np.max(starts)) / 2000)
        keep = math.exp(-step / DRIFT_TIME_S)
        path = [self._drift]
        for push in self._rng.standard_normal(int(np.max(starts) / step) + 1):
            path.append(keep * path[-1] + math.sqrt(1 - keep * keep) * float(push))
        self._drift = path[-1]
        return np.array(path)[(starts / step).astype(np.int64)]


def rail_names(fabric: Fabric) -> tuple[str, ...]:
    """Return the fabric's rails; where only slow ones are named, the others follow their pattern, one a GPU."""
    if fabric.rails or not fabric.slow_rails:
        return fabric.rails
    named = [rail.rail for rail in fabric.slow_rails]
    match = re.fullmatch(r"(.*[^0-9]|)([0-9]{1,18})", named[0])
    guessed = [f"{match[1]}{number}" for number in range(fabric.gpus_per_node)] if match else []
    return tuple(dict.fromkeys([*guessed, *named]))


def _operation(fabric: Fabric) -> tuple[int, float]:
    """Return the bytes of the operation that is measured, and a healthy group's seconds for it."""
    table = {point: cells[DEFAULT_CELL] / 1e6 for point, cells in fabric.times.items() if DEFAULT_CELL in cells}
    short = {point: time for point, time in table.items() if time <= LONGEST_S}
    if table:
        point = max(short, key=lambda p: p.size_bytes) if short else min(table, key=lambda p: table[p])
        return point.size_bytes, table[point]
    rate = max((bandwidth for _, bandwidth in fabric.model.values()), default=NOMINAL_GBPS)
    return NOMINAL_BYTES, min(NOMINAL_BYTES / rate / 1e9, LONGEST_S)


def _kept(times_S: Floats, healthy: float) -> tuple[Floats, float]:
    """Return the samples taken before patience ended, and the seconds of all with the warm-ups."""
    ends = np.cumsum(times_S)
    number = int(np.searchsorted(ends, PATIENCE * healthy * len(times_S))) + 1
    number = min(max(number, WARMUPS + LEAST_SAMPLES), len(times_S))
    return times_S[WARMUPS:number], float(ends[number - 1])


def _sigma(cv: float) -> float:
    """Return the standard deviation of the log of a log-normal value with this coefficient of variation."""
    return math.sqrt(math.log1p(cv * cv))
