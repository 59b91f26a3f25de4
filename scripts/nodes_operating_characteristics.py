#!/usr/bin/env python3
"""Print precision, recall, coverage and cost of ``ncclprobe nodes`` over seeds, on simulated fabrics and on histories.

    scripts/nodes_operating_characteristics.py [--seeds 100] > data/nodes_simulated_<yyyymm>/results.txt

Fleets of more than 64 nodes run a tenth of the seeds. A line is one scenario; docs/nodes.md explains the columns.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from tabulate import tabulate

from ncclprobe.backends.fabric import Fabric, Noise, SlowLink, SlowRail
from ncclprobe.nodes.active import Plan, cost, run
from ncclprobe.nodes.attribute import Judgement, judge
from ncclprobe.nodes.simulated import SimulatedFleet
from ncclprobe.records.base import Interval
from ncclprobe.records.nodes import GroupValue, NodeStatus

PLAN = Plan(rounds=8, budget=12.0, threshold=0.05)
QUIET = Noise(cv=0.03)
LAUNCHES = Noise(cv=0.03, launch_cv=0.02)
HARD = Noise(cv=0.03, launch_cv=0.02, drift=0.1, outlier_rate=0.05, outlier_factor=4.0)
ROUGH = Noise(cv=0.03, launch_cv=0.03, launch_outlier_rate=0.02, launch_outlier_factor=1.5)


@dataclasses.dataclass(frozen=True)
class Truth:
    """What is slow: the shares of a healthy speed."""

    nodes: dict[str, float]
    links: dict[tuple[str, ...], float]
    rails: dict[str, float]


@dataclasses.dataclass(frozen=True)
class Score:
    """Counts of one run, or their sums."""

    due: int = 0
    """Slow things that must be named."""
    found: int = 0
    """Those of them that were."""
    named: int = 0
    right: int = 0
    alarms: int = 0
    suspects: int = 0
    covered: int = 0
    runs: int = 0
    measurements: float = 0.0
    gpu_minutes: float = 0.0

    def plus(self, other: Score) -> Score:
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return Score(*(a + b for a, b in pairs))


def scored(
    judgement: Judgement, truth: Truth, measurements: float, gpu_minutes: float, undue: Iterable[str] = ()
) -> Score:
    verdicts = [(v.node, v.status, v.slowdown, truth.nodes.get(v.node)) for v in judgement.nodes]
    verdicts += [("", v.status, v.slowdown, truth.links.get(v.nodes)) for v in judgement.links]
    verdicts += [("", v.status, v.slowdown, truth.rails.get(v.rail)) for v in judgement.rails]
    named = [(name, factor) for name, status, _, factor in verdicts if status is NodeStatus.SLOW]
    right = [name for name, factor in named if factor is not None]
    excused = set(undue)
    return Score(
        due=len(truth.nodes) + len(truth.links) + len(truth.rails) - len(excused),
        found=sum(name not in excused for name in right),
        named=len(named),
        right=len(right),
        alarms=int(len(right) < len(named)),
        suspects=sum(status is NodeStatus.SUSPECT for _, status, _, _ in verdicts),
        covered=int(all(_holds(interval, factor) for _, _, interval, factor in verdicts)),
        runs=1,
        measurements=measurements,
        gpu_minutes=gpu_minutes,
    )


def _holds(interval: Interval | None, factor: float | None) -> bool:
    slowdown = 0.0 if factor is None else 1 - factor
    return interval is None or interval.low - 1e-9 <= slowdown <= interval.high + 1e-9


def active(
    number: int,
    noise: Noise,
    *,
    slow: int = 0,
    factor: float = 0.85,
    link: float | None = None,
    rail: float | None = None,
) -> Callable[[int], Score]:
    """Return a scenario: a fleet with some slow nodes, perhaps a slow link or one slow rail of eight."""

    def once(seed: int) -> Score:
        rng = np.random.default_rng([seed, 2])
        nodes = tuple(f"dgx{i:04d}" for i in range(1, number + 1))
        order = [nodes[i] for i in rng.permutation(number)]
        truth = Truth(
            nodes=dict.fromkeys(order[:slow], factor),
            links={tuple(sorted(order[slow : slow + 2])): link} if link else {},
            rails={"mlx5_3": rail} if rail else {},
        )
        fabric = Fabric(
            name="scenario",
            nodes=nodes,
            gpus_per_node=8,
            rails=tuple(f"mlx5_{i}" for i in range(8)) if rail else (),
            times={},
            model={},
            noise=noise,
            slow_nodes=truth.nodes,
            slow_links=tuple(SlowLink(nodes=(a, b), factor=f) for (a, b), f in truth.links.items()),
            slow_rails=tuple(SlowRail(rail=name, factor=f) for name, f in truth.rails.items()),
            faults=(),
        )
        fleet = SimulatedFleet(fabric, seed)
        outcome = run(nodes, fleet.rails, fleet.measure, PLAN, np.random.default_rng([seed, 0]))
        spent = cost(outcome, number, fabric.gpus_per_node)
        return scored(outcome.judgement, truth, spent.measurements_per_node, spent.gpu_minutes_per_node)

    return once


def passive(
    number: int, rows: int, size: int, cv: float, *, slow: int = 0, drift: float = 0.0, outliers: float = 0.0
) -> Callable[[int], Score]:
    """Return a scenario: past jobs on random groups, some nodes at 0.85; those with too few rows are not counted."""

    def once(seed: int) -> Score:
        rng = np.random.default_rng([seed, 3])
        nodes = [f"n{i:04d}" for i in range(number)]
        truth = {nodes[i]: 0.85 for i in rng.permutation(number)[:slow]}
        values = []
        for row in range(rows):
            group = tuple(sorted(nodes[i] for i in rng.permutation(number)[:size]))
            speed = min([1.0, *(truth.get(node, 1.0) for node in group)])
            noise = cv * rng.standard_normal() + drift * math.sin(2 * math.pi * row / rows + 1)
            value = 3000 * speed * math.exp(noise) / (4 if rng.random() < outliers else 1)
            values.append(GroupValue(nodes=group, value=value, time=str(row) if drift else None))
        seen = sorted({node for value in values for node in value.nodes})
        undue = [node for node in truth if not _is_due(node, values, truth, cv)]
        return scored(judge(values, seen), Truth(truth, {}, {}), rows * size / number, 0.0, undue)

    return once


def _is_due(node: str, values: Iterable[GroupValue], truth: dict[str, float], cv: float) -> bool:
    """Return whether a history says enough: ln(1/0.85)·√rows/cv of 8, three rows and two partners of no slow node."""
    rows = [value for value in values if node in value.nodes and not (set(value.nodes) - {node}) & truth.keys()]
    enough = math.log(1 / truth[node]) * math.sqrt(len(rows)) / cv >= 8
    return enough and len(rows) >= 3 and len({value.nodes for value in rows}) >= 2


def scenarios() -> Iterator[tuple[str, int, Callable[[int], Score]]]:
    for number in (8, 64, 500):
        for label, noise in (("cv 0.03", QUIET), ("+ launch_cv 0.02", LAUNCHES), ("+ drift, outliers", HARD)):
            yield f"{number} nodes, healthy, {label}", number, active(number, noise)
            yield f"{number} nodes, 1 at 0.85, {label}", number, active(number, noise, slow=1)
    yield "64 nodes, 6 at 0.85, + drift, outliers", 64, active(64, HARD, slow=6)
    yield "500 nodes, 50 at 0.85, + drift, outliers", 500, active(500, HARD, slow=50)
    yield "8 nodes, link at 0.85, + drift, outliers", 8, active(8, HARD, link=0.85)
    yield "8 nodes, link at 0.6, + drift, outliers", 8, active(8, HARD, link=0.6)
    yield "64 nodes, rail at 0.8, 2 at 0.85, as before", 64, active(64, HARD, slow=2, rail=0.8)
    for factor in (0.97, 0.96, 0.95, 0.94, 0.92):
        yield f"64 nodes, 6 at {factor}, rough launches", 64, active(64, ROUGH, slow=6, factor=factor)
    yield "64 nodes, healthy, rough launches", 64, active(64, ROUGH)
    yield "CSV: 6 nodes, 12 pairs, healthy", 6, passive(6, 12, 2, 0.05)
    yield "CSV: 6 nodes, 12 pairs, 1 at 0.85", 6, passive(6, 12, 2, 0.02, slow=1)
    yield "CSV: 20 nodes, 60 pairs, healthy", 20, passive(20, 60, 2, 0.03)
    yield "CSV: 20 nodes, 60 pairs, 1 at 0.85", 20, passive(20, 60, 2, 0.03, slow=1)
    yield "CSV: 64 nodes, 256 pairs, 6, outliers", 64, passive(64, 256, 2, 0.03, slow=6, outliers=0.05)
    yield "CSV: 64 nodes, 200 fours, 10, drift", 64, passive(64, 200, 4, 0.03, slow=10, drift=0.1)
    yield "CSV: 512 nodes, 2048 pairs, 50", 512, passive(512, 2048, 2, 0.03, slow=50)


def row(label: str, total: Score, seconds: float) -> list[str]:
    recall = f"{total.found / total.due:.3f}" if total.due else "-"
    precision = f"{total.right / total.named:.3f}" if total.named and total.due else "-"
    return [
        label,
        str(total.runs),
        recall,
        precision,
        f"{total.alarms / total.runs:.3f}",
        f"{total.suspects / total.runs:.2f}",
        f"{total.covered / total.runs:.3f}",
        f"{total.measurements / total.runs:.1f}",
        f"{total.gpu_minutes / total.runs:.2f}",
        f"{seconds / total.runs:.2f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--only", default="", help="scenarios whose name holds this")
    options = parser.parse_args()
    rows = []
    for label, number, once in scenarios():
        if options.only not in label:
            continue
        started, total = time.monotonic(), Score()
        for seed in range(options.first, options.first + max(options.seeds // (10 if number > 64 else 1), 3)):
            total = total.plus(once(seed))
        rows.append(row(label, total, time.monotonic() - started))
    columns = ["scenario", "runs", "recall", "precision", "alarms", "suspects", "coverage", "meas.", "GPU-min", "s/run"]
    print(tabulate(rows, columns, tablefmt="simple", disable_numparse=True))


if __name__ == "__main__":
    main()
