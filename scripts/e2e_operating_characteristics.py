#!/usr/bin/env python3
"""How often validate-e2e errs, how often it finds an effect, and whether its intervals hold, on synthetic trials.

    python scripts/e2e_operating_characteristics.py data/e2e_simulated_202611 --runs 500

Trial values are drawn; everything else (order, looks, stop rule, verdict) is the command's own code. Noise is
log-normal and new at each start. Source of its size: 3 to 7 % between starts of one serving configuration.

A rough machine has it all at once: linear and wandering drift, a cold first run, trials that fail, and 5 % of trials
that are slower by a factor.
"""

from __future__ import annotations

import argparse
import csv
import math
import pathlib
import random
import statistics
import sys
from collections.abc import Callable
from typing import NamedTuple

from ncclprobe.e2e.compare import looks, pairs
from ncclprobe.e2e.plan import Slot, Stop, next_step, schedule
from ncclprobe.e2e.summary import summarised
from ncclprobe.records.e2e import Arm, ArmSettings, E2eDocument, E2eOptions, Trial, TrialStatus
from ncclprobe.stats import t_quantile

METRIC = "tok_s"
RARE = 4
"""Times as many runs where a small share of wrong ones counts: of 500, one of 4 % lies between 2.3 and 5.7 %."""


class Case(NamedTuple):
    """One kind of machine and one true effect."""

    name: str
    noise: float
    effect: float
    trials: int
    drift: str = "none"
    outliers: float = 0.0
    failures: float = 0.0
    budget_trials: int | None = None
    outlier_factor: float = 4.0
    warmups: int = 0
    cold_factor: float = 1.0
    promise: tuple[str, float] | None = None
    """A column and its least value; for ``wrong`` its largest."""


def cases() -> list[Case]:
    """Return the cases: what is promised of quiet and of rough machines, identical arms, arms that differ."""
    same = [
        Case(f"same, noise {noise:.0%}, {drift}", noise, 0.0, 20, drift)
        for noise in (0.01, 0.03, 0.05, 0.07)
        for drift in ("none", "linear 10 %", "walk 2 %", "wave 10 %")
    ]
    hard = [
        Case("same, 5 % of trials 4 times slower", 0.03, 0.0, 20, outliers=0.05),
        Case("same, 10 % of trials fail", 0.05, 0.0, 20, failures=0.1),
        Case("same, at most 6 trials", 0.05, 0.0, 6),
        Case("same, at most 60 trials", 0.05, 0.0, 60),
        Case("same, budget ends after 9 pairs of 20", 0.05, 0.0, 20, budget_trials=18),
    ]
    real = [
        Case(f"{effect:+.0%}, noise {noise:.0%}, {drift}", noise, math.log1p(effect), 20, drift)
        for effect in (0.05, 0.10, -0.10, 0.20)
        for noise in (0.03, 0.05, 0.07)
        for drift in ("none", "linear 10 %")
    ]
    return promised("") + promised(", rough, x1.2", 1.2) + promised(", rough, x1.5", 1.5) + same + hard + real


PROMISED = [
    (0.015, 0.0, 6, ("wrong", 0.05)),
    (0.015, 0.0, 20, ("wrong", 0.05)),
    (0.06, 0.0, 6, ("wrong", 0.05)),
    (0.06, 0.0, 20, ("wrong", 0.05)),
    (0.06, 0.10, 20, ("faster", 0.90)),
    (0.03, 0.05, 24, ("faster", 0.82)),
    (0.015, 0.03, 20, ("faster", 0.80)),
    (0.06, 0.03, 120, ("faster", 0.75)),
    (0.01, 0.0, 24, ("no-difference", 0.90)),
]
"""Noise, effect, trials an arm, and what is promised."""


def promised(name: str, outlier_factor: float | None = None) -> list[Case]:
    """Return the promised cases, on a machine with noise alone or on a rough one."""
    rough = {"drift": "both", "outliers": 0.05, "failures": 0.05, "warmups": 1, "cold_factor": 1.5}
    kind = {**rough, "outlier_factor": outlier_factor} if outlier_factor else {}
    return [
        Case(f"promised: {effect:+.0%}, noise {noise:.1%}, {trials} trials{name}", noise, math.log1p(effect), trials,
             promise=promise, **kind)  # type: ignore[arg-type]
        for noise, effect, trials, promise in PROMISED
    ]  # fmt: skip


def drift_of(kind: str, draw: random.Random, length: int) -> list[float]:
    """Return the logarithm of the machine's speed at each trial."""
    if kind == "linear 10 %":
        return [0.1 * place / length for place in range(length)]
    if kind == "wave 10 %":
        phase, period = draw.uniform(0, 2 * math.pi), draw.uniform(6, 24)
        return [0.05 * math.sin(phase + 2 * math.pi * place / period) for place in range(length)]
    step = {"walk 2 %": 0.02, "both": 0.005}.get(kind, 0.0)
    speed, speeds = 0.0, []
    for place in range(length):
        speed += draw.gauss(0, step)
        speeds.append(speed + (0.1 * place / length if kind == "both" else 0.0))
    return speeds


def one_run(case: Case, seed: int) -> E2eDocument:
    """Return the document of one comparison."""
    draw = random.Random(f"{case.name}/{seed}")
    drift = drift_of(case.drift, draw, 4 * case.trials + 40)
    options = E2eOptions(
        workload="synthetic",
        baseline=ArmSettings(),
        candidate=ArmSettings(env={"X": "1"}),
        trials=case.trials,
        warmups=case.warmups,
        min_effect=0.02,
        budget_s=case.budget_trials,
        timeout_s=60,
        seed=seed,
    )
    trials: list[Trial] = []
    while (step := step_after(options, trials)) is not None:
        trials.append(drawn_trial(case, step, len(trials), drift[min(len(trials), len(drift) - 1)], draw))
    return summarised(options, METRIC, trials)


def step_after(options: E2eOptions, trials: list[Trial]) -> Slot | None:
    """Return the next trial, None for none.

    Between the looks the plan is asked only where something may end or has failed; else its order stands.
    """
    good = [trial for trial in trials if trial.status is not TrialStatus.FAILED]
    slots = schedule(options.seed, options.trials, options.warmups)
    at_a_look = (len(good) - 2 * options.warmups) / 2 in looks(options.trials)
    failed = bool(trials) and trials[-1].status is TrialStatus.FAILED
    if at_a_look or len(good) == len(slots) or failed or options.budget_s is not None:
        step = next_step(options, METRIC, trials)
        return None if isinstance(step, Stop) else step
    return slots[len(good)]


def drawn_trial(case: Case, slot: Slot, order: int, drift: float, draw: random.Random) -> Trial:
    """Return one trial with a drawn value."""
    failed = draw.random() < case.failures
    log = drift + draw.gauss(0, case.noise) + case.effect * (slot.arm == Arm.CANDIDATE)
    log -= math.log(case.outlier_factor) * (draw.random() < case.outliers)
    log -= math.log(case.cold_factor) * (order == 0)
    return Trial(
        arm=slot.arm,
        order=order,
        status=TrialStatus.FAILED if failed else TrialStatus.WARM_UP if slot.warm_up else TrialStatus.OK,
        metrics={} if failed else {METRIC: 1000 * math.exp(log)},
        effective={},
        started="",
        seconds=1.0,
        message="drawn" if failed else "",
    )


def row_of(case: Case, documents: list[E2eDocument]) -> dict[str, object]:
    """Return a line of the table."""

    def share(test: Callable[[E2eDocument], bool]) -> float:
        return round(sum(map(test, documents)) / len(documents), 4)

    truth = math.exp(case.effect)
    shares = {verdict: share(lambda one, verdict=verdict: one.verdict == verdict) for verdict in VERDICTS}  # type: ignore[misc]
    wrong = {0: ("faster", "slower"), 1: ("slower", "no-difference"), -1: ("faster", "no-difference")}
    sign = (case.effect > 0) - (case.effect < 0)
    return {
        "case": case.name,
        "runs": len(documents),
        **shares,
        "wrong": round(sum(shares[name] for name in wrong[sign]), 4),
        "coverage": share(lambda one: one.ratio is not None and one.ratio.low <= truth <= one.ratio.high),
        "mean_pairs": round(sum(one.trials_per_arm for one in documents) / len(documents), 1),
        "width": round(statistics.median(one for one in map(width, documents) if one is not None), 2),
        "promised": "" if case.promise is None else f"{case.promise[0]} {case.promise[1]:g}",
    }


def width(document: E2eDocument) -> float | None:
    """Return the interval's width as a multiple of a paired t interval's of the same trials, None without one."""
    ratios = pairs(document.trials, METRIC, lower_is_better=False)
    if len(ratios) < 2 or document.ratio is None:
        return None
    t = float(t_quantile(0.975, len(ratios) - 1)) * statistics.stdev(ratios) / math.sqrt(len(ratios))
    return math.log(document.ratio.high / document.ratio.low) / 2 / t


def kept(case: Case, row: dict[str, object]) -> bool:
    """Return whether a case errs in at most 5 %, its intervals hold in 94 %, and its own promise is kept."""
    value = {name: float(str(row[name])) for name in (*VERDICTS, "wrong", "coverage", "width")}
    name, least = case.promise or ("wrong", 0.05)
    own = value[name] <= least if name == "wrong" else value[name] >= least
    narrow = case.promise is None or value["width"] <= 1.7
    return own and narrow and value["wrong"] <= 0.05 and value["coverage"] >= 0.94


VERDICTS = ("faster", "slower", "no-difference", "inconclusive")


def main() -> int:
    """Write the table and return 1 where a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--runs", type=int, default=500, help=f"a case; {RARE} times as many of identical arms")
    arguments = parser.parse_args()
    rows = []
    for case in cases():
        runs = arguments.runs * (1 if case.effect else RARE)
        rows.append(row_of(case, [one_run(case, seed) for seed in range(runs)]))
        print(*rows[-1].values(), sep=" | ", flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (arguments.out / "verdicts.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    broken = [case.name for case, row in zip(cases(), rows, strict=True) if not kept(case, row)]
    print("broken promises:", broken or "none")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
