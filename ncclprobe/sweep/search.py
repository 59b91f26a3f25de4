"""A search among more environments than can be raced: short rounds, then the race of those that looked best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ncclprobe.records.base import Record
from ncclprobe.records.sweep import (
    DEFAULT_CELL,
    Block,
    Environment,
    EnvironmentResult,
    EnvironmentStatus,
    Launch,
)
from ncclprobe.sweep.axes import Axis, environment_of, environments, under_each
from ncclprobe.sweep.environments import EnvironmentRace
from ncclprobe.sweep.estimate import estimate
from ncclprobe.sweep.explorer import Explorer, OptunaExplorer
from ncclprobe.sweep.race import Race, RacePlan
from ncclprobe.sweep.standings import Standing, standing

STAGE = "search"
"""Of launches whose values choose the environments that race, and count in none of its estimates."""
BATCH = 4
"""Environments of a round: one that tried a single one would start the default's ranks as often as the others'."""
PAIRS = 6
"""Of a round."""
ASKED = 4
"""Times as many proposals as a round takes are asked for at most; those that repeat each other share a sample."""
TRIALS = 5
"""Trials for each value of each axis, unless the budget ends the search; some try an environment again."""
SEARCH_BUDGET, EXPLORED_BUDGET = 0.5, 0.8
"""Share of the budget after which the search ends; that after which exploring ends."""
LEAST = 15
"""Environments among which nothing is searched: trying each in rounds of BATCH costs less than finding the best few."""
FINALISTS = 4
"""Environments that enter the race."""
REFUSED = -1.0
"""What a search is told of an environment that does not work: a log-ratio that none that works comes near."""


class Batch(Record, frozen=True, kw_only=True):
    """What a round of the search tries."""

    trials: dict[int, Environment]
    """By the explorer's numbers; several may try the same."""
    launches: tuple[int, ...] = ()
    """That measured it; a second one where the first was cut short."""

    @property
    def environments(self) -> tuple[Environment, ...]:
        """Return those to be measured, each once."""
        return tuple(dict.fromkeys(env for env in self.trials.values() if env))


class SearchRace(EnvironmentRace):
    """First a search, then a race of what it found.

    The rounds of the search chose the environments that race, so they count in no estimate of the race.
    """

    _explore_share = EXPLORED_BUDGET

    def __init__(self, plan: RacePlan, axes: Sequence[Axis], explorer: Explorer) -> None:
        super().__init__(plan)
        self._explorer, self._bare = explorer, plan.cells
        self._most = min(math.prod(len(axis.values) for axis in axes), TRIALS * sum(len(axis.values) for axis in axes))
        self._batch: Batch | None = None
        self._tried: dict[Environment, None] = {}
        self._trials = 0
        self.searching = True

    def next_launch(self) -> Launch | None:
        """Return the search's next round, or what the race measures next."""
        if self.searching and DEFAULT_CELL not in self.evidence.out and not self.budget.spent:
            if (launch := self._next_round()) is not None:
                return launch
            self._enter_race()
        return super().next_launch()

    def environment_results(self) -> tuple[EnvironmentResult, ...]:
        """Return what became of each environment that was looked at."""
        raced, found = super().environment_results(), self._standings()
        rest = [env for env in self._tried if env not in self.environments]
        return (*raced, *(self._searched(env, found.get(env)) for env in rest))

    def _searched(self, env: Environment, found: Standing | None) -> EnvironmentResult:
        return EnvironmentResult(
            env=dict(env),
            status=EnvironmentStatus.SEARCHED if found else EnvironmentStatus.REFUSED,
            rounds=self._rounds(env),
            ratio=math.exp(found.ratio) if found else None,
        )

    def _unfinished(self) -> list[Block]:
        launches = self.evidence.launches
        return [] if launches and launches[max(launches)].stage == STAGE else super()._unfinished()

    # ---- rounds

    def _next_round(self) -> Launch | None:
        if self._batch is not None and (again := self._left_of(self._batch)):
            return self._round(self._batch, again)
        if self._batch is not None:
            self._learn(self._batch)
        if self._trials >= self._most or self.budget.beyond(SEARCH_BUDGET):
            return None
        batch = self._ask()
        return self._round(batch, batch.environments) if batch.environments else None

    def _ask(self) -> Batch:
        trials: dict[int, Environment] = {}
        while len(set(trials.values()) - {()}) < BATCH and len(trials) < ASKED * BATCH:
            number, values = self._explorer.ask()
            trials[number] = environment_of(values)
        return Batch(trials=trials)

    def _round(self, batch: Batch, envs: Sequence[Environment]) -> Launch:
        cells = (DEFAULT_CELL, *under_each(self._bare, envs))
        blocks = [
            block
            for point in self.plan.points
            if (block := self._fit_block(Block(point=point, cells=cells, repeat=PAIRS))) is not None
        ]
        launch = self._launch(blocks).with_(stage=STAGE)
        self._batch = batch.with_(launches=(*batch.launches, launch.index))
        self._tried |= dict.fromkeys(envs)
        self._trials += len(envs)
        return launch

    def _left_of(self, batch: Batch) -> tuple[Environment, ...]:
        """Return what a round did not measure, because it hung, which is forgiven once, or because we were killed."""
        if len(batch.launches) > 1 and self._ended:
            return ()
        found = self._standings(batch.launches)
        return tuple(env for env in batch.environments if env not in found and self.works(env))

    def _learn(self, batch: Batch) -> None:
        found = self._standings(batch.launches)
        for number, env in batch.trials.items():
            self._explorer.tell(number, found[env].ratio if env in found else REFUSED)
        self._batch = None

    def _standings(self, launches: Sequence[int] = ()) -> Mapping[Environment, Standing]:
        """Return how environments stand that were measured at every size, by those launches or all of the search."""
        stage = [index for index, launch in self.evidence.launches.items() if launch.stage == STAGE]
        chosen = list(launches or stage)
        envs = dict.fromkeys(
            cell.env for i in chosen for block in self.evidence.launches[i].blocks for cell in block.cells
        )
        cells = under_each(self._bare, [env for env in envs if env])
        groups = [(p, c) for p in self.plan.points for c in cells if self._fit(p, c)]
        estimates = estimate(self.evidence, groups, chosen)
        found = {env: standing(env, self.plan.points, estimates) for env in envs}
        return {env: one for env, one in found.items() if one is not None}

    # ---- from the search to the race

    def _enter_race(self) -> None:
        """Let the environments race that look best, an error below their estimates: some were measured more often."""
        self.searching = False
        found = {env: one for env, one in self._standings().items() if env}
        ranked = sorted(found, key=lambda env: found[env].error - found[env].ratio)
        self.environments = tuple(ranked[:FINALISTS])
        self.plan = self.plan.with_(cells=under_each(self._bare, self.environments))
        for state in self._points.values():
            state.active = list(self.plan.cells)


def race_of(plan: RacePlan, axes: Sequence[Axis], search: str) -> Race:
    """Return the race that a plan and axes ask for; a few environments are raced without a search.

    Args:
        plan: Its cells are without environment.
        axes: None for one environment.
        search: ``grid`` or ``optuna``.

    Raises:
        MissingDependencyError: Optuna is asked for and absent.
    """
    envs = environments(axes)
    if not envs:
        return Race(plan)
    if search == "optuna" and len(envs) > LEAST:
        return SearchRace(plan, axes, OptunaExplorer(axes, plan.seed))
    return EnvironmentRace(plan.with_(cells=under_each(plan.cells, envs)))
