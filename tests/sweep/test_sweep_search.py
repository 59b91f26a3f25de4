"""The search before a race: what it asks and tells, what enters the race, and that it goes on from its journal."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

import pytest
from sweep_worlds import LL, POINTS, RING, plan_of, world

from ncclprobe.backends.fabric import EnvEffect, Fabric
from ncclprobe.backends.simulated import SimulatedBackend
from ncclprobe.errors import LaunchError
from ncclprobe.records.sweep import DEFAULT_CELL, EnvironmentStatus, Launch, LaunchEnd, Measurement
from ncclprobe.sweep.axes import Axis, environment_of, environments, grid, measure_by_environment, parts
from ncclprobe.sweep.environments import EnvironmentRace
from ncclprobe.sweep.explorer import OptunaExplorer
from ncclprobe.sweep.race import Race
from ncclprobe.sweep.search import BATCH, FINALISTS, REFUSED, STAGE, TRIALS, SearchRace, race_of

AXES = (Axis(name="NCCL_A", values=(None, "1", "2", "3")), Axis(name="NCCL_B", values=(None, "1", "2", "3", "4")))
BEST = (("NCCL_A", "2"), ("NCCL_B", "3"))
EFFECTS = (
    EnvEffect(name="NCCL_A", value="2", factor=0.97),
    EnvEffect(name="NCCL_A", value="1", factor=1.05),
    EnvEffect(name="NCCL_B", value="3", factor=0.94, together={"NCCL_A": "2"}),
)
FABRIC = world(cells=(LL, RING)).with_(env=EFFECTS)


class InOrder:
    """Proposes every combination in order, again and again, and keeps what it is told."""

    def __init__(self) -> None:
        self.asked, self.told = 0, {}

    def ask(self) -> tuple[int, Mapping[str, str | None]]:
        combinations = list(grid(AXES))
        values = combinations[self.asked % len(combinations)]
        self.asked += 1
        return self.asked - 1, dict(zip(("NCCL_A", "NCCL_B"), values, strict=True))

    def tell(self, trial: int, value: float) -> None:
        self.told[trial] = value


def run(race: Race, measure=None, most: int = 10000) -> list:
    measure = measure or SimulatedBackend.of(FABRIC).measure
    lines: list[Launch | Measurement | LaunchEnd] = []
    while len(lines) < most and (launch := race.next_launch()):
        race.begin(launch)
        lines.append(launch)
        for measurement in measure_by_environment(launch, measure):
            race.add(measurement)
            lines.append(measurement)
        lines.append(LaunchEnd(launch=launch.index, seconds=0.0))
        race.end(lines[-1])
    return lines


def searched(explorer=None, fabric: Fabric = FABRIC, seed: int = 1, **changes: object) -> SearchRace:
    return SearchRace(plan_of(fabric, seed, **changes), AXES, explorer or InOrder())


def rounds(lines: list) -> list[Launch]:
    return [line for line in lines if isinstance(line, Launch) and line.stage == STAGE]


def test_a_round_tries_some_environments_beside_the_default():
    race = searched()
    first = race.next_launch()
    envs = {env for env, _ in parts(first)}
    assert (first.stage, first.index) == (STAGE, 0)
    assert () in envs
    assert len(envs) == 1 + BATCH
    assert {block.point for block in first.blocks} == set(POINTS)
    assert {cell.under(()) for block in first.blocks for cell in block.cells} == {DEFAULT_CELL, LL, RING}


def test_what_it_tells_is_the_gain_of_the_best_cells():
    explorer = InOrder()
    run(searched(explorer))
    proposals = [environment_of(dict(zip(("NCCL_A", "NCCL_B"), values, strict=True))) for values in grid(AXES)]
    told = {env: explorer.told[i] for i, env in enumerate(proposals) if i in explorer.told}
    assert len(told) == len(proposals)
    assert max(told, key=lambda env: told[env]) == BEST
    assert told[BEST] == pytest.approx(0.0923, abs=0.03)
    assert told[()] == pytest.approx(0.0, abs=0.03)


def test_the_best_enter_the_race_and_the_search_does_not_count_there():
    race = searched()
    lines = run(race)
    assert len(race.environments) == FINALISTS
    assert BEST in race.environments
    assert race.winners == dict.fromkeys(POINTS, DEFAULT_CELL.under(BEST))
    assert {env for one in lines if isinstance(one, Launch) and one.stage != STAGE for env, _ in parts(one)} <= {
        (), *race.environments,
    }  # fmt: skip
    assert [one.stage for one in lines if isinstance(one, Launch)][: len(rounds(lines))] == [STAGE] * len(rounds(lines))


def test_trials_are_limited():
    lines = run(searched())
    tried = sum(len(list(parts(one))) - 1 for one in rounds(lines))
    most = min(20, TRIALS * 9)
    assert most <= tried < most + BATCH


def test_half_of_a_budget_ends_it():
    endless = tuple(axis.with_(values=tuple(map(str, range(40)))) for axis in AXES)
    race = SearchRace(plan_of(FABRIC, budget_s=0.2), endless, InOrder())
    lines = run(race)
    spent = sum(one.spent_s for one in lines if isinstance(one, Measurement) and one.launch < len(rounds(lines)))
    assert 0.1 <= spent < 0.13


def test_every_environment_that_was_tried_is_reported():
    race = searched()
    run(race)
    found = {tuple(one.env.items()): one for one in race.environment_results()}
    assert set(found) == {(), *environments(AXES)}
    assert sum(one.status is EnvironmentStatus.SEARCHED for one in found.values()) == 19 - FINALISTS
    assert found[BEST].status is EnvironmentStatus.CHOSEN
    assert all(one.rounds >= 1 for one in found.values())


def test_an_environment_that_does_not_start_is_told_as_bad_and_does_not_race():
    backend, explorer = SimulatedBackend.of(FABRIC), InOrder()

    def measure(launch: Launch):
        if ("NCCL_A", "3") in launch.env:
            raise LaunchError("no")
        yield from backend.measure(launch)

    race = searched(explorer)
    run(race, measure)
    assert {explorer.told[i] for i in range(15, 20)} == {REFUSED}
    refused = [one.env for one in race.environment_results() if one.status is EnvironmentStatus.REFUSED]
    assert len(refused) == 5
    assert race.winners == dict.fromkeys(POINTS, DEFAULT_CELL.under(BEST))


def test_a_round_that_was_cut_short_is_run_again():
    explorer = InOrder()
    race = searched(explorer)
    first = race.next_launch()
    for index in (1, 2):
        race.begin(race.evidence.launches.get(index - 1, first).with_(index=index - 1))
        again = race.next_launch()
        assert (again.index, again.stage, again.blocks) == (index, STAGE, first.blocks), "killed, as often as that is"
    race.begin(again)
    race.end(LaunchEnd(launch=2, seconds=1.0))
    assert race.next_launch().blocks != first.blocks
    assert explorer.told == {0: 0.0, 1: REFUSED, 2: REFUSED, 3: REFUSED, 4: REFUSED}


@pytest.mark.parametrize("cut", [1, 40, 400])
def test_optunas_search_goes_on_from_its_journal(cut):
    def optuna() -> SearchRace:
        return searched(OptunaExplorer(AXES, seed=5))

    whole, again = optuna(), optuna()
    lines = run(whole)
    for line in lines[:cut]:
        if isinstance(line, Launch):
            assert again.next_launch() == line
            again.begin(line)
        elif isinstance(line, Measurement):
            again.add(line)
        else:
            again.end(line)
    run(again)
    assert again.winners == whole.winners == dict.fromkeys(POINTS, DEFAULT_CELL.under(BEST))


def test_a_few_environments_are_raced_without_a_search():
    plan = plan_of(FABRIC)
    few = (AXES[0],)
    assert type(race_of(plan, (), "optuna")) is Race
    assert type(race_of(plan, few, "optuna")) is EnvironmentRace
    assert type(race_of(plan, AXES, "grid")) is EnvironmentRace
    assert type(race_of(plan, AXES, "optuna")) is SearchRace
    assert len(race_of(plan, few, "grid").plan.cells) == 2 + 3 * 3


def test_without_optuna_the_message_says_which_extra():
    program = (
        "import sys; sys.modules['optuna'] = None\n"
        "from ncclprobe.errors import MissingDependencyError\n"
        "from ncclprobe.sweep.explorer import OptunaExplorer\n"
        "try: OptunaExplorer((), 1)\n"
        "except MissingDependencyError as problem: print(problem)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == (
        "--search optuna needs Optuna: pip install 'ncclprobe[search]', or leave --search away to try everything\n"
    )
