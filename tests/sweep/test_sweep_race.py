"""Races through the simulator: who wins, who is out, what is said, and that a journal replays them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from sweep_worlds import CELLS, LL, LL128, POINTS, QUIET, RING, SIMPLE, SIZES, plan_of, point, raced, steps, world

from ncclprobe.backends.fabric import Fault, Noise
from ncclprobe.records.sweep import DEFAULT_CELL, Cell, Launch, LaunchEnd, Measurement, Status
from ncclprobe.sweep import rules
from ncclprobe.sweep.race import Race
from ncclprobe.sweep.summary import cost, status_of


def launches(race: Race, stage: str) -> list[Launch]:
    return [launch for launch in race.evidence.launches.values() if launch.stage == stage]


def sizes_won(race: Race) -> dict[int, Cell]:
    return {at.size_bytes: cell for at, cell in race.winners.items()}


# ---- golden runs


def test_one_clear_winner_is_chosen_where_it_wins_and_nowhere_else():
    race = raced(world({(size, RING): 1.10 for size in SIZES[1:3]}))
    assert sizes_won(race) == dict.fromkeys(SIZES[1:3], RING)
    for at in POINTS[1:3]:
        ratio = race.ratios[at, RING]
        assert math.exp(rules.WORTHWHILE) < ratio.low <= 1.10 <= ratio.high
        assert ratio.ratio == pytest.approx(1.10, abs=0.05)
    assert race.unsettled == []


def test_a_winner_is_confirmed_in_fresh_launches():
    race = raced(world({(SIZES[0], RING): 1.10}))
    confirming = launches(race, "confirm")
    assert len(confirming) >= 3
    assert {block.cells for launch in confirming for block in launch.blocks} == {(DEFAULT_CELL, RING)}
    assert POINTS[0] in {block.point for launch in confirming for block in launch.blocks}
    explored = max(launch.index for launch in launches(race, "explore"))
    assert min(launch.index for launch in confirming) > explored


def test_another_winner_at_each_size():
    gains = {(SIZES[0], LL): 1.10, (SIZES[1], LL128): 1.12, (SIZES[2], SIMPLE): 1.10, (SIZES[3], RING): 1.15}
    assert sizes_won(raced(world(gains))) == dict(tuple(gains))


def test_the_faster_of_two_winners_is_chosen():
    race = raced(world({(SIZES[0], LL): 1.30, (SIZES[0], RING): 1.15}))
    assert sizes_won(race) == {SIZES[0]: LL}
    assert status_of(race, POINTS[0], RING) == (Status.ELIMINATED, "")
    assert status_of(race, POINTS[0], LL) == (Status.OK, "")


@pytest.mark.parametrize("seed", range(3))
def test_where_all_are_equal_the_defaults_stay(seed):
    race = raced(world(), seed)
    assert race.winners == {}
    assert race.unsettled == []
    assert all(ratio.low <= 1 <= ratio.high for ratio in race.ratios.values())


def test_the_default_against_itself_has_no_winner():
    """One cell that is the library's own choice under its own name, at the shipped fabrics' noise."""
    twin = world(cells=(RING,))
    assert [raced(twin, seed).winners for seed in range(10)] == [{}] * 10


def test_slower_cells_leave_early_and_cost_little():
    slow = {(size, cell): 0.5 for size in SIZES for cell in (LL, LL128, SIMPLE)}
    race = raced(world(slow | {(size, RING): 1.10 for size in SIZES}))
    assert sizes_won(race) == dict.fromkeys(SIZES, RING)
    for at, cell in itertools.product(POINTS, (LL, LL128, SIMPLE)):
        assert status_of(race, at, cell)[0] is Status.ELIMINATED
        assert sum(map(len, race.evidence.log_times(at, cell))) == rules.FIRST_PAIRS
        assert race.ratios[at, cell].high < 1


def test_cells_that_take_several_times_as_long_are_launched_once():
    slow = {(size, cell): 0.2 for size in SIZES for cell in (LL, LL128)}
    race = raced(world(slow | {(size, RING): 1.10 for size in SIZES}))
    assert sizes_won(race) == dict.fromkeys(SIZES, RING)
    for at, cell in itertools.product(POINTS, (LL, LL128)):
        assert status_of(race, at, cell)[0] is Status.ELIMINATED
        assert [len(times) for times in race.evidence.log_times(at, cell)] == [rules.FIRST_PAIRS / 2]
        assert (at, cell) not in race.ratios, "a single launch has no interval"


def test_an_exhaustive_race_launches_every_cell_again():
    race = raced(world({(SIZES[0], LL): 0.2}), exhaustive=True)
    assert len(list(race.evidence.log_times(POINTS[0], LL))) > 1
    assert all(launch.thorough for launch in race.evidence.launches.values())


def test_a_gain_too_small_to_be_worth_it_changes_nothing():
    assert raced(world({(size, RING): 1.004 for size in SIZES})).winners == {}


def test_without_noise_the_race_is_short_and_right():
    race = raced(world({(SIZES[1], RING): 1.03}, noise=Noise()))
    assert sizes_won(race) == {SIZES[1]: RING}
    assert race.ratios[POINTS[1], RING].low == pytest.approx(1.03, abs=1e-3)


@pytest.mark.parametrize(
    "noise",
    [
        Noise(cv=0.03, drift=0.10),
        Noise(cv=0.03, outlier_rate=0.05, outlier_factor=4.0),
        Noise(cv=0.03, launch_cv=0.005, launch_outlier_rate=0.02, launch_outlier_factor=1.3),
    ],
    ids=["drift", "outliers", "launch outliers"],
)
def test_the_winner_is_found_through_disturbances(noise):
    gains = {(size, RING): 1.10 for size in SIZES[1:]}
    assert sizes_won(raced(world(gains, noise=noise))) == dict.fromkeys(SIZES[1:], RING)
    assert raced(world(noise=noise)).winners == {}


def test_one_cell_at_one_size():
    race = raced(world({(SIZES[0], RING): 1.10}, sizes=SIZES[:1], cells=(RING,)))
    assert sizes_won(race) == {SIZES[0]: RING}


# ---- cells that break


@pytest.mark.parametrize("kind", ["wrong", "hang"])
@pytest.mark.parametrize("rate", [1.0, 0.2])
def test_a_broken_cell_is_never_chosen_and_the_others_are_judged(kind, rate):
    gains = {(size, LL): 1.5 for size in SIZES} | {(size, RING): 1.10 for size in SIZES}
    fault = Fault(kind=kind, algo="Tree", proto="LL", rate=rate)
    race = raced(world(gains, faults=(fault,)))
    assert sizes_won(race) == dict.fromkeys(SIZES, RING)
    status = Status.WRONG if kind == "wrong" else Status.TIMEOUT
    assert {status_of(race, at, LL)[0] for at in POINTS} == {status}
    assert sum(launch.timeout_s for launch in race.evidence.launches.values()) > 0
    if kind == "hang":
        assert race.evidence.spent_s > race.plan.timeout_s


def test_a_hang_costs_its_launch_and_the_rest_is_measured_anew():
    fault = Fault(kind="hang", algo="Tree", proto="LL")
    race = raced(world(faults=(fault,)))
    first, second = (race.evidence.launches[index] for index in (0, 1))
    assert all(LL in block.cells for block in first.blocks)
    assert [block.point for block in second.blocks] == list(POINTS)
    assert not any(LL in block.cells for block in second.blocks)
    assert [block.repeat for block in second.blocks] == [block.repeat for block in first.blocks]


def test_what_broke_while_others_wait_does_not_end_the_race():
    """LL, the only cell left at the small size, hangs while the large size waits to have its winner confirmed."""
    small, large = 1 << 10, 1 << 20
    gains = {(small, LL): 1.02, (small, RING): 0.5, (large, LL): 0.5, (large, RING): 1.5}
    fault = Fault(kind="hang", algo="Tree", rate=0.02)
    hung = 0
    for seed in range(12):
        race = raced(world(gains, sizes=(small, large), cells=(LL, RING), faults=(fault,)), seed)
        assert sizes_won(race).get(large) == RING
        assert race.unsettled == []
        hung += LL in race.evidence.out
    assert hung >= 6


def test_every_cell_broken_keeps_the_defaults():
    race = raced(world({(size, LL): 2.0 for size in SIZES}, faults=tuple(
        Fault(kind="wrong", algo=algo) for algo in ("Tree", "Ring")
    )))  # fmt: skip
    assert race.winners == {}
    assert race.unsettled == []


@pytest.mark.parametrize(("kind", "status"), [("wrong", Status.WRONG), ("hang", Status.TIMEOUT)])
def test_a_broken_default_ends_the_race_at_once(kind, status):
    race = raced(world({(size, RING): 2.0 for size in SIZES}, faults=(Fault(kind=kind, algo="default"),)))
    assert race.winners == {}
    assert len(race.evidence.launches) == 1
    assert race.evidence.out[DEFAULT_CELL][0] is status


def test_a_winner_that_breaks_elsewhere_is_no_winner():
    """Confirmed at one size, wrong at another: out at every size."""
    race = raced(world({(SIZES[0], RING): 1.10}))
    assert sizes_won(race) == {SIZES[0]: RING}
    race.evidence.out[RING] = (Status.WRONG, "at another size")
    assert race.winners == {}


def test_a_cell_that_a_size_lacks_is_judged_at_the_others():
    fabric = world({(size, RING): 1.10 for size in SIZES})
    times = {at: dict(row) for at, row in fabric.times.items()}
    del times[POINTS[0]][RING]
    race = raced(fabric.with_(times=times))
    assert sizes_won(race) == dict.fromkeys(SIZES[1:], RING)
    assert status_of(race, POINTS[0], RING) == (Status.REFUSED, "")
    # Refused at the smallest size, it is measured at the others from the first launch on.
    logs = list(race.evidence.log_times(POINTS[1], RING))
    assert len(logs[0]) == race.evidence.launches[0].blocks[1].repeat


# ---- the whole design, and a budget


@pytest.mark.parametrize("seed", range(4))
def test_exhaustive_measures_every_working_cell_n_times(seed):
    sizes = SIZES[:2]
    fabric = world(
        {(SIZES[0], SIMPLE): 0.4, (SIZES[0], RING): 1.10},
        noise=Noise(cv=0.03),
        sizes=sizes,
        faults=(Fault(kind="wrong", algo="Tree", proto="LL"),),
    )
    race = raced(fabric, seed, exhaustive=True)
    n = rules.plain_pairs(2 * 0.03**2, race.plan.comparisons)
    for at, cell in itertools.product(fabric.times, (DEFAULT_CELL, LL128, SIMPLE, RING)):
        explored = {launch.index for launch in launches(race, "explore")}
        logs = zip(race.evidence.launches, race.evidence.log_times(at, cell), strict=False)
        count = sum(len(times) for index, times in logs if index in explored)
        assert count >= 0.8 * n, (at, cell)
        assert status_of(race, at, cell)[0] is Status.OK
    assert sizes_won(race) == {SIZES[0]: RING}
    assert {status_of(race, at, LL)[0] for at in fabric.times} == {Status.WRONG}


def test_exhaustive_costs_what_the_plain_design_does():
    price = cost(raced(world(noise=Noise(cv=0.03)), exhaustive=True))
    assert 0.9 < price.measured_s / price.exhaustive_s < 1.8


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_a_budget_is_kept(share):
    loud = world({(SIZES[0], RING): 1.03}, noise=Noise(cv=0.10))
    unbounded = raced(loud)
    budget = share * unbounded.evidence.spent_s
    race = raced(loud, budget_s=budget)
    spent = [0.0]
    for line in steps(Race(race.plan), loud):
        if isinstance(line, Launch):
            assert spent[0] < budget  # none is begun once it is spent
        elif isinstance(line, Measurement):
            spent[0] += line.spent_s
    assert spent[0] == pytest.approx(race.evidence.spent_s)
    assert race.evidence.spent_s <= 1.25 * budget
    assert race.least_effort < 1
    assert race.detectable > rules.DETECTABLE


def test_a_budget_that_ends_the_race_in_its_first_launch_leaves_the_defaults():
    """A single launch says nothing of the spread between launches, so there are no intervals."""
    race = raced(world({(size, RING): 1.10 for size in SIZES}), budget_s=1e-9)
    assert race.out_of_budget
    assert len(race.evidence.launches) == 1
    assert race.winners == {}
    assert set(race.unsettled) == set(POINTS)
    assert race.ratios == {}


def test_a_budget_that_is_not_reached_changes_nothing():
    fabric = world({(SIZES[0], RING): 1.10}, sizes=SIZES[:2])
    assert raced(fabric, budget_s=1e9).ratios == raced(fabric).ratios


# ---- a pure function of its measurements


@pytest.mark.parametrize(
    "faults", [(), (Fault(kind="hang", algo="Tree", proto="LL", rate=0.05),)], ids=["sound", "hangs"]
)
def test_the_same_seed_races_the_same(faults):
    fabric = world({(SIZES[1], RING): 1.05}, faults=faults)
    assert list(steps(Race(plan_of(fabric)), fabric)) == list(steps(Race(plan_of(fabric)), fabric))


@pytest.mark.parametrize(
    "faults", [(), (Fault(kind="hang", algo="Tree", proto="LL", rate=0.05),)], ids=["sound", "hangs"]
)
@pytest.mark.parametrize("budget_s", [None, 0.05])
def test_replaying_a_journal_gives_the_same_launches(faults, budget_s):
    fabric = world({(SIZES[1], RING): 1.05}, faults=faults, sizes=SIZES[:3])
    plan = plan_of(fabric, budget_s=budget_s)
    first = Race(plan)
    lines = list(steps(first, fabric))
    again = Race(plan)
    for line in lines:
        if isinstance(line, Launch):
            assert again.next_launch() == line
            again.begin(line)
        elif isinstance(line, LaunchEnd):
            again.end(line)
        else:
            again.add(line)
    assert again.next_launch() is None
    assert (again.ratios, again.winners) == (first.ratios, first.winners)
    assert again.evidence.spent_s == first.evidence.spent_s


@pytest.mark.parametrize("cut", [0.0, 0.13, 0.5, 0.77, 0.99])
def test_a_race_that_was_cut_anywhere_goes_on_and_ends(cut):
    """As after a kill: the launch in flight has no end, and what it lacked is measured in a new one."""
    fabric = world({(size, RING): 1.10 for size in SIZES[1:3]})
    plan = plan_of(fabric)
    lines = list(steps(Race(plan), fabric))
    kept = lines[: int(cut * len(lines))]
    race = Race(plan)
    for line in kept:
        if isinstance(line, Launch):
            assert race.next_launch() == line
            race.begin(line)
        elif isinstance(line, LaunchEnd):
            race.end(line)
        else:
            race.add(line)
    unfinished = bool(kept) and not isinstance(kept[-1], LaunchEnd)
    rest = list(steps(race, fabric))
    if unfinished:
        last = next(line for line in reversed(kept) if isinstance(line, Launch))
        assert rest[0].index == last.index + 1
        undone = {b.point: b.repeat - race.evidence.blocks_done(b.point, last.index) for b in last.blocks}
        lacking = {at: repeat for at, repeat in undone.items() if repeat}
        if lacking:  # else it lacked nothing but its end
            assert {block.point: block.repeat for block in rest[0].blocks} == lacking
    assert sizes_won(race) == dict.fromkeys(SIZES[1:3], RING)
    assert [line.index for line in [*kept, *rest] if isinstance(line, Launch)] == list(
        range(len(race.evidence.launches))
    )


# ---- a small statistical check; scripts/sweep_operating_characteristics.py has the large one


def test_few_seeds_of_equal_cells_and_of_one_that_is_faster():
    noise = Noise(cv=0.03)
    equal = [raced(world(noise=noise), seed) for seed in range(20)]
    assert sum(bool(race.winners) for race in equal) == 0
    covered = [all(ratio.low <= 1 <= ratio.high for ratio in race.ratios.values()) for race in equal]
    assert np.mean(covered) >= 0.85
    gains = {(size, LL128): 1.10 for size in SIZES[1:3]}
    faster = [raced(world(gains, noise=noise), seed) for seed in range(20)]
    assert [sizes_won(race) for race in faster].count(dict.fromkeys(SIZES[1:3], LL128)) >= 19
    for race in faster:
        for (at, cell), ratio in race.ratios.items():
            truth = gains.get((at.size_bytes, cell), 1.0)
            assert ratio.low * 0.99 <= truth <= ratio.high * 1.01


def test_the_plan_counts_its_comparisons():
    plan = plan_of(world())
    assert plan.comparisons == len(SIZES) * len(CELLS)
    assert plan.with_(cells=()).comparisons == 1
    assert point(SIZES[0]) == POINTS[0]
    assert QUIET.cv == 0.03
