"""The active form: measure rounds, judge, measure suspects again with nodes that passed, stop when all is clear.

Whatever measures the groups is a callable: a simulated fleet (simulated.py), or ranks on real hosts. It gets a round
and returns a value a group, a failed or hung group with that status.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from ncclprobe.nodes import rounds
from ncclprobe.nodes.attribute import Judgement, judge
from ncclprobe.nodes.design import Component
from ncclprobe.nodes.failures import explain
from ncclprobe.records.nodes import GroupValue, NodesCost, Round

Measure = Callable[[Round], Iterable[GroupValue]]
"""Measures the groups of a round at the same time, and returns a value for each."""

MOST_ROUNDS = 60
"""Rounds of confirmation at most, whatever the budget: one stubborn suspect in a large fleet costs the mean little."""

BETWEEN_LOOKS = (2, 3, 4, 6, 8, 10, 12, 15)
"""Rounds of confirmation between two judgements; each judgement spends of the error budget, so they get rarer."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """How much to measure."""

    rounds: int
    """Of the whole fleet."""
    budget: float
    """Measurements a node, on average over the fleet; a survey that needs more is cut short."""
    threshold: float
    """The smallest slowdown of interest."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What was measured and what it says."""

    values: tuple[GroupValue, ...]
    """In order of time."""
    judgement: Judgement
    """The last one."""
    rounds: int
    """In all."""
    exhausted: bool
    """Whether the budget ended before everything was clear."""


class _Run:
    """The values measured so far."""

    def __init__(self, nodes: Sequence[str], measure: Measure, plan: Plan) -> None:
        self.nodes, self.plan = tuple(nodes), plan
        self.values: list[GroupValue] = []
        self.done, self._spent = 0, 0
        self.met: Counter[frozenset[str]] = Counter()
        self._named: frozenset[Component] = frozenset()
        self._measure = measure

    def affords(self, planned: Round) -> bool:
        """Return whether the budget covers another round."""
        spent = self._spent + sum(len(group.nodes) for group in planned.groups)
        return spent <= self.plan.budget * len(self.nodes) + 1e-9

    def take(self, planned: Round) -> None:
        new = tuple(self._measure(planned))
        self.values.extend(new)
        self._spent += sum(len(value.nodes) for value in new)
        self.met.update(frozenset(value.nodes) for value in new)
        self.done += 1

    def gone(self) -> set[str]:
        """Return the nodes that are unreachable as far as is known."""
        return set(explain(self.values).unreachable)

    def judge(self, look: int) -> Judgement:
        """Return the judgement at the n-th look, from 1, which may spend 1/(n (n + 1)) of the error budgets.

        What a look named stays named: its error is spent, and a later look's smaller share is no evidence against it.

        Source: the sum of 1/(n (n + 1)) over all n is 1; Robbins, Ann. Math. Statist. 41 (1970) 1397, section 3.
        """
        share = 1 / (look * (look + 1))
        threshold = self.plan.threshold
        judgement = judge(self.values, self.nodes, threshold=threshold, share=share, known=self._named)
        self._named = judgement.named
        return judgement


def run(nodes: Sequence[str], rails: Sequence[str], measure: Measure, plan: Plan, rng: np.random.Generator) -> Outcome:
    """Measure a fleet and judge it.

    Args:
        nodes: Two or more.
        rails: Measured apart where there are two or more.
        measure: What runs the groups.
        plan: How much to measure.
        rng: Which nodes meet; the same seed and values give the same rounds.
    """
    course = _Run(nodes, measure, plan)
    for planned in itertools.islice(rounds.survey(nodes, rails, rng), plan.rounds):
        reduced = rounds.without(planned, course.gone(), rng)
        if not reduced.groups or not course.affords(reduced):
            break
        course.take(reduced)
    look = 1
    judgement = course.judge(look)
    while judgement.unclear and _confirm(course, judgement, rails, rng, at_most=_between(look)):
        look += 1
        judgement = course.judge(look)
    return Outcome(tuple(course.values), judgement, course.done, bool(judgement.unclear))


def _between(look: int) -> int:
    return BETWEEN_LOOKS[min(look, len(BETWEEN_LOOKS)) - 1]


def _confirm(
    course: _Run, judgement: Judgement, rails: Sequence[str], rng: np.random.Generator, *, at_most: int
) -> bool:
    """Measure rounds for what is unclear; return whether there was one."""
    taken = 0
    while taken < at_most and course.done < course.plan.rounds + MOST_ROUNDS:
        passed = judgement.passed - course.gone()
        planned = rounds.confirmation(course.done, judgement.unclear, passed, course.met, rails, rng)
        if planned is None or not course.affords(planned):
            break
        course.take(planned)
        taken += 1
    return taken > 0


def cost(outcome: Outcome, nodes: int, gpus_per_node: int) -> NodesCost:
    """Return what a run cost; every node is held until the slowest group of each round is done."""
    slowest: dict[int | None, float] = {}
    for value in outcome.values:
        slowest[value.round] = max(slowest.get(value.round, 0.0), value.seconds)
    return NodesCost(
        rounds=outcome.rounds,
        measurements_per_node=sum(len(value.nodes) for value in outcome.values) / nodes,
        gpu_minutes_per_node=sum(slowest.values()) * gpus_per_node / 60,
    )
