"""The race of environments on fabrics whose truth is known: which one is chosen, which leave, and what survives."""

from __future__ import annotations

import pytest
from sweep_worlds import CELLS, LL, POINTS, QUIET, RING, SIZES, plan_of, world

from ncclprobe.backends.fabric import EnvEffect, Fabric, Fault
from ncclprobe.backends.simulated import SimulatedBackend
from ncclprobe.errors import LaunchError
from ncclprobe.records.sweep import DEFAULT_CELL, EnvironmentStatus, Launch, LaunchEnd, Measurement, Status
from ncclprobe.sweep import summary
from ncclprobe.sweep.axes import measure_by_environment, parts, under_each
from ncclprobe.sweep.environment_doubts import environment_doubts
from ncclprobe.sweep.environments import EnvironmentRace
from ncclprobe.tuner.choose import choose

ONE, TWO = (("NCCL_A", "1"),), (("NCCL_A", "2"),)


def effect(factor: float, value: str = "1", **limits: object) -> EnvEffect:
    return EnvEffect(name="NCCL_A", value=value, factor=factor, **limits)


def race_of(fabric: Fabric, seed: int = 1, **changes: object) -> EnvironmentRace:
    return EnvironmentRace(plan_of(fabric, seed, cells=under_each(CELLS, (ONE, TWO)), **changes))


def run(race: EnvironmentRace, measure, most: int = 1000) -> list[Launch | Measurement | LaunchEnd]:
    lines: list[Launch | Measurement | LaunchEnd] = []
    while most and (launch := race.next_launch()):
        most -= 1
        race.begin(launch)
        lines.append(launch)
        for measurement in measure_by_environment(launch, measure):
            race.add(measurement)
            lines.append(measurement)
        lines.append(LaunchEnd(launch=launch.index, seconds=0.0))
        race.end(lines[-1])
    return lines


def raced(*effects: EnvEffect, gains: tuple = (), seed: int = 1) -> EnvironmentRace:
    fabric = world(dict(gains), noise=QUIET).with_(env=effects)
    race = race_of(fabric, seed)
    run(race, SimulatedBackend.of(fabric).measure)
    return race


def results(race: EnvironmentRace) -> dict:
    return {tuple(one.env.items()): one for one in race.environment_results()}


def choice(race: EnvironmentRace):
    return choose(race.plan.points, race.winners, race.ratios, summary.gain(race), lambda collective, cell: {})


def test_an_environment_that_is_faster_everywhere_is_chosen_for_all_sizes():
    race = raced(effect(0.94))
    assert race.winners == dict.fromkeys(POINTS, DEFAULT_CELL.under(ONE))
    assert race.overall.low < 1 / 0.94 < race.overall.high
    assert race.overall.low > 1.005
    assert summary.gain(race) == race.overall
    found = results(race)
    assert found[ONE].status is EnvironmentStatus.CHOSEN
    assert found[()].status is EnvironmentStatus.OK
    assert found[ONE].ratio == pytest.approx(1 / 0.94, abs=0.02)
    assert choice(race).env == {"NCCL_A": "1"}
    assert choice(race).table == ()


def test_all_intervals_of_the_chosen_environment_hold_the_truth():
    race = raced(effect(0.94), effect(1.03, to_bytes=SIZES[0]))
    for point in POINTS:
        ratio, factor = race.ratios[point, race.winners[point]], 0.94 * (1.03 if point == POINTS[0] else 1.0)
        assert ratio.low < 1 / factor < ratio.high


def test_nothing_is_chosen_where_no_variable_does_anything():
    race = raced()
    assert (race.winners, race.overall) == ({}, None)
    assert results(race)[()].status is EnvironmentStatus.CHOSEN


def test_a_slower_environment_leaves_early():
    race = raced(effect(1.06), effect(0.94, value="2"))
    found = results(race)
    assert found[ONE].status is EnvironmentStatus.ELIMINATED
    assert found[ONE].rounds < 0.5 * found[TWO].rounds
    assert found[TWO].status is EnvironmentStatus.CHOSEN
    last = max(race.evidence.launches)
    assert {env for env, _ in parts(race.evidence.launches[last])} == {(), TWO}, "no start for what is out"


def test_what_is_as_good_without_the_environment_is_chosen_without_it():
    race = raced(gains=tuple(((size, LL), 1.10) for size in SIZES))
    assert race.winners == dict.fromkeys(POINTS, LL)
    assert race.overall is None


def test_a_setting_and_an_environment_add_up():
    race = raced(effect(0.94), gains=tuple(((size, LL), 1.10) for size in SIZES[:2]))
    assert [race.winners[point] for point in POINTS[:2]] == [LL.under(ONE)] * 2
    assert [race.winners[point] for point in POINTS[2:]] == [DEFAULT_CELL.under(ONE)] * 2
    row = choice(race).table[0]
    assert (row.min_bytes, row.max_bytes, row.algo, row.proto) == (SIZES[0], SIZES[1], "Tree", "LL")
    assert len(choice(race).table) == 1
    assert choice(race).env == {"NCCL_A": "1"}


def test_one_setting_at_all_sizes_of_an_environment_is_said_by_variables():
    race = raced(effect(0.94), gains=tuple(((size, LL), 1.10) for size in SIZES))
    found = choose(
        race.plan.points, race.winners, race.ratios, summary.gain(race), lambda _, cell: {"ALGO": cell.label}
    )
    assert found.env == {"NCCL_A": "1", "ALGO": "Tree/LL"}


def test_a_size_that_becomes_slower_is_a_warning():
    race = raced(effect(0.88, from_bytes=SIZES[1]), effect(1.10, to_bytes=SIZES[0]))
    assert race.winners == dict.fromkeys(POINTS, DEFAULT_CELL.under(ONE))
    (finding,) = environment_doubts(race)
    assert (finding.severity, finding.code, finding.subject) == ("warning", "slower-size", "1K")


def test_where_one_environment_wins_some_sizes_and_loses_more_the_defaults_stay():
    race = raced(effect(0.94, from_bytes=SIZES[3]), effect(1.06, to_bytes=SIZES[2]))
    assert (race.winners, race.overall) == ({}, None)


def test_the_same_measurements_give_the_same_race():
    fabric = world().with_(env=(effect(0.94),))
    first = race_of(fabric)
    lines = run(first, SimulatedBackend.of(fabric).measure)
    again = race_of(fabric)
    for line in lines:
        if isinstance(line, Launch):
            assert again.next_launch() == line
            again.begin(line)
        elif isinstance(line, Measurement):
            again.add(line)
        else:
            again.end(line)
    assert again.next_launch() is None
    assert (again.winners, again.ratios, again.overall) == (first.winners, first.ratios, first.overall)


def test_a_part_that_was_cut_short_is_measured_again_with_the_default():
    race, measure = race_of(world()), SimulatedBackend.of(world()).measure
    launch = race.next_launch()
    race.begin(launch)
    for one in measure_by_environment(launch, measure):
        if one.cells[0].env != ONE:
            race.add(one)
    again = race.next_launch()
    assert again.index == launch.index + 1
    assert {block.cells for block in again.blocks} == {(DEFAULT_CELL, *under_each(CELLS, (ONE,))[len(CELLS) :])}
    assert [block.repeat for block in again.blocks] == [block.repeat for block in launch.blocks]


def test_a_hang_in_an_environment_costs_that_cell_there_alone():
    fabric = world(faults=(Fault(kind="hang", algo="Ring", rate=1.0),)).with_(env=(effect(0.94),))
    race = race_of(fabric)
    run(race, SimulatedBackend.of(fabric).measure)
    assert {cell for cell, (status, _) in race.evidence.out.items() if status is Status.TIMEOUT} == {
        RING, RING.under(ONE), RING.under(TWO),
    }  # fmt: skip
    assert race.winners == dict.fromkeys(POINTS, DEFAULT_CELL.under(ONE))


def test_an_environment_whose_ranks_do_not_start_is_left_out_and_named():
    fabric = world().with_(env=(effect(0.94, value="2"),))
    backend = SimulatedBackend.of(fabric)

    def measure(launch: Launch):
        if ONE[0] in launch.env:
            raise LaunchError("NCCL_A=1 is no number")
        yield from backend.measure(launch)

    race = race_of(fabric)
    run(race, measure)
    assert results(race)[ONE].status is EnvironmentStatus.REFUSED
    assert results(race)[ONE].rounds == 1
    assert race.winners == dict.fromkeys(POINTS, DEFAULT_CELL.under(TWO))
    (finding,) = environment_doubts(race)
    assert (finding.code, finding.subject) == ("environment-refused", "NCCL_A=1")
    assert "NCCL_A=1 is no number" in finding.message


def test_an_environment_in_which_the_default_breaks_is_out():
    fabric = world().with_(env=(effect(0.94),))
    backend = SimulatedBackend.of(fabric)

    def measure(launch: Launch):
        for one in backend.measure(launch):
            wrong = ONE[0] in launch.env and DEFAULT_CELL in one.cells
            yield one.with_(statuses=(Status.WRONG,) * len(one.cells)) if wrong else one

    race = race_of(fabric)
    run(race, measure)
    assert (race.winners, race.overall) == ({}, None)
    assert results(race)[ONE].status is EnvironmentStatus.REFUSED


def test_a_budget_ends_it():
    fabric = world().with_(env=(effect(0.94),))
    race = race_of(fabric, budget_s=0.02)
    run(race, SimulatedBackend.of(fabric).measure)
    assert race.out_of_budget or race.hurried
    assert race.elapsed_s < 0.04
