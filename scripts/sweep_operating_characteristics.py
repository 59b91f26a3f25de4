#!/usr/bin/env python3
"""How often a sweep is right, and what it costs: many seeds on simulated fabrics whose truth is known.

    scripts/sweep_operating_characteristics.py [--seeds 200] [--jobs N] [--out FILE] [PATTERN ...]

A line a scenario and kind of noise:
  change     share of runs that change anything (to be at most 0.01 where nothing is worth it)
  found      share of runs in which the planted winner is chosen at each of its sizes; least of them
  regret     mean over sizes and runs of (time of the choice / best possible time - 1)
  cover      share of runs in which all vs_default intervals hold the truth
  cost       cost.measured_s / cost.exhaustive_s, the runs' mean and worst
  broken     runs that chose a cell which hangs or sums wrongly
"""

from __future__ import annotations

import argparse
import concurrent.futures
import fnmatch
import json
import math
import pathlib
import sys
import time
from typing import Any

from ncclprobe.backends.fabric import Fabric, Fault, Noise
from ncclprobe.backends.simulated import SimulatedBackend
from ncclprobe.records.sweep import DEFAULT_CELL, Cell, LaunchEnd, Point
from ncclprobe.sweep.race import Race, RacePlan
from ncclprobe.sweep.summary import cost

SIZES = tuple(8 * 8**i for i in range(10))
PAIRS = [Cell(algo=algo, proto=proto) for algo in ("Tree", "Ring") for proto in ("LL", "LL128", "Simple")]
LATENCY = {"LL": 5.6, "LL128": 7.2, "Simple": 11.0}
BANDWIDTH = {"LL": 45.0, "LL128": 300.0, "Simple": 360.0}
CHANNEL_SPEED = {1: 0.045, 4: 0.18, 16: 0.7, 24: 1.0}

Times = dict[int, dict[Cell, float]]


def flat(gains: dict[tuple[int, Cell], float] | None = None) -> Times:
    """All cells equal the default, but for planted gains (1.10 is 10 % faster)."""
    base = {size: 6.0 + size / 300e3 for size in SIZES}
    times = {size: dict.fromkeys([DEFAULT_CELL, *PAIRS], base[size]) for size in SIZES}
    for (size, cell), gain in (gains or {}).items():
        times[size][cell] /= gain
    return times


def slower() -> Times:
    """The default is best; cells are 0.3 % to 200 % slower, one 0.4 % faster."""
    times = flat()
    for size in SIZES:
        for cell, factor in zip(PAIRS, (0.996, 1.003, 1.01, 1.03, 1.2, 3.0), strict=True):
            times[size][cell] *= factor
    return times


def modelled(cells: list[Cell], default_of: dict[int, Cell]) -> Times:
    """A healthy NVLink host's shape: latency by protocol, bandwidth by protocol and channels."""
    times: Times = {}
    for size in SIZES:
        times[size] = {cell: modelled_time(cell, size) for cell in cells}
        times[size][DEFAULT_CELL] = times[size][default_of[size]]
    return times


def modelled_time(cell: Cell, size: int) -> float:
    latency = LATENCY[cell.proto] * (1.0 if cell.algo == "Tree" else 1.03)
    bandwidth = BANDWIDTH[cell.proto] * (1.0 if cell.algo == "Ring" else 0.93 if size < 1 << 29 else 1.04)
    bandwidth *= CHANNEL_SPEED[cell.nchannels] if cell.nchannels else 1.0
    return latency + size / bandwidth / 1e3


def nccl_like(channels: tuple[int | None, ...] = (None,)) -> Times:
    cells = [Cell(algo=c.algo, proto=c.proto, nchannels=n) for c in PAIRS for n in channels]
    most = channels[-1]
    chosen = {
        size: Cell(
            algo="Ring", proto="LL" if size <= 1 << 15 else "LL128" if size < 1 << 20 else "Simple", nchannels=most
        )
        for size in SIZES
    }
    return modelled(cells, chosen)


def ranges() -> Times:
    gains = {(s, PAIRS[0]): 1.10 for s in SIZES[:3]} | {(s, PAIRS[4]): 1.10 for s in SIZES[3:6]}
    return flat(gains | {(s, PAIRS[2]): 1.10 for s in SIZES[6:9]})


def few(gain: float) -> Times:
    """Two cells only, one of them faster at the largest sizes."""
    cells = [PAIRS[2], PAIRS[5]]
    full = flat({(size, PAIRS[2]): gain for size in SIZES[7:]})
    return {
        size: {cell: time for cell, time in row.items() if cell.is_default or cell in cells}
        for size, row in full.items()
    }


WINNER = PAIRS[1]
SCENARIOS: dict[str, Any] = {
    "equal": lambda: (flat(), []),
    "slower": lambda: (slower(), []),
    "one10": lambda: (flat({(size, WINNER): 1.10 for size in SIZES[4:8]}), []),
    "one3": lambda: (flat({(size, WINNER): 1.03 for size in SIZES[4:8]}), []),
    "one3-large": lambda: (flat({(size, WINNER): 1.03 for size in SIZES[7:]}), []),
    "all3": lambda: (flat({(size, WINNER): 1.03 for size in SIZES}), []),
    "few3": lambda: (few(1.03), []),
    "few10": lambda: (few(1.10), []),
    "nccl": lambda: (nccl_like(), []),
    "channels": lambda: (nccl_like((1, 4, 16, 24)), []),
    "ranges": lambda: (ranges(), []),
    "faulty": lambda: (
        flat(
            {
                (s, c): g
                for s in SIZES[4:8]
                for c, g in ((PAIRS[0], 1.5), (PAIRS[2], 1.4), (PAIRS[3], 1.3), (PAIRS[5], 1.35), (WINNER, 1.1))
            }
        ),
        [
            Fault(kind="hang", algo="Tree", proto="LL"),
            Fault(kind="wrong", algo="Tree", proto="Simple", rate=0.2),
            Fault(kind="hang", algo="Ring", proto="LL", rate=0.2),
            Fault(kind="wrong", algo="Ring", proto="Simple"),
        ],
    ),
}
NOISES = {
    "cv3": Noise(cv=0.03),
    "drift": Noise(cv=0.03, drift=0.10),
    "outliers": Noise(cv=0.03, outlier_rate=0.05, outlier_factor=4.0),
    "launch1": Noise(cv=0.03, launch_cv=0.01),
    "cv10": Noise(cv=0.10),
    "all": Noise(cv=0.03, drift=0.10, outlier_rate=0.05, outlier_factor=4.0, launch_cv=0.01),
    "launchout": Noise(cv=0.03, launch_cv=0.005, launch_outlier_rate=0.02, launch_outlier_factor=1.3),
}


def fabric_of(scenario: str, noise: str) -> Fabric:
    times, faults = SCENARIOS[scenario]()
    points = {point_of(size): row for size, row in times.items()}
    return Fabric(
        name=scenario,
        nodes=("node1", "node2"),
        gpus_per_node=8,
        rails=(),
        times=points,
        model={},
        noise=NOISES[noise],
        slow_nodes={},
        slow_links=(),
        slow_rails=(),
        faults=tuple(faults),
    )


def point_of(size: int) -> Point:
    return Point(collective="all_reduce", dtype="float32", size_bytes=size)


def one_run(scenario: str, noise: str, seed: int) -> dict[str, Any]:
    fabric = fabric_of(scenario, noise)
    backend = SimulatedBackend.of(fabric)
    cells = tuple(c for c in next(iter(fabric.times.values())) if not c.is_default)
    race = Race(RacePlan(points=tuple(fabric.times), cells=cells, nranks=16, seed=seed, timeout_s=1.0))
    while launch := race.next_launch():
        race.begin(launch)
        for measurement in backend.measure(launch):
            race.add(measurement)
        race.end(LaunchEnd(launch=launch.index, seconds=0.0))
    return judged(race, fabric)


def judged(race: Race, fabric: Fabric) -> dict[str, Any]:
    broken = {c for c in race.plan.cells if any(fault.concerns(c) for fault in fabric.faults)}
    found, regrets, misses = {}, [], []
    for point, row in fabric.times.items():
        sound = {cell: time for cell, time in row.items() if cell not in broken}
        best = min(sound, key=lambda cell: sound[cell])
        choice = race.winners.get(point, DEFAULT_CELL)
        regrets.append(row[choice] / sound[best] - 1)
        if sound[best] < sound[DEFAULT_CELL] / 1.0299:
            found[point.size_bytes] = row[choice] <= sound[best] * 1.005
        for cell in row:
            ratio = race.ratios.get((point, cell))
            truth = row[DEFAULT_CELL] / row[cell]
            if ratio and cell not in race.evidence.out and not ratio.low <= truth <= ratio.high:
                misses.append((point.size_bytes, cell.label, ratio.low, truth, ratio.high))
    price = cost(race)
    return {
        "change": bool(race.winners),
        "found": found,
        "regret": sum(regrets) / len(regrets),
        "cover": not misses,
        "cost": price.measured_s / price.exhaustive_s,
        "broken": any(cell in broken for cell in race.winners.values()),
        "launches": len(race.evidence.launches),
        "misses": misses[:3],
    }


def summarised(scenario: str, noise: str, runs: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    n = len(runs)
    sizes = runs[0]["found"]
    each = {size: sum(run["found"][size] for run in runs) / n for size in sizes}
    return {
        "scenario": scenario,
        "noise": noise,
        "seeds": n,
        "change": sum(run["change"] for run in runs) / n,
        "found": min(each.values()) if each else None,
        "found_all": sum(all(run["found"].values()) for run in runs) / n if each else None,
        "regret": sum(run["regret"] for run in runs) / n,
        "cover": sum(run["cover"] for run in runs) / n,
        "cost": sum(run["cost"] for run in runs) / n,
        "cost_max": max(run["cost"] for run in runs),
        "broken": sum(run["broken"] for run in runs),
        "launches": sum(run["launches"] for run in runs) / n,
        "seconds": seconds,
    }


def line(row: dict[str, Any]) -> str:
    def share(value: float | None) -> str:
        return "     -" if value is None or math.isnan(value) else f"{value:6.3f}"

    return (
        f"{row['scenario']:<11}{row['noise']:<10}change {share(row['change'])}  found {share(row['found'])}"
        f" (all {share(row['found_all'])})  regret {row['regret']:.4f}  cover {share(row['cover'])}"
        f"  cost {row['cost']:.3f} (max {row['cost_max']:.3f})  broken {row['broken']}  launches {row['launches']:.1f}"
        f"  [{row['seconds']:.0f} s]"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=pathlib.Path, help="append each line as JSON")
    parser.add_argument("patterns", nargs="*", default=["*"], help="scenario/noise, with * and ?")
    options = parser.parse_args()
    wanted = [f"{s}/{n}" for s in SCENARIOS for n in NOISES]
    wanted = [name for name in wanted if any(fnmatch.fnmatch(name, pattern) for pattern in options.patterns)]
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    with concurrent.futures.ProcessPoolExecutor(options.jobs) as pool:
        for name in wanted:
            scenario, _, noise = name.partition("/")
            began = time.monotonic()
            runs = list(pool.map(one_run, [scenario] * len(seeds), [noise] * len(seeds), seeds, chunksize=5))
            row = summarised(scenario, noise, runs, time.monotonic() - began)
            print(line(row), flush=True)
            if options.out:
                with options.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
