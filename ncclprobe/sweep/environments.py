"""The race where cells of several environments compete: exploring as ever, then one environment for the whole process.

Exploring, cells of every environment race at each size. An environment holds for all sizes, so those that clearly give
less over all sizes than another leave with all their cells. Then the one whose cells give most goes on to confirmation
at every size, beside the best cells of the environment as it is; where none is worth it, these alone do.
"""

from __future__ import annotations

import math

from ncclprobe.records.sweep import (
    DEFAULT_CELL,
    Block,
    Cell,
    Environment,
    EnvironmentResult,
    EnvironmentStatus,
    Launch,
    LaunchEnd,
    Measurement,
    Point,
    Ratio,
    Status,
)
from ncclprobe.sweep import rules
from ncclprobe.sweep.estimate import Estimate, Group
from ncclprobe.sweep.race import Race, RacePlan, ratio_of
from ncclprobe.sweep.standings import Cells, Standing, deployable, gain, hopeless, standing
from ncclprobe.sweep.state import Due, Stage

SHARE = 0.5
"""Share of the confirmation's error budget that an environment's whole gain has; its sizes have the rest."""
LEAST_LAUNCHES = 5
"""Of the confirmation of an environment: from so many on one wild launch cannot carry the gain (rules of estimate)."""


class EnvironmentRace(Race):
    """A race whose plan has cells of several environments."""

    def __init__(self, plan: RacePlan) -> None:
        super().__init__(plan)
        self.environments = tuple(dict.fromkeys(cell.env for cell in plan.cells if cell.env))
        self.finalist: Environment = ()
        """The environment that is being confirmed; empty for none."""
        self.shown = False
        """Whether it was confirmed."""
        self._cells: Cells = {}
        self._candidates: Cells = {}
        self._rivals: Cells = {}
        self._judged: dict[Group, Ratio] = {}
        self._looks = 0
        self._ended, self._hung = True, False
        self._dropped: set[Environment] = set()
        self._memory: tuple[object, dict[Group, Estimate]] = (None, {})

    # ---- what is asked of a race

    @property
    def winners(self) -> dict[Point, Cell]:
        """Return the points that should change, and to what: all of them with an environment of their own."""
        if not self.finalist:
            return super().winners
        if self.shown:
            return {p: c for p, c in self._cells.items() if self._fit(p, c)}
        return {p: c for p, c in self._rivals.items() if not c.is_default and self._fit(p, c) and self._worth(p, c)}

    def environment_results(self) -> tuple[EnvironmentResult, ...]:
        """Return what became of each environment, the one that everything is compared with first."""
        estimates = self._estimates("explore")
        chosen = self.finalist if self.shown else ()
        return tuple(self._result(env, estimates, chosen) for env in ((), *self.environments))

    def _result(self, env: Environment, estimates: dict[Group, Estimate], chosen: Environment) -> EnvironmentResult:
        found = standing(env, self.plan.points, estimates)
        status = EnvironmentStatus.ELIMINATED if env in self._dropped else EnvironmentStatus.OK
        status = EnvironmentStatus.CHOSEN if env == chosen else status
        if env and not self.works(env):
            status = EnvironmentStatus.REFUSED
        return EnvironmentResult(
            env=dict(env), status=status, rounds=self._rounds(env), ratio=math.exp(found.ratio) if found else None
        )

    def _rounds(self, env: Environment) -> int:
        return sum(
            any(cell.env == env for block in launch.blocks for cell in block.cells)
            for launch in self.evidence.launches.values()
        )

    def works(self, env: Environment) -> bool:
        """Return whether anything could be measured with an environment's variables."""
        bare = dict.fromkeys(cell.under(env) for cell in (DEFAULT_CELL, *self.plan.cells))
        return any(self._fit(point, cell) for point in self.plan.points for cell in bare)

    # ---- what differs from a race in one environment

    def _fit(self, point: Point, cell: Cell) -> bool:
        broken = bool(cell.env) and DEFAULT_CELL.under(cell.env) in self.evidence.out
        return not broken and super()._fit(point, cell)

    def _confirmed_cells(self, point: Point) -> list[Cell]:
        return self._points[point].active if self.finalist else super()._confirmed_cells(point)

    def begin(self, launch: Launch) -> None:
        """Note that a round starts."""
        super().begin(launch)
        self._ended, self._hung = False, False

    def add(self, measurement: Measurement) -> None:
        """Take in a measurement."""
        super().add(measurement)
        self._hung |= Status.TIMEOUT in measurement.statuses

    def end(self, end: LaunchEnd) -> None:
        """Note how long a round took."""
        super().end(end)
        self._ended = True

    def _unfinished(self) -> list[Block]:
        """Return what the last round was to measure and did not, because a part hung or we were killed."""
        if not self.evidence.launches or (self._ended and not self._hung):
            return []
        last = self.evidence.launches[max(self.evidence.launches)]
        return [left for block in last.blocks if (left := self._left(block, last.index)) is not None]

    def _left(self, block: Block, index: int) -> Block | None:
        done: dict[Environment, int] = {}
        for cell in block.cells:
            pairs = self.evidence.pairs_done(block.point, index, cell)
            done[cell.env] = max(pairs, done.get(cell.env, 0))
        short = {env for env, pairs in done.items() if pairs < block.repeat}
        cells = (cell for cell in block.cells if cell.env in short and not cell.is_default)
        least = min((done[env] for env in short), default=0)
        return self._fit_block(block.with_(cells=(DEFAULT_CELL, *cells), repeat=block.repeat - least))

    def _estimates(self, stage: str) -> dict[Group, Estimate]:
        key = (stage, len(self.evidence.launches), self.evidence.spent_s, len(self.evidence.out))
        if self._memory[0] != key:
            self._memory = key, super()._estimates(stage)
        return self._memory[1]

    def _look_at_exploration(self, points: list[Point]) -> None:
        super()._look_at_exploration(points)
        if any(state.stage is Stage.EXPLORE for state in self._points.values()) and not self.plan.exhaustive:
            self._drop_environments(self._estimates("explore"))

    def _drop_environments(self, estimates: dict[Group, Estimate]) -> None:
        found = {env: standing(env, self.plan.points, estimates) for env in ((), *self.environments)}
        known = {env: s for env, s in found.items() if s is not None and env not in self._dropped}
        best = max(known.values(), key=lambda s: s.ratio)
        self._dropped |= {env for env, s in known.items() if env and hopeless(s, known[()], best)}
        for state in self._points.values():
            state.active = [cell for cell in state.active if cell.env not in self._dropped]

    # ---- the choice of an environment

    def _begin_confirmation(self, estimates: dict[Group, Estimate]) -> None:
        self._rivals = self._base_cells(estimates)
        chosen = self._best_environment(estimates)
        if chosen is None:
            self._go_on_alone(estimates)
        else:
            self._begin_joint_confirmation(*chosen, estimates)

    def _base_cells(self, estimates: dict[Group, Estimate]) -> Cells:
        """Return at each size the best cell of the environment as it is, if it is worth confirming, or the default."""
        best = {}
        for point in self.plan.points:
            found = {c: e for (p, c), e in estimates.items() if p == point and not c.env}
            cell = max(found, key=lambda c: found[c].ratio, default=DEFAULT_CELL)
            worth = not cell.is_default and rules.promising(found[cell], last=True)
            best[point] = cell if worth else DEFAULT_CELL
        return best

    def _best_environment(self, estimates: dict[Group, Estimate]) -> tuple[Environment, Standing] | None:
        """Return the environment that gives most over all sizes, where that is promisingly more than without it."""
        launches = [i for i, launch in self.evidence.launches.items() if launch.stage == "explore"]
        bare = list(dict.fromkeys(cell.under(()) for cell in self.plan.cells if cell.algo != DEFAULT_CELL.algo))
        found = {}
        for env in self.environments:
            if env not in self._dropped:
                cells = deployable(env, self.plan.points, bare, self.evidence, launches)
                found[env] = standing(env, self.plan.points, estimates, cells)
        known = {env: s for env, s in found.items() if s is not None}
        best = max(known, key=lambda env: known[env].ratio, default=None)
        base = standing((), self.plan.points, estimates, self._rivals)
        if best is None or base is None:
            return None
        ahead = known[best].ratio - base.ratio - rules.LAST_Z * known[best].error
        return (best, known[best]) if ahead > rules.WORTHWHILE else None

    def _go_on_alone(self, estimates: dict[Group, Estimate]) -> None:
        """Confirm the winners of the environment as it is, as if there were no other."""
        for point, state in self._points.items():
            rival = self._rivals[point]
            state.active = [cell for cell in state.active if not cell.env]
            if state.finalist is not None and state.finalist.env:
                state.finalist = None
            if state.finalist is None and not rival.is_default:
                state.finalist, state.stage = rival, Stage.CONFIRM
            elif state.finalist is None:
                state.stage, state.due = Stage.SETTLED, None
        super()._begin_confirmation(estimates)

    def _begin_joint_confirmation(self, env: Environment, chosen: Standing, estimates: dict[Group, Estimate]) -> None:
        self.finalist, self._cells, self._candidates = env, chosen.cells, chosen.cells
        for point, state in self._points.items():
            state.finalist, rival = chosen.cells[point], self._rivals[point]
            beside = (DEFAULT_CELL.under(env), rival)
            state.active = [chosen.cells[point], *(c for c in beside if c not in (chosen.cells[point], DEFAULT_CELL))]
            state.stage, state.looks = Stage.CONFIRM, 0
        self._finalists = sum(len(state.active) for state in self._points.values())
        if not self._plan_joint(estimates, have=None):
            self.finalist = ()
            self._go_on_alone(estimates)

    # ---- its confirmation

    def _stages(self) -> dict[str, list[int]]:
        launches = self.evidence.launches
        return {stage: [i for i, one in launches.items() if one.stage == stage] for stage in ("explore", "confirm")}

    def _gains(self, estimates: dict[Group, Estimate], stage: str) -> list[Estimate]:
        """Return the gain over the default, and that over the best without the environment, as far as measured."""
        stages = self._stages()
        stages = {name: stages[name] for name in ("confirm", "explore") if name != stage} | {stage: stages[stage]}
        defaults = dict.fromkeys(self._cells, DEFAULT_CELL)
        return [
            found
            for against in (defaults, self._rivals)
            if (found := gain(self.evidence, self._cells, against, estimates, stages)) is not None
        ]

    def _plan_joint(self, estimates: dict[Group, Estimate], have: Estimate | None) -> bool:
        """Say what the sizes need, all the same, so that every launch has a value over all of them.

        Returns:
            Whether it is worth it.
        """
        gains = self._gains(estimates, "explore" if have is None else "confirm")
        least = min(gains, key=lambda e: e.ratio, default=None)
        widths = [estimates[p, c].within for p, c in self._cells.items() if (p, c) in estimates]
        most = rules.MOST_PAIRS * rules.plain_pairs(max(widths, default=0.0), self.plan.comparisons)
        spent = have is not None and have.pairs > 0.9 * most
        plan = None if spent or least is None else rules.plan_confirmation(least, 1, self._looks, most)
        if plan is None:
            return False
        launches = max(LEAST_LAUNCHES, plan.launches) if have is None else max(2, plan.launches - have.launches)
        launches = self._affordable_launches(launches, least=3 if have is None else 1)
        for state in self._points.values():
            state.due = Due(launches=launches, pairs=plan.pairs)
        return True

    def _look_at_confirmation(self, points: list[Point]) -> None:
        if self.finalist:
            self._look_together()
        else:
            super()._look_at_confirmation(points)

    def _look_together(self) -> None:
        estimates = self._estimates("confirm")
        gains = self._judge_together(estimates)
        last = self.shown or not gains or self._looks == len(rules.CONFIRM_ALPHAS)
        if last or not self._plan_joint(estimates, have=gains[0]):
            self._settle()

    def _judge_together(self, estimates: dict[Group, Estimate]) -> list[Estimate]:
        """Take a look at the environment, and return its gains with what would run in it."""
        bare = [cell.under(()) for cell in dict.fromkeys(self._candidates.values()) if cell.algo != DEFAULT_CELL.algo]
        confirm = self._stages()["confirm"]
        found = deployable(self.finalist, self.plan.points, bare, self.evidence, confirm)
        self._cells = {point: found.get(point, cell) for point, cell in self._candidates.items()}
        gains = self._gains(estimates, "confirm")
        share = rules.CONFIRM_ALPHAS[self._looks]
        low, high = rules.CONFIRM_LOW_ALPHA * share, rules.CONFIRM_HIGH_ALPHA * share
        for point, state in self._points.items():
            for cell in state.active:
                if (known := estimates.get((point, cell))) is not None:
                    part = (1 - SHARE) / self._finalists
                    ratio = ratio_of(known, part * low, part * high)
                    self.ratios[point, cell] = self._judged[point, cell] = ratio
        if gains and all(self._fit(point, cell) for point, cell in self._cells.items()):
            ends = [ratio_of(one, SHARE * low, SHARE * high) for one in gains]
            self.shown = len(ends) == 2 and all(math.log(ratio.low) > rules.WORTHWHILE for ratio in ends)
            self.overall = ends[0] if self.shown else None
        self._looks += 1
        return gains

    def _settle(self) -> None:
        for state in self._points.values():
            state.stage, state.due = Stage.SETTLED, None

    def _worth(self, point: Point, cell: Cell) -> bool:
        ratio = self._judged.get((point, cell))
        return ratio is not None and math.log(ratio.low) > rules.WORTHWHILE

    def _close(self) -> None:
        if not self.finalist:
            super()._close()
            return
        estimates = self._estimates("confirm")
        self._judge_together(estimates)
        if self.shown:
            self._settle()
