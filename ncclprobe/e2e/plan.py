"""The order of the trials, and which one comes next: a function of the options and of what the journal holds."""

from __future__ import annotations

import enum
import itertools
import random
import statistics
from collections.abc import Sequence

from ncclprobe.e2e.compare import judged, looks, pairs
from ncclprobe.records.base import Record
from ncclprobe.records.e2e import Arm, E2eOptions, E2eVerdict, Trial, TrialStatus

GIVE_UP_AFTER = 3
"""Failures in a row of the same trial, after which the comparison ends."""


class Slot(Record, frozen=True, kw_only=True):
    """A trial to run."""

    arm: Arm
    """Which settings."""
    warm_up: bool
    """Whether its value is thrown away."""


class Stop(enum.StrEnum):
    """Why there is no next trial."""

    CLEAR = "clear"
    TRIALS = "trials"
    BUDGET = "budget"
    FAILURES = "failures"


def schedule(seed: int, trials: int, warmups: int) -> tuple[Slot, ...]:
    """Return all trials in order: warm-ups, then blocks ABBA or BAAB at random, so that linear drift cancels.

    Args:
        seed: The order follows from it.
        trials: An arm; an odd number ends in a single pair.
        warmups: An arm.

    Source: docs/performance.md, validate-e2e.
    """
    draw = random.Random(seed)  # noqa: S311 - an order, no secret
    warm = [Slot(arm=arm, warm_up=True) for _ in range(warmups) for arm in _pair(draw)]
    firsts = [_pair(draw) for _ in range((trials + 1) // 2)]
    blocks = itertools.chain.from_iterable((*first, *reversed(first)) for first in firsts)
    return (*warm, *(Slot(arm=arm, warm_up=False) for arm in itertools.islice(blocks, 2 * trials)))


def _pair(draw: random.Random) -> tuple[Arm, ...]:
    return tuple(draw.sample(list(Arm), 2))


def next_step(options: E2eOptions, metric: str, trials: Sequence[Trial]) -> Slot | Stop:
    """Return the trial to run next, or why there is none.

    A failed trial is run again: its slot stays the next one.

    Args:
        options: Of the comparison.
        metric: The name of what is compared.
        trials: All so far, in order.
    """
    order = schedule(options.seed, options.trials, options.warmups)
    done = sum(trial.status is not TrialStatus.FAILED for trial in trials)
    if is_clear(options, metric, trials):
        return Stop.CLEAR
    if done >= len(order):
        return Stop.TRIALS
    if _failures_in_a_row(trials) >= GIVE_UP_AFTER:
        return Stop.FAILURES
    needed = 2 if (done - 2 * options.warmups) % 2 == 0 else 1
    return Stop.BUDGET if _lacks_time(options, trials, needed) else order[done]


def is_clear(options: E2eOptions, metric: str, trials: Sequence[Trial]) -> bool:
    """Return whether the trials end in a look at the data that gives a verdict."""
    ratios = pairs(trials, metric, lower_is_better=options.lower_is_better)
    last_counts = bool(trials) and trials[-1].status is TrialStatus.OK
    if not (last_counts and len(ratios) in looks(options.trials) and _is_even(trials)):
        return False
    judgement = judged(ratios, options.trials, options.min_effect, final=False)
    return judgement.verdict is not E2eVerdict.INCONCLUSIVE


def _is_even(trials: Sequence[Trial]) -> bool:
    """Return whether both arms have the same number of successful trials: no pair is half done."""
    arms = [trial.arm for trial in trials if trial.status is TrialStatus.OK]
    return arms.count(Arm.BASELINE) == arms.count(Arm.CANDIDATE)


def spent(trials: Sequence[Trial]) -> float:
    """Return the wall time of all trials, in seconds."""
    return sum(trial.seconds for trial in trials)


def _lacks_time(options: E2eOptions, trials: Sequence[Trial], needed: int) -> bool:
    """Return whether the budget has no room for the trials that complete a pair."""
    if options.budget_s is None:
        return False
    lasted = [trial.seconds for trial in trials if trial.status is not TrialStatus.FAILED]
    expected = needed * statistics.median(lasted) if lasted else 0.0
    left = options.budget_s - spent(trials)
    return left <= 0 or left < expected


def _failures_in_a_row(trials: Sequence[Trial]) -> int:
    return len(list(itertools.takewhile(lambda trial: trial.status is TrialStatus.FAILED, reversed(trials))))
