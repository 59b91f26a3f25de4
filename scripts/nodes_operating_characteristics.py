#!/usr/bin/env python3
"""Print recall, precision, coverage and cost of ``ncclprobe nodes`` over seeds, on simulated fabrics and on histories.

    scripts/nodes_operating_characteristics.py [--seeds 200] [--only TEXT] > data/nodes_simulated_<yyyymm>/results.txt

A line is one scenario, written when it is done; docs/nodes.md explains the columns.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from ncclprobe.backends.fabric import Fabric, Noise, SlowLink, SlowRail
from ncclprobe.nodes.active import Plan, cost, run
from ncclprobe.nodes.attribute import Judgement, judge
from ncclprobe.nodes.csv import parse_results
from ncclprobe.nodes.history import PastRun, changes
from ncclprobe.nodes.rounds import survey
from ncclprobe.nodes.simulated import SimulatedFleet
from ncclprobe.nodesets import fold
from ncclprobe.records.base import Interval
from ncclprobe.records.nodes import NodeStatus

PLAN = Plan(rounds=8, budget=12.0, threshold=0.05)
ROUGH = Noise(cv=0.03, launch_cv=0.03, launch_outlier_rate=0.02, launch_outlier_factor=1.5)
DRIFTING = Noise(cv=0.03, launch_cv=0.03, launch_outlier_rate=0.02, launch_outlier_factor=1.5, drift=0.1)
DUE = 8.0
"""A fault of a history must be named from ln(1/(1 - depth)) sqrt(rows) / cv = 8 on."""

Row = tuple[tuple[str, ...], float]
Pair = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Truth:
    """What is slow: depths below healthy."""

    nodes: dict[str, float]
    links: dict[Pair, float] = dataclasses.field(default_factory=dict)
    rails: dict[str, float] = dataclasses.field(default_factory=dict)


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
    """Runs that name something healthy."""
    suspects: int = 0
    held: int = 0
    """Nodes whose interval holds the truth."""
    nodes: int = 0
    runs: int = 0
    measurements: float = 0.0
    gpu_minutes: float = 0.0

    def plus(self, other: Score) -> Score:
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return Score(*(a + b for a, b in pairs))


Scenario = Callable[[int], Score]


def scored(judgement: Judgement, truth: Truth, excused: Iterable[object] = ()) -> Score:
    """Return the counts of one judgement; who is excused may be named, but need not."""
    verdicts: list[tuple[object, NodeStatus, float | None]] = [
        *((v.node, v.status, truth.nodes.get(v.node)) for v in judgement.nodes),
        *((v.nodes, v.status, truth.links.get(v.nodes)) for v in judgement.links),
        *((v.rail, v.status, truth.rails.get(v.rail)) for v in judgement.rails),
    ]
    named = [(name, depth) for name, status, depth in verdicts if status is NodeStatus.SLOW]
    right = [name for name, depth in named if depth is not None]
    undue = set(excused)
    return Score(
        due=len({*truth.nodes, *truth.links, *truth.rails} - undue),
        found=sum(name not in undue for name in right),
        named=len(named),
        right=len(right),
        alarms=int(len(right) < len(named)),
        suspects=sum(status is NodeStatus.SUSPECT for _, status, _ in verdicts),
        held=sum(_holds(v.slowdown, truth.nodes.get(v.node, 0.0)) for v in judgement.nodes),
        nodes=len(judgement.nodes),
        runs=1,
    )


def _holds(interval: Interval | None, slowdown: float) -> bool:
    return interval is None or interval.low - 1e-9 <= slowdown <= interval.high + 1e-9


def active(
    number: int,
    slow: int = 0,
    depth: tuple[float, float] = (0.0, 0.0),
    *,
    link: tuple[float, float] | None = None,
    rail: float | None = None,
    noise: Noise = ROUGH,
) -> Scenario:
    """Return a scenario: a fleet with some slow nodes of depths in a range, perhaps a slow link or a rail of eight."""

    def once(seed: int) -> Score:
        rng = np.random.default_rng([seed, 2])
        nodes = tuple(f"dgx{i:04d}" for i in range(1, number + 1))
        order = [nodes[i] for i in rng.permutation(number)]
        truth = Truth(
            nodes=dict(zip(order[:slow], rng.uniform(*depth, slow).tolist(), strict=True)),
            links={tuple(sorted(order[slow : slow + 2])): float(rng.uniform(*link))} if link else {},
            rails={"mlx5_3": rail} if rail else {},
        )
        fleet = SimulatedFleet(_fabric(nodes, truth, noise, rails=8 if rail else 0), seed)
        outcome = run(nodes, fleet.rails, fleet.measure, PLAN, np.random.default_rng([seed, 0]))
        spent = cost(outcome, number, 8)
        return dataclasses.replace(
            scored(outcome.judgement, truth),
            measurements=spent.measurements_per_node,
            gpu_minutes=spent.gpu_minutes_per_node,
        )

    return once


def _fabric(nodes: tuple[str, ...], truth: Truth, noise: Noise, *, rails: int) -> Fabric:
    return Fabric(
        name="scenario",
        nodes=nodes,
        gpus_per_node=8,
        rails=tuple(f"mlx5_{i}" for i in range(rails)),
        times={},
        model={},
        noise=noise,
        slow_nodes={node: 1 - depth for node, depth in truth.nodes.items()},
        slow_links=tuple(SlowLink(nodes=(a, b), factor=1 - d) for (a, b), d in truth.links.items()),
        slow_rails=tuple(SlowRail(rail=name, factor=1 - d) for name, d in truth.rails.items()),
        faults=(),
    )


@dataclasses.dataclass(frozen=True)
class History:
    """Past jobs on random groups; each node is in about ``per_node`` of them."""

    number: int
    per_node: float = 8.0
    size: int = 2
    cv: float = 0.03
    slow: int = 1
    depth: float = 0.15
    link: float | None = None
    looks: int = 3
    """Jobs on the slow link."""
    lonely: float | None = None
    """Depth of one more node that is in one job only."""
    missing: float = 0.0
    drift: float = 0.0
    outliers: float = 0.0
    folded: bool = False
    times: bool = False
    tournament: bool = True
    """Whether jobs run side by side on all nodes; else each is drawn on its own."""

    def __call__(self, seed: int) -> Score:
        rng = np.random.default_rng([seed, 3])
        nodes = [f"n{i:04d}" for i in range(self.number)]
        order = [nodes[i] for i in rng.permutation(self.number)]
        truth = Truth(nodes=dict.fromkeys(order[: self.slow], self.depth))
        groups = [group for group in self._groups(nodes, rng) if rng.random() >= self.missing]
        if self.link is not None:
            pair = tuple(sorted(order[-2:]))
            groups = _with_link([group for group in groups if group != pair], pair, self.looks, rng)
            truth.links[pair] = self.link
        if self.lonely is not None:
            groups.append(("lonely", order[-1]))
            truth.nodes["lonely"] = self.lonely
        text = self._csv(groups, truth, rng)
        results = parse_results(text, "drawn", lower_is_better=self.times)
        seen = sorted({node for value in results.values for node in value.nodes})
        judgement = judge(results.values, seen)
        return scored(judgement, truth, self._undue(groups, truth))

    def _groups(self, nodes: Sequence[str], rng: np.random.Generator) -> Iterator[Pair]:
        at_once = len(nodes) // self.size if self.tournament else 1
        for _ in range(round(self.per_node * len(nodes) / self.size / at_once)):
            order = rng.permutation(len(nodes))
            for k in range(at_once):
                yield tuple(sorted(nodes[i] for i in order[k * self.size : (k + 1) * self.size]))

    def _csv(self, groups: Sequence[Pair], truth: Truth, rng: np.random.Generator) -> str:
        lines = ["nodes,value" + (",time" if self.drift else "")]
        for place, group in enumerate(groups):
            depth = max([0.0, truth.links.get(group, 0.0), *(truth.nodes.get(node, 0.0) for node in group)])
            noise = self.cv * rng.standard_normal() + self.drift * math.sin(2 * math.pi * place / len(groups) + 1)
            value = 3000 * (1 - depth) * math.exp(noise) / (4 if rng.random() < self.outliers else 1)
            names = fold(group) if self.folded else ",".join(group)
            shown = 1e6 / value if self.times else value
            lines.append(f'"{names}",{shown:.6g}' + (f",{1.7e9 + 60 * place:.0f}" if self.drift else ""))
        return "\n".join(lines) + "\n"

    def _undue(self, groups: Sequence[Pair], truth: Truth) -> list[object]:
        """Return the slow nodes that this history does not say enough of: rows with another slow one don't count."""
        undue: list[object] = []
        for node, depth in truth.nodes.items():
            rows = [group for group in groups if node in group and not (set(group) - {node}) & truth.nodes.keys()]
            enough = math.log(1 / (1 - depth)) * math.sqrt(len(rows)) / self.cv >= DUE
            if not (enough and len(rows) >= 3 and len(set(rows)) >= 2):
                undue.append(node)
        return undue + [pair for pair in truth.links if self.looks < 3]


def _with_link(groups: Sequence[Pair], pair: Pair, looks: int, rng: np.random.Generator) -> list[Pair]:
    places = rng.integers(len(groups) + 1, size=looks)
    mixed = list(groups)
    for place in sorted(places.tolist(), reverse=True):
        mixed.insert(place, pair)
    return mixed


def earlier(number: int, runs: int, since: int, depth: float) -> Scenario:
    """Return a scenario: surveys on different days; from one on, a node is slow, which is due with its date."""

    def once(seed: int) -> Score:
        rng = np.random.default_rng([seed, 4])
        nodes = tuple(f"dgx{i:04d}" for i in range(number))
        changed = nodes[int(rng.integers(number))]
        past = []
        for day in range(runs):
            truth = Truth(nodes={changed: depth} if day >= since else {})
            fleet = SimulatedFleet(_fabric(nodes, truth, ROUGH, rails=0), 1000 * seed + day)
            rounds = itertools.islice(survey(nodes, (), rng), 8)
            values = tuple(value for planned in rounds for value in fleet.measure(planned))
            past.append(PastRun(time=f"2026-11-{day + 1:02d}", source=str(day), values=values))
        found = changes(past, PLAN.threshold)
        right = sum(c.node == changed and c.earliest <= since <= c.latest and since < runs for c in found)
        due = int(since < runs)
        return Score(
            due=due, found=min(right, due), named=len(found), right=right, alarms=int(right < len(found)), runs=1
        )

    return once


def timed(slow: int, depth: float) -> float:
    """Return the seconds in which eight rounds of pairs of 10,000 nodes are judged."""
    rng = np.random.default_rng(1)
    nodes = tuple(f"dgx{i:05d}" for i in range(10_000))
    truth = Truth(nodes={nodes[i]: depth for i in rng.permutation(len(nodes))[:slow]})
    fleet = SimulatedFleet(_fabric(nodes, truth, ROUGH, rails=0), 1)
    values = [value for planned in itertools.islice(survey(nodes, (), rng), 8) for value in fleet.measure(planned)]
    started = time.perf_counter()
    judge(values, nodes)
    return time.perf_counter() - started


def scenarios() -> Iterator[tuple[str, Scenario]]:
    for number, slow in ((64, 6), (512, 48), (4096, 384)):
        yield f"{number} nodes, {slow} slow by 6 to 20 %", active(number, slow, (0.06, 0.2))
        yield f"{number} nodes, {slow} slow by 4.5 to 6 %", active(number, slow, (0.045, 0.06))
    yield "64 nodes, 1 slow by 6 to 20 %", active(64, 1, (0.06, 0.2))
    yield "64 nodes, healthy", active(64)
    yield "8 nodes, a link slow by 15 to 40 %", active(8, link=(0.15, 0.4))
    yield "8 nodes, healthy", active(8)
    yield "64 nodes, healthy, drift 10 %", active(64, noise=DRIFTING)
    yield "64 nodes, 6 slow by 6 to 20 %, drift 10 %", active(64, 6, (0.06, 0.2), noise=DRIFTING)
    yield "64 nodes, rail and 2 nodes slow by 20 %", active(64, 2, (0.2, 0.2), rail=0.2)
    for percent in (2, 3, 3.5, 4, 4.5, 5, 5.5, 6, 8):
        yield f"curve: 64 nodes, 6 slow by {percent:g} %", active(64, 6, (percent / 100, percent / 100))
    for number, slow in ((64, 3), (512, 20), (4096, 100)):
        yield f"CSV: {number} nodes, {slow} slow, pairs", History(number, slow=slow)
    yield "CSV: 64 nodes, 6 slow by 6 %, 28 rows each", History(64, per_node=28, slow=6, depth=0.06)
    yield "CSV: 64 nodes, 6 slow by 30 %, cv 0.1", History(64, per_node=10, slow=6, depth=0.3, cv=0.1)
    yield "CSV: 64 nodes, 3 slow by 25 %, 3 rows each", History(64, per_node=3, slow=3, depth=0.25)
    yield "CSV: 64 nodes, 4 slow, groups of four", History(64, per_node=12, size=4, slow=4)
    yield "CSV: 64 nodes, 4 slow, folded names", History(64, slow=4, folded=True)
    yield "CSV: 64 nodes, 4 slow, a third missing", History(64, slow=4, missing=1 / 3)
    yield "CSV: 64 nodes, 4 slow, drift in time", History(64, slow=4, drift=0.1)
    yield "CSV: 64 nodes, 4 slow, times", History(64, slow=4, times=True)
    yield "CSV: 64 nodes, 10 slow", History(64, slow=10)
    yield "CSV: 64 nodes, 4 slow, 5 % outliers", History(64, per_node=10, slow=4, outliers=0.05)
    yield "CSV: 64 nodes, healthy", History(64, slow=0)
    yield "CSV: 64 nodes, a link slow by 15 %, 3 looks", History(64, slow=0, link=0.15)
    yield "CSV: 64 nodes, a link slow by 30 %, 4 looks", History(64, slow=0, link=0.3, looks=4)
    yield "CSV: 512 nodes, a link slow by 15 %, 3 looks", History(512, slow=0, link=0.15)
    yield "CSV: 64 nodes, a link slow by 30 %, 1 look", History(64, slow=0, link=0.3, looks=1)
    yield "CSV: 64 nodes, one slow by 30 %, 1 row", History(64, slow=0, lonely=0.3)
    yield "CSV: 20 nodes, 60 pairs, 1 slow", History(20, per_node=6, tournament=False)
    yield "CSV: 20 nodes, 60 pairs, healthy", History(20, per_node=6, slow=0, tournament=False)
    yield "CSV: 64 nodes, 10 slow by 8 %, 10 rows each", History(64, per_node=10, slow=10, depth=0.08)
    yield "runs: 64 nodes, 8 runs, 1 slower by 10 %", earlier(64, 8, since=5, depth=0.1)
    yield "runs: 64 nodes, 8 runs, nothing changed", earlier(64, 8, since=8, depth=0.1)


COLUMNS = ("runs", "recall", "precision", "alarms", "suspects", "coverage", "meas.", "GPU-min", "s/run")


def row(total: Score, seconds: float) -> list[str]:
    return [
        str(total.runs),
        f"{total.found / total.due:.4f}" if total.due else "-",
        f"{total.right / total.named:.4f}" if total.named else "-",
        f"{total.alarms / total.runs:.3f}",
        f"{total.suspects / total.runs:.2f}",
        f"{total.held / total.nodes:.4f}" if total.nodes else "-",
        f"{total.measurements / total.runs:.1f}" if total.measurements else "-",
        f"{total.gpu_minutes / total.runs:.2f}" if total.gpu_minutes else "-",
        f"{seconds / total.runs:.2f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--only", default="", help="scenarios whose name holds this")
    options = parser.parse_args()
    print(f"{'scenario':46}" + "".join(f"{name:>10}" for name in COLUMNS), flush=True)
    for label, once in scenarios():
        if options.only not in label:
            continue
        started, total = time.process_time(), Score()
        for seed in range(options.first, options.first + options.seeds):
            total = total.plus(once(seed))
        cells = row(total, time.process_time() - started)
        print(f"{label:46}" + "".join(f"{cell:>10}" for cell in cells), flush=True)
    for slow, depth in ((100, 0.15), (1000, 0.05)) if options.only in "10000 nodes" else ():
        print(f"10000 nodes, {slow} slow by {100 * depth:g} %, 40000 pairs: judged in {timed(slow, depth):.1f} s")


if __name__ == "__main__":
    main()
