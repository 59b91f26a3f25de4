"""Which cells go on: a state machine that turns evidence into the next launch, and in the end into intervals.

It is a pure function of the plan and of the measurements in their order, so a run goes on from its journal alone.
Each point (collective, type, size) is explored, perhaps confirmed in fresh launches, and then settled.
"""

from __future__ import annotations

import math

from ncclprobe.records.base import Record
from ncclprobe.records.sweep import (
    DEFAULT_CELL,
    Block,
    Cell,
    Environment,
    EnvironmentResult,
    Launch,
    LaunchBroken,
    LaunchEnd,
    Measurement,
    Point,
    Ratio,
)
from ncclprobe.sweep import rules
from ncclprobe.sweep.budget import Budget
from ncclprobe.sweep.estimate import Estimate, Group, estimate
from ncclprobe.sweep.evidence import Evidence
from ncclprobe.sweep.state import Due, PointState, Stage


class RacePlan(Record, frozen=True, kw_only=True):
    """What competes."""

    points: tuple[Point, ...]
    """Sizes at which cells compete, ascending."""
    cells: tuple[Cell, ...]
    """Without the default, which is measured in every block."""
    nranks: int
    """Ranks of each launch."""
    seed: int
    """Every random order follows from it."""
    timeout_s: float
    """Of a single sample."""
    sample_s: float = 500e-6
    """At least, of a single sample of real ranks."""
    warmups: int = 1
    """Of each launch (records.sweep.Launch)."""
    budget_s: float | None = None
    """Wall time in all; None measures until the answer is clear."""
    exhaustive: bool = False
    """Measure everything n times and drop nothing."""
    env: tuple[tuple[str, str], ...] = ()
    """Variables of the ranks."""

    @property
    def comparisons(self) -> int:
        """Return the number of intervals that hold together."""
        return max(1, len(self.points) * len(self.cells))


class Race:
    """Feed it launches and measurements; ask it for the next launch."""

    _explore_share = rules.EXPLORE_BUDGET

    def __init__(self, plan: RacePlan) -> None:
        self.plan, self.evidence = plan, Evidence()
        self.budget = Budget(plan.budget_s)
        self.out_of_budget = False
        self.hurried = False
        """Whether the budget ended the exploration."""
        self._cut: set[Point] = set()
        self.ratios: dict[Group, Ratio] = {}
        """Intervals that hold together, of cells that are out of the race or confirmed."""
        self.overall: Ratio | None = None
        """The gain over all points, where it was measured as such and not made of the points' own."""
        self.looks = rules.EXHAUSTIVE if plan.exhaustive else rules.EXPLORE
        pairs = math.ceil(rules.FIRST_PAIRS / self.looks[0].launches)
        first = Due(launches=self.looks[0].launches, pairs=pairs)
        self._points = {point: PointState(plan.cells, first) for point in plan.points}
        self._finalists = 0
        self._effort: dict[Point, float] = {}

    # ---- what comes next

    def next_launch(self) -> Launch | None:
        """Return what to measure next, None when every point is settled or the budget is spent."""
        if DEFAULT_CELL in self.evidence.out or self._over_budget():
            return None
        self._hurry()
        blocks = self._unfinished()
        while not blocks:
            self._look()
            if not any(state.due for state in self._points.values()):
                return None
            blocks = self._due_blocks()  # none where all that was due has broken since: look again
        return self._launch(blocks)

    def begin(self, launch: Launch) -> None:
        """Note that a launch starts."""
        self.evidence.begin(launch)

    def add(self, measurement: Measurement) -> None:
        """Take in a measurement."""
        self.evidence.add(measurement)

    def broke(self, line: LaunchBroken) -> None:
        """Note that a launch's ranks died; what is left of it is measured by the next one, as after a kill of ours."""
        self.evidence.deaths.append(line.message.splitlines()[0])

    def end(self, end: LaunchEnd) -> None:
        """Note how long a launch took; a simulator's samples take longer than drawing them."""
        self.budget.end(end, self.evidence.spent_s)

    @property
    def elapsed_s(self) -> float:
        """Return the time of the finished launches."""
        return self.budget.elapsed_s

    @property
    def winners(self) -> dict[Point, Cell]:
        """Return the points that should change, and to what."""
        return {
            p: s.finalist for p, s in self._points.items() if s.confirmed and s.finalist and self._fit(p, s.finalist)
        }

    @property
    def unsettled(self) -> list[Point]:
        """Return the points whose race the budget ended."""
        return [point for point in self._points if point in self._cut or point in self._open]

    @property
    def _open(self) -> list[Point]:
        return [point for point, state in self._points.items() if state.stage is not Stage.SETTLED]

    @property
    def least_effort(self) -> float:
        """Return the smallest share of the plain design's n that the budget allowed at a point."""
        return min(self._effort.values(), default=1.0)

    @property
    def detectable(self) -> float:
        """Return the gain that the race was made to find, as a share."""
        return rules.DETECTABLE / math.sqrt(self.least_effort)

    def environment_results(self) -> tuple[EnvironmentResult, ...]:
        """Return what became of each environment; here there are none to compare."""
        return ()

    def works(self, env: Environment) -> bool:
        """Return whether anything could be measured with an environment's variables; here there are none."""
        return not env

    def dropped(self, point: Point, cell: Cell) -> bool:
        """Return whether a cell left the race before it was measured like the winner."""
        state = self._points[point]
        return cell not in state.active and cell != state.finalist

    def _over_budget(self) -> bool:
        if self.budget.spent and not self.out_of_budget and self._open:
            self.out_of_budget = True
            self._close()
        return self.budget.spent

    def _hurry(self) -> None:
        """Stop exploring when what is left of the budget is needed to confirm what was found."""
        early = len(self.evidence.launches) < self.looks[0].launches
        if early or not self.budget.beyond(self._explore_share):
            return
        self.hurried = True
        for state in self._points.values():
            if state.stage is Stage.EXPLORE:
                state.due = None

    def _affordable_launches(self, wanted: int, least: int) -> int:
        return self.budget.affordable_launches(len(self.evidence.launches), wanted, least)

    def _launch(self, blocks: list[Block]) -> Launch:
        confirm = all(self._points[block.point].stage is Stage.CONFIRM for block in blocks)
        blocks = self.budget.cut(blocks, self.evidence)
        return Launch(
            index=len(self.evidence.launches),
            stage="confirm" if confirm else "explore",
            nranks=self.plan.nranks,
            blocks=tuple(blocks),
            warmups=self.plan.warmups,
            timeout_s=self.plan.timeout_s,
            sample_s=self.plan.sample_s,
            seed=self.plan.seed,
            env=self.plan.env,
            thorough=confirm or self.plan.exhaustive,
        )

    def _unfinished(self) -> list[Block]:
        """Return what the last launch was to measure and did not, because it hung or we were killed."""
        if not self.evidence.launches:
            return []
        last = self.evidence.launches[max(self.evidence.launches)]
        left = [
            block.with_(repeat=block.repeat - self.evidence.blocks_done(block.point, last.index))
            for block in last.blocks
        ]
        return [fit for block in left if block.repeat > 0 and (fit := self._fit_block(block))]

    def _fit(self, point: Point, cell: Cell) -> bool:
        return self.evidence.usable(point, cell)

    def _fit_block(self, block: Block) -> Block | None:
        cells = tuple(cell for cell in block.cells if self._fit(block.point, cell))
        return block.with_(cells=cells) if len(cells) > 1 else None

    def _due_blocks(self) -> list[Block]:
        """Return a launch's share of what the points still need; the first stage goes first."""
        exploring = any(state.stage is Stage.EXPLORE for state in self._points.values())
        blocks = []
        for point, state in self._points.items():
            if state.due is None or (exploring and state.stage is Stage.CONFIRM):
                continue
            cells = self._contenders(point) if state.stage is Stage.EXPLORE else self._confirmed_cells(point)
            block = self._fit_block(Block(point=point, cells=(DEFAULT_CELL, *cells), repeat=state.due.pairs))
            left = state.due.launches - 1
            state.due = state.due.with_(launches=left) if left and block else None
            blocks += [block] if block else []
        return blocks

    def _contenders(self, point: Point) -> list[Cell]:
        """Return the cells in the race that are not several times slower than the default."""
        active = self._points[point].active
        return [cell for cell in active if self.plan.exhaustive or not self.evidence.hopeless(point, cell)]

    def _confirmed_cells(self, point: Point) -> list[Cell]:
        return [self._points[point].finalist or DEFAULT_CELL]

    # ---- looks

    def _look(self) -> None:
        """Judge every point that has what it needed, until something is to be measured or all is settled."""
        while not any(state.due for state in self._points.values()):
            open_points = self._open
            exploring = [point for point in open_points if self._points[point].stage is Stage.EXPLORE]
            if exploring:
                self._look_at_exploration(exploring)
            elif open_points:
                self._look_at_confirmation(open_points)
            else:
                return

    def _estimates(self, stage: str) -> dict[Group, Estimate]:
        groups = [(p, c) for p in self.plan.points for c in self.plan.cells if self._fit(p, c)]
        launches = [index for index, launch in self.evidence.launches.items() if launch.stage == stage]
        return estimate(self.evidence, groups, launches)

    def _look_at_exploration(self, points: list[Point]) -> None:
        estimates = self._estimates("explore")
        for point in points:
            state = self._points[point]
            look = self.looks[min(state.looks, len(self.looks) - 1)]
            state.active = [cell for cell in self._contenders(point) if (point, cell) in estimates]
            known = {cell: estimates[point, cell] for cell in state.active}
            for cell, found in known.items():
                self._note(point, cell, found, look.alpha)
            state.looks += 1
            self._advance(point, state, known)
        if all(self._points[point].stage is not Stage.EXPLORE for point in self._points):
            self._begin_confirmation(estimates)

    def _alphas(self, share: float) -> tuple[float, float]:
        alpha = rules.EXPLORE_ALPHA * share / self.plan.comparisons / 2
        return alpha, alpha

    def _advance(self, point: Point, state: PointState, known: dict[Cell, Estimate]) -> None:
        """Drop what is out, and settle the point, send its best cell on, or say what to measure next."""
        last = self.hurried or state.looks == len(self.looks)
        if not self.plan.exhaustive:
            state.active = self._still_in(point, known)
        elif last and self._short_of_n(point, known):
            last, state.looks = False, state.looks - 1
        best = max(state.active, key=lambda cell: known[cell].ratio, default=None)
        if best is None or (last and not rules.promising(known[best], last=True)):
            state.stage, state.due = Stage.SETTLED, None
            self._cut |= {point} if self.hurried and best else set()
        elif last or (len(state.active) == 1 and rules.promising(known[best], last=False) and not self.plan.exhaustive):
            state.stage, state.finalist, state.due = Stage.CONFIRM, best, None
        else:
            state.due = self._next_due(point, state, known)

    def _short_of_n(self, point: Point, known: dict[Cell, Estimate]) -> bool:
        """Return whether the few pairs of the first look promised less noise than all pairs show."""
        wanted = (self._affordable(point, rules.plain_pairs(e.within, self.plan.comparisons)) for e in known.values())
        return min((e.pairs for e in known.values()), default=0) < 0.9 * max(wanted, default=0)

    def _still_in(self, point: Point, known: dict[Cell, Estimate]) -> list[Cell]:
        best = max(known.values(), key=lambda e: e.ratio, default=None)
        detectable = rules.DETECTABLE * math.sqrt(1 / self._effort.get(point, 1.0))
        return [
            cell
            for cell, e in known.items()
            if best is not None and not rules.futile(e, detectable) and not rules.dominated(e, best)
        ]

    def _next_due(self, point: Point, state: PointState, known: dict[Cell, Estimate]) -> Due:
        look, noisiest = self.looks[state.looks], max(known.values(), key=lambda e: e.within)
        wanted = look.share * self._affordable(point, rules.plain_pairs(noisiest.within, self.plan.comparisons))
        have = min(known[cell].pairs for cell in state.active)
        launched = min(known[cell].launches for cell in state.active)
        spread = rules.launches_for(noisiest, max(wanted, have), look.launches)
        launches = self._affordable_launches(max(1, spread - launched), least=1)
        return Due(launches=launches, pairs=max(2, math.ceil((wanted - have) / launches)))

    def _affordable(self, point: Point, pairs: float) -> float:
        """Return the plain design's n, or what the budget allows of it."""
        if point not in self._effort:
            launches, points = self.evidence.launches, len(self.plan.points)
            self._effort[point] = self.budget.share_of_pairs(pairs, launches, points)
        return pairs * self._effort[point]

    # ---- confirmation

    def _begin_confirmation(self, estimates: dict[Group, Estimate]) -> None:
        finalists = {p: s for p, s in self._points.items() if s.stage is Stage.CONFIRM and s.finalist}
        self._finalists = len(finalists)
        for point, state in finalists.items():
            state.looks = 0
            self._plan_confirmation(point, state, estimates[point, state.finalist or DEFAULT_CELL], have=None)

    def _plan_confirmation(self, point: Point, state: PointState, e: Estimate, have: Estimate | None) -> None:
        most = rules.MOST_PAIRS * self._affordable(point, rules.plain_pairs(e.within, self.plan.comparisons))
        spent = have is not None and have.pairs > 0.9 * most
        plan = None if spent else rules.plan_confirmation(e, self._finalists, state.looks, most)
        if plan is None:
            state.stage, state.due = Stage.SETTLED, None
            return
        launches = plan.launches if have is None else max(2, plan.launches - have.launches)
        launches = self._affordable_launches(launches, least=3 if have is None else 1)
        state.due = Due(launches=launches, pairs=plan.pairs)

    def _look_at_confirmation(self, points: list[Point]) -> None:
        estimates = self._estimates("confirm")
        for point in points:
            state = self._points[point]
            found = estimates.get((point, state.finalist or DEFAULT_CELL))
            if found is None:
                state.stage, state.due = Stage.SETTLED, None
                continue
            self._judge(point, state, found)
            if state.confirmed or state.looks == len(rules.CONFIRM_ALPHAS):
                state.stage, state.due = Stage.SETTLED, None
            else:
                self._plan_confirmation(point, state, found, have=found)

    def _judge(self, point: Point, state: PointState, found: Estimate) -> None:
        """Take a look at a winner that was measured again."""
        share = rules.CONFIRM_ALPHAS[state.looks] / self._finalists
        ratio = ratio_of(found, rules.CONFIRM_LOW_ALPHA * share, rules.CONFIRM_HIGH_ALPHA * share)
        self.ratios[point, state.finalist or DEFAULT_CELL] = ratio
        state.looks += 1
        state.confirmed = math.log(ratio.low) > rules.WORTHWHILE

    def _close(self) -> None:
        """Take a last look at everything, the budget being spent."""
        confirmed = self._estimates("confirm")
        for point, state in self._points.items():
            found = confirmed.get((point, state.finalist or DEFAULT_CELL))
            if state.stage is Stage.CONFIRM and found is not None:
                self._judge(point, state, found)
                state.stage = Stage.SETTLED if state.confirmed else state.stage
        estimates = self._estimates("explore")
        for (point, cell), found in estimates.items():
            if self._points[point].stage is Stage.EXPLORE and cell in self._points[point].active:
                look = self.looks[min(self._points[point].looks, len(self.looks) - 1)]
                self._note(point, cell, found, look.alpha)

    def _note(self, point: Point, cell: Cell, found: Estimate, share: float) -> None:
        """Keep a cell's interval; a single launch gives none, since it says nothing of the spread between launches."""
        if found.launches > 1:
            self.ratios[point, cell] = ratio_of(found, *self._alphas(share))


def ratio_of(e: Estimate, low_alpha: float, high_alpha: float) -> Ratio:
    """Return an estimate whose ends miss the truth below and above with these probabilities."""
    low, high = e.interval(low_alpha, high_alpha)
    return Ratio(ratio=math.exp(e.ratio), low=math.exp(max(low, -rules.WIDEST)), high=math.exp(min(high, rules.WIDEST)))
