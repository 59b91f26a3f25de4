#!/usr/bin/env python3
"""How often validate-e2e errs, how often it finds an effect, and whether its intervals hold, on synthetic trials.

    python scripts/e2e_operating_characteristics.py data/e2e_simulated_202611 --runs 1000

Trial values are drawn; everything else (order, looks, stop rule, verdict) is the command's own code. Noise is
log-normal and new at each start. Source of its size: 3 to 7 % between starts of one serving configuration.
"""

from __future__ import annotations

import argparse
import csv
import math
import pathlib
import random
import sys
from collections.abc import Callable
from typing import NamedTuple

from ncclprobe.e2e.plan import Slot, Stop, next_step
from ncclprobe.e2e.summary import summarised
from ncclprobe.records.e2e import Arm, ArmSettings, E2eDocument, E2eOptions, Trial, TrialStatus

METRIC = "tok_s"


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


def cases() -> list[Case]:
    """Return the cases, the identical arms first."""
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
    return same + hard + real


def drift_of(kind: str, draw: random.Random, length: int) -> list[float]:
    """Return the logarithm of the machine's speed at each trial."""
    if kind == "linear 10 %":
        return [0.1 * place / length for place in range(length)]
    if kind == "wave 10 %":
        phase, period = draw.uniform(0, 2 * math.pi), draw.uniform(6, 24)
        return [0.05 * math.sin(phase + 2 * math.pi * place / period) for place in range(length)]
    speed, speeds = 0.0, []
    for _ in range(length):
        speed += draw.gauss(0, 0.02 if kind == "walk 2 %" else 0.0)
        speeds.append(speed)
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
        warmups=0,
        min_effect=0.02,
        budget_s=case.budget_trials,
        timeout_s=60,
        seed=seed,
    )
    trials: list[Trial] = []
    while not isinstance(step := next_step(options, METRIC, trials), Stop):
        trials.append(drawn_trial(case, step, len(trials), drift[min(len(trials), len(drift) - 1)], draw))
    return summarised(options, METRIC, trials)


def drawn_trial(case: Case, slot: Slot, order: int, drift: float, draw: random.Random) -> Trial:
    """Return one trial with a drawn value."""
    failed = draw.random() < case.failures
    log = drift + draw.gauss(0, case.noise) + case.effect * (slot.arm == Arm.CANDIDATE)
    log -= math.log(4) * (draw.random() < case.outliers)
    return Trial(
        arm=slot.arm,
        order=order,
        status=TrialStatus.FAILED if failed else TrialStatus.OK,
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
    }


VERDICTS = ("faster", "slower", "no-difference", "inconclusive")


def main() -> int:
    """Write the table and return 1 where a promise is broken: wrong at most 5 %, coverage at least 95 %."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--runs", type=int, default=1000)
    arguments = parser.parse_args()
    rows = []
    for case in cases():
        rows.append(row_of(case, [one_run(case, seed) for seed in range(arguments.runs)]))
        print(*rows[-1].values(), sep=" | ", flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (arguments.out / "verdicts.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    broken = [row["case"] for row in rows if float(str(row["wrong"])) > 0.05 or float(str(row["coverage"])) < 0.95]
    print("broken promises:", broken or "none")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
