"""The order of the trials, and which one comes next: a function of the options and of what the journal holds."""

from __future__ import annotations

import enum
import itertools
import random
import statistics
from collections.abc import Iterable, Iterator, Sequence

from ncclprobe.e2e.compare import Judgement, judged, looks, pairs
from ncclprobe.e2e.throttling import excess, held
from ncclprobe.records.base import Record
from ncclprobe.records.e2e import Arm, E2eOptions, E2eVerdict, Trial, TrialStatus

GIVE_UP_AFTER = 3
"""Failures in a row of the same trial, after which its arm is given up."""


class Slot(Record, frozen=True, kw_only=True):
    """A trial to run."""

    arm: str
    """Which settings."""
    warm_up: bool
    """Whether its value is thrown away."""


class Stop(enum.StrEnum):
    """Why there is no next trial."""

    CLEAR = "clear"
    TRIALS = "trials"
    BUDGET = "budget"
    FAILURES = "failures"


class Standing(Record, frozen=True, kw_only=True):
    """Where a comparison stands."""

    step: Slot | Stop
    """What comes next."""
    given_up: tuple[str, ...] = ()
    """Arms that failed too often."""


def schedule(seed: int, trials: int, warmups: int, arms: Iterable[str] = tuple(Arm)) -> tuple[Slot, ...]:
    """Return all trials in order where no arm is settled early.

    Args:
        seed: The order follows from it.
        trials: An arm; an odd number ends in a single round.
        warmups: An arm.
        arms: Their names.
    """
    return tuple(itertools.chain.from_iterable(rounds(seed, trials, warmups, arms)))


def rounds(seed: int, trials: int, warmups: int, arms: Iterable[str]) -> Iterator[tuple[Slot, ...]]:
    """Yield rounds in each of which every arm has its turn: warm-ups, then blocks of two.

    The second round of a block has the reverse order of the first (ABBA or BAAB), so that linear drift cancels between
    any two arms.

    Source: docs/performance.md, validate-e2e.
    """
    draw, names = random.Random(seed), list(arms)  # noqa: S311 - an order, no secret
    for _ in range(warmups):
        yield _round(draw.sample(names, len(names)), warm_up=True)
    firsts = (_round(draw.sample(names, len(names)), warm_up=False) for _ in range((trials + 1) // 2))
    timed = itertools.chain.from_iterable((first, tuple(reversed(first))) for first in firsts)
    yield from itertools.islice(timed, trials)


def _round(names: Sequence[str], *, warm_up: bool) -> tuple[Slot, ...]:
    return tuple(Slot(arm=name, warm_up=warm_up) for name in names)


def next_step(options: E2eOptions, metric: str, trials: Sequence[Trial]) -> Slot | Stop:
    """Return the trial to run next, or why there is none.

    Args:
        options: Of the comparison.
        metric: The name of what is compared.
        trials: All so far, in order.
    """
    return standing(options, metric, trials).step


def standing(options: E2eOptions, metric: str, trials: Sequence[Trial], *, afresh: bool = False) -> Standing:
    """Return where a comparison stands: its trials are played through, as the plan would have asked for them.

    A failed trial is run again: its slot stays the next one, until its arm is given up. An arm that is settled has no
    further turn in the blocks that follow, and without the baseline there is nothing to compare with.

    Args:
        options: Of the comparison.
        metric: The name of what is compared.
        trials: All so far, in order.
        afresh: Whether failures at the end of these are to end nothing: what made them fail was mended.
    """
    return _Replay(options, metric, trials, afresh=afresh).standing()


class _Replay:
    """The trials so far, laid along the plan."""

    def __init__(self, options: E2eOptions, metric: str, trials: Sequence[Trial], *, afresh: bool) -> None:
        self._options, self._trials = options, trials
        marked = [*(trial.afresh for trial in trials), afresh]
        self._afresh = {order for order, is_afresh in enumerate(marked) if is_afresh}
        """Where failures before end nothing."""
        lower = options.lower_is_better
        self._pairs = {arm: pairs(trials, metric, lower_is_better=lower, arm=arm) for arm in options.arms}
        """Of all trials; the first ones are the same, however many follow."""
        self._at = 0
        self._given_up: list[str] = []

    def standing(self) -> Standing:
        return Standing(step=self._step(), given_up=tuple(self._given_up))

    def _step(self) -> Slot | Stop:
        options = self._options
        order = rounds(options.seed, options.trials, options.warmups, options.arms)
        racing = self._racing(0)
        for number, one in enumerate(order):
            done = number - options.warmups
            if done > 0 and done % 2 == 0:
                racing = self._racing(done)
            if not racing:
                return self._ended()
            for place, slot in enumerate(one):
                if slot.arm in racing and self._is_open(slot):
                    left = sum(other.arm in racing for other in one[place:])
                    return Stop.BUDGET if not slot.warm_up and self._lacks_time(left) else slot
                racing = [arm for arm in racing if arm not in self._given_up]
                if Arm.BASELINE not in racing or len(racing) < 2:
                    return self._ended()
        return Stop.TRIALS if self._racing(options.trials) else self._ended()

    def _ended(self) -> Stop:
        return Stop.FAILURES if self._given_up else Stop.CLEAR

    def _is_open(self, slot: Slot) -> bool:
        """Pass over the trials of a slot, and return whether it is still to be run."""
        failures = 0
        while self._at < len(self._trials) and self._trials[self._at].status is TrialStatus.FAILED:
            self._at, failures = self._at + 1, failures + 1
            if self._at in self._afresh:
                failures = 0
            if failures == GIVE_UP_AFTER:
                self._given_up.append(slot.arm)
                return False
        self._at += 1
        return self._at > len(self._trials)

    def _racing(self, pairs_done: int) -> list[str]:
        """Return the baseline and the arms that are not settled, nothing where there are none of these."""
        others = [arm for arm in self._options.arms if arm != Arm.BASELINE and arm not in self._given_up]
        open_arms = [arm for arm in others if not self._is_settled(arm, pairs_done)]
        return [Arm.BASELINE.value, *open_arms] if open_arms else []

    def _is_settled(self, arm: str, pairs_done: int) -> bool:
        """Return whether an arm has its verdict; one that slowdowns make doubtful may become clear with more trials."""
        ratios = self._pairs[arm][:pairs_done]
        if not is_settled(self._options, ratios):
            return False
        over = excess(self._trials[: self._at], arm)
        judgement = held(_judged(self._options, ratios), over, self._options.min_effect)
        return judgement.verdict is not E2eVerdict.INCONCLUSIVE

    def _lacks_time(self, needed: int) -> bool:
        """Return whether the budget has no room for the trials that complete a round.

        Warm-ups neither count nor tell how long a trial takes: the first of a large model may compile for 20 minutes.
        """
        if self._options.budget_s is None:
            return False
        lasted = [trial.seconds for trial in self._trials if trial.status is TrialStatus.OK]
        expected = needed * statistics.median(lasted) if lasted else 0.0
        left = self._options.budget_s - spent(self._trials)
        return left <= 0 or left < expected


def is_settled(options: E2eOptions, ratios: Sequence[float]) -> bool:
    """Return whether an arm's pairs end in a look at the data that gives a verdict."""
    if len(ratios) not in looks(options.trials):
        return False
    return _judged(options, ratios).verdict is not E2eVerdict.INCONCLUSIVE


def _judged(options: E2eOptions, ratios: Sequence[float]) -> Judgement:
    comparisons = max(1, len(options.arms) - 1)
    return judged(ratios, options.trials, options.min_effect, final=False, comparisons=comparisons)


def spent(trials: Sequence[Trial]) -> float:
    """Return the wall time of all trials but warm-ups, failed ones among these, in seconds."""
    return sum(one.seconds for one in trials if not (one.is_warm_up or one.status is TrialStatus.WARM_UP))
