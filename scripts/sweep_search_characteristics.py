#!/usr/bin/env python3
"""How often a search among environments finds what trying all of them would, and at what cost.

    scripts/sweep_search_characteristics.py [--seeds 50] [--jobs N] [--grid] [--out FILE] [PATTERN ...]

Four variables with four values each (one of them unset) on simulated fabrics whose truth is known, drawn anew for each
seed; `--grid` races all 256 environments instead. A line a scenario and kind of noise:
  env        share of runs whose environment, with its best settings, is within 0.5 % of the best there is
  choice     the same of what was chosen in the end: environment and settings, or the defaults
  regret     mean over runs of (best gain there is - gain of the choice), in percent
  worse      runs whose choice is slower than the defaults
  best       mean gain of the best environment and settings, in percent
  tried      environments that were measured, mean
  starts     starts of ranks, mean: a round starts them once for each of its environments
  measured   simulated seconds of measuring, mean
"""

from __future__ import annotations

import argparse
import concurrent.futures
import fnmatch
import itertools
import json
import math
import pathlib
import random
import sys
import time
from typing import Any

from ncclprobe.backends.fabric import EnvEffect, Fabric, Noise
from ncclprobe.backends.simulated import SimulatedBackend
from ncclprobe.records.sweep import DEFAULT_CELL, Cell, Environment, LaunchEnd, Point
from ncclprobe.sweep.axes import Axis, environments, measure_by_environment, parts, under_each
from ncclprobe.sweep.environments import EnvironmentRace
from ncclprobe.sweep.explorer import OptunaExplorer
from ncclprobe.sweep.race import RacePlan
from ncclprobe.sweep.search import SearchRace

SIZES = (1 << 13, 1 << 18, 1 << 23, 1 << 28)
CELLS = (Cell(algo="Tree", proto="LL"), Cell(algo="Ring", proto="Simple"))
VALUES = ("1", "2", "3")
AXES = tuple(Axis(name=f"NCCL_{name}", values=(None, *VALUES)) for name in ("NTHREADS", "BUFFSIZE", "P2P", "CTAS"))
NAMES = tuple(axis.name for axis in AXES)
TOLERANCE = math.log(1.005)


def additive(rng: random.Random) -> list[EnvEffect]:
    """Each value changes times by some percent, by itself, at all sizes or from some size on."""
    return [
        EnvEffect(
            name=name, value=value, factor=math.exp(rng.gauss(0.01, 0.025)), from_bytes=rng.choice((0, 0, SIZES[2]))
        )
        for name in NAMES
        for value in VALUES
    ]


def interacting(rng: random.Random) -> list[EnvEffect]:
    """Besides, eight pairs of values change times together, and some values change one setting alone."""
    pairs = rng.sample(list(itertools.combinations(NAMES, 2)), 4) * 2
    together = [
        EnvEffect(
            name=a, value=rng.choice(VALUES), factor=math.exp(rng.gauss(0, 0.05)), together={b: rng.choice(VALUES)}
        )
        for a, b in pairs
    ]
    alone = [EnvEffect(name=name, value=rng.choice(VALUES), factor=0.96, algo="Tree") for name in NAMES[:2]]
    return additive(rng) + together + alone


def needle(rng: random.Random) -> list[EnvEffect]:
    """One pair of values is 10 % faster; each of them alone, and every other value, does nothing."""
    a, b = rng.sample(NAMES, 2)
    return [EnvEffect(name=a, value=rng.choice(VALUES), factor=1 / 1.1, together={b: rng.choice(VALUES)})]


def nothing(rng: random.Random) -> list[EnvEffect]:
    """No value does anything."""
    return []


SCENARIOS = {"additive": additive, "interacting": interacting, "needle": needle, "nothing": nothing}
NOISES = {
    "quiet": Noise(cv=0.01, launch_cv=0.003),
    "usual": Noise(cv=0.03, launch_cv=0.01),
    "outliers": Noise(cv=0.03, launch_cv=0.01, outlier_rate=0.05, outlier_factor=4.0),
}


def fabric_of(scenario: str, noise: str, seed: int) -> Fabric:
    points = (Point(collective="all_reduce", dtype="float32", size_bytes=size) for size in SIZES)
    times = {point: dict.fromkeys((DEFAULT_CELL, *CELLS), 10.0 + point.size_bytes / 300e3) for point in points}
    return Fabric(
        name=scenario,
        nodes=("node1", "node2"),
        gpus_per_node=8,
        rails=(),
        times=times,
        model={},
        noise=NOISES[noise],
        slow_nodes={},
        slow_links=(),
        slow_rails=(),
        faults=(),
        env=tuple(SCENARIOS[scenario](random.Random(f"{scenario} {seed}"))),
    )


def best_gain(fabric: Fabric, env: Environment) -> float:
    """Return the mean over sizes of the log-gain of an environment's best settings over the defaults."""
    rows = [(row[DEFAULT_CELL], min(fabric.median_times(point, env).values())) for point, row in fabric.times.items()]
    return sum(math.log(default / best) for default, best in rows) / len(rows)


def gain_of(fabric: Fabric, winners: dict[Point, Cell]) -> float:
    total = 0.0
    for point, row in fabric.times.items():
        cell = winners.get(point, DEFAULT_CELL)
        total += math.log(row[DEFAULT_CELL] / fabric.median_times(point, cell.env)[cell.under(())])
    return total / len(fabric.times)


def race_of(fabric: Fabric, seed: int, grid: bool) -> EnvironmentRace:
    cells = under_each(CELLS, environments(AXES)) if grid else CELLS
    plan = RacePlan(points=tuple(fabric.times), cells=cells, nranks=16, seed=seed, timeout_s=1.0)
    return EnvironmentRace(plan) if grid else SearchRace(plan, AXES, OptunaExplorer(AXES, seed))


def one_run(scenario: str, noise: str, seed: int, grid: bool) -> dict[str, Any]:
    fabric = fabric_of(scenario, noise, seed)
    backend, race, starts = SimulatedBackend.of(fabric), race_of(fabric, seed, grid), 0
    while launch := race.next_launch():
        race.begin(launch)
        starts += sum(1 for _ in parts(launch))
        for measurement in measure_by_environment(launch, backend.measure):
            race.add(measurement)
        race.end(LaunchEnd(launch=launch.index, seconds=0.0))
    best = max(best_gain(fabric, env) for env in ((), *environments(AXES)))
    gain, env = gain_of(fabric, race.winners), race.finalist if race.shown else ()
    return {
        "env": best_gain(fabric, env) > best - TOLERANCE,
        "choice": gain > best - TOLERANCE,
        "regret": best - gain,
        "worse": gain < 0,
        "best": best,
        "tried": sum(bool(result.env) for result in race.environment_results()),
        "starts": starts,
        "measured": race.evidence.spent_s,
    }


def summarised(scenario: str, noise: str, runs: list[dict[str, Any]], grid: bool, seconds: float) -> dict[str, Any]:
    def mean(key: str) -> float:
        return float(sum(run[key] for run in runs) / len(runs))

    means = {key: mean(key) for key in ("env", "choice", "regret", "best", "tried", "starts", "measured")}
    worse = sum(run["worse"] for run in runs)
    return {
        "scenario": scenario, "noise": noise, "how": "grid" if grid else "optuna", "seeds": len(runs),
        **means, "worse": worse, "seconds": seconds,
    }  # fmt: skip


def line(row: dict[str, Any]) -> str:
    return (
        f"{row['scenario']:<12}{row['noise']:<10}{row['how']:<7}env {row['env']:.3f}  choice {row['choice']:.3f}"
        f"  regret {100 * row['regret']:.2f} %  worse {row['worse']}  best {100 * row['best']:.1f} %"
        f"  tried {row['tried']:.0f}  starts {row['starts']:.0f}  measured {row['measured']:.2f} s"
        f"  [{row['seconds']:.0f} s]"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--grid", action="store_true", help="race all environments, without a search")
    parser.add_argument("--out", type=pathlib.Path, help="append each line as JSON")
    parser.add_argument("patterns", nargs="*", default=["*"], help="scenario/noise, with * and ?")
    options = parser.parse_args()
    wanted = [f"{s}/{n}" for s in SCENARIOS for n in NOISES]
    wanted = [name for name in wanted if any(fnmatch.fnmatch(name, pattern) for pattern in options.patterns)]
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    with concurrent.futures.ProcessPoolExecutor(options.jobs) as pool:
        for name in wanted:
            scenario, _, noise = name.partition("/")
            began, count = time.monotonic(), len(seeds)
            runs = list(pool.map(one_run, [scenario] * count, [noise] * count, seeds, [options.grid] * count))
            row = summarised(scenario, noise, runs, options.grid, time.monotonic() - began)
            print(line(row), flush=True)
            if options.out:
                with options.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
