"""The loop between race, backend and journal: what is written when, and when it gives up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sweep_worlds import LL, POINTS, RING, SIZES, plan_of, world

from ncclprobe.backends.simulated import SimulatedBackend
from ncclprobe.errors import LaunchError, RunDirectoryError
from ncclprobe.records.sweep import DEFAULT_CELL, Launch, LaunchBroken, LaunchEnd, Measurement, Status
from ncclprobe.store import Manifest, RunDirectory, read_journal
from ncclprobe.sweep.race import Race
from ncclprobe.sweep.run import BARREN_LAUNCHES, BROKEN_LAUNCHES, LINES, replay, run_race


def through(launch: Launch, measurements: Iterator[Measurement]) -> Iterator[Measurement]:
    return measurements


@pytest.fixture
def directory(tmp_path):
    with RunDirectory.create(tmp_path / "run", Manifest(command="sweep", argv=(), seed=1)) as made:
        yield made


def journal(directory: RunDirectory) -> list:
    return list(read_journal(directory.path, LINES))


def test_the_journal_holds_each_launch_its_samples_and_its_end(directory):
    fabric = world({(SIZES[0], RING): 1.10}, sizes=SIZES[:2])
    race = Race(plan_of(fabric))
    run_race(race, SimulatedBackend.of(fabric), directory, through)
    lines = journal(directory)
    index = -1
    for before, line in zip([None, *lines], lines, strict=False):
        if isinstance(line, Launch):
            assert before is None or isinstance(before, LaunchEnd)
            assert line.index == index + 1
            index = line.index
        else:
            assert line.launch == index
    assert isinstance(lines[-1], LaunchEnd)
    assert sum(isinstance(line, Launch) for line in lines) == len(race.evidence.launches)


def test_a_finished_journal_is_not_added_to(directory):
    fabric = world(sizes=SIZES[:2])
    first = Race(plan_of(fabric))
    run_race(first, SimulatedBackend.of(fabric), directory, through)
    before = (directory.path / "journal.jsonl").read_bytes()
    again = Race(plan_of(fabric))
    run_race(again, SimulatedBackend.of(fabric), directory, through)
    assert (directory.path / "journal.jsonl").read_bytes() == before
    assert again.ratios == first.ratios


def test_samples_are_written_before_they_are_judged(directory):
    fabric = world(sizes=SIZES[:1])

    class Dies(SimulatedBackend):
        def measure(self, launch: Launch) -> Iterator[Measurement]:
            for number, measurement in enumerate(super().measure(launch)):
                if number == 2:
                    raise LaunchError("gone")
                yield measurement

    dies = Dies.__new__(Dies)
    dies.fabric = fabric
    with pytest.raises(LaunchError, match="gone"):
        run_race(Race(plan_of(fabric)), dies, directory, through)
    lines = journal(directory)
    assert [type(line) for line in lines[:5]] == [Launch, Measurement, Measurement, LaunchBroken, Launch]
    assert sum(isinstance(line, LaunchBroken) for line in lines) == BROKEN_LAUNCHES - 1
    race = Race(plan_of(fabric))
    run_race(race, SimulatedBackend.of(fabric), directory, through)
    assert journal(directory)[: len(lines)] == lines
    assert race.unsettled == []


@pytest.mark.parametrize("changes", [{"seed": 2}, {"cells": (LL,)}, {"points": POINTS[:1]}, {"timeout_s": 9.0}])
def test_a_journal_of_another_plan_is_refused(directory, changes):
    fabric = world(sizes=SIZES[:2])
    run_race(Race(plan_of(fabric)), SimulatedBackend.of(fabric), directory, through)
    with pytest.raises(RunDirectoryError, match="was measured by another plan or version; start a new run"):
        replay(Race(plan_of(fabric).with_(**changes)), directory)


class Barren:
    """A backend whose every launch hangs in a cell of its own, or gives nothing."""

    name = "barren"

    def __init__(self, hangs: bool) -> None:
        self.hangs, self.launches = hangs, 0

    def measure(self, launch: Launch) -> Iterator[Measurement]:
        self.launches += 1
        cell = next(cell for block in launch.blocks for cell in block.cells if cell != DEFAULT_CELL)
        if self.hangs:
            yield Measurement(
                launch=launch.index, point=launch.blocks[0].point, block=0, cells=(cell,), times_us=(None,),
                statuses=(Status.TIMEOUT,), wrong=(0,), spent_s=1.0, warmup=True,
            )  # fmt: skip


@pytest.mark.parametrize("hangs", [True, False])
def test_it_gives_up_on_ranks_that_never_give_a_sample(directory, hangs):
    backend = Barren(hangs)
    with pytest.raises(LaunchError, match=f"{BARREN_LAUNCHES} launches in a row gave no sample; see the journal in"):
        run_race(Race(plan_of(world())), backend, directory, through)
    assert backend.launches == BARREN_LAUNCHES


def test_a_launch_that_ends_early_takes_its_time_from_the_budget(directory):
    fabric = world(sizes=SIZES[:1])
    race = Race(plan_of(fabric, budget_s=1e6))
    run_race(race, SimulatedBackend.of(fabric), directory, through)
    ends = [line for line in journal(directory) if isinstance(line, LaunchEnd)]
    assert race.elapsed_s >= sum(end.seconds for end in ends)
    assert race.elapsed_s >= race.evidence.spent_s
