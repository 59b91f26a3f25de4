"""Findings of a race, and the page that lists them."""

from __future__ import annotations

import pathlib
import re

import pytest
from sweep_worlds import LL, RING, SIZES, raced, world

from ncclprobe.backends.fabric import Fault, Noise
from ncclprobe.findings import Finding, has_error
from ncclprobe.records.sweep import Cell, Choice, LaunchBroken, Ratio, TableRow, Verdict
from ncclprobe.sweep.doubts import doubts
from ncclprobe.sweep.race import Race

ROOT = pathlib.Path(__file__).parents[2]
KEEP = Choice(verdict=Verdict.KEEP_DEFAULTS, env={}, table=(), gain=Ratio(ratio=1, low=1, high=1))
CHANGE = Choice(verdict=Verdict.CHANGE, env={}, table=(), gain=Ratio(ratio=1.1, low=1.05, high=1.2))


def found(race: Race, choice: Choice = KEEP, dropped_bytes: int = 0) -> list[tuple[str, str, str]]:
    return [(f.severity, f.code, f.subject) for f in doubts(race, choice, dropped_bytes)]


def only(race: Race, choice: Choice = KEEP, dropped_bytes: int = 0) -> Finding:
    (finding,) = doubts(race, choice, dropped_bytes)
    return finding


def test_a_sound_race_has_none():
    assert found(raced(world())) == []


@pytest.mark.parametrize(
    ("kind", "code", "message"),
    [
        ("wrong", "wrong-result", "Tree/LL summed wrongly, so it is out at every size"),
        ("hang", "cell-timeout", "Tree/LL did not end, so it is out at every size"),
    ],
)
def test_a_broken_cell(kind, code, message):
    finding = only(raced(world(faults=(Fault(kind=kind, algo="Tree", proto="LL"),))))
    assert (finding.severity, finding.code, finding.subject) == ("error", code, "Tree/LL")
    assert finding.message == message


def test_ranks_that_were_lost_are_told_once():
    race = raced(world())
    race.broke(LaunchBroken(launch=0, message="rank 1 on n2: Killed (signal 9)\nNo sample was in flight."))
    assert only(race).message == (
        "ranks died or were stopped once: rank 1 on n2: Killed (signal 9); what they were at was measured again"
    )
    race.broke(LaunchBroken(launch=1, message="another"))
    assert only(race).message.startswith("ranks died or were stopped 2 times, the first time: rank 1 on n2")


def test_each_broken_cell_has_its_own():
    faults = (Fault(kind="wrong", algo="Tree", proto="LL"), Fault(kind="hang", algo="Ring"))
    findings = found(raced(world(faults=faults)))
    assert sorted(findings) == [("error", "cell-timeout", "Ring/Simple"), ("error", "wrong-result", "Tree/LL")]


@pytest.mark.parametrize(("kind", "what"), [("wrong", "summed wrongly"), ("hang", "did not end")])
def test_a_broken_default(kind, what):
    finding = only(raced(world(faults=(Fault(kind=kind, algo="default"),))))
    assert (finding.severity, finding.code) == ("error", "default-broken")
    assert finding.message == f"the library's own choice {what}"
    assert has_error((finding,))


@pytest.mark.parametrize(("lacking", "where"), [(SIZES[:1], "1K"), (SIZES[:2], "1K, 32K"), (SIZES, "every size")])
def test_refused_cells(lacking, where):
    fabric = world()
    times = {
        at: {cell: t for cell, t in row.items() if cell != RING or at.size_bytes not in lacking}
        for at, row in fabric.times.items()
    }
    race = raced(fabric.with_(times=times)) if lacking != SIZES else raced_with_an_unknown_cell()
    finding = only(race)
    assert (finding.severity, finding.code) == ("info", "cell-refused")
    assert finding.message == f"the library refuses {finding.subject} at {where}"


def raced_with_an_unknown_cell() -> Race:
    return raced(world(), cells=(LL, Cell(algo="NVLS", proto="Simple")))


def test_a_spent_budget():
    finding = only(raced(world(), budget_s=1e-9))
    assert (finding.severity, finding.code, finding.subject) == ("warning", "budget-spent", "1K, 32K, 1M, 32M")
    assert "the budget of" in finding.message


def test_a_budget_that_makes_the_answer_coarse():
    loud = world(noise=Noise(cv=0.2), sizes=SIZES[:2])
    race = raced(loud, budget_s=0.35 * raced(loud).evidence.spent_s)
    finding = only(race)
    if race.unsettled:
        assert finding.code == "budget-spent"
    else:
        assert (finding.severity, finding.code) == ("info", "coarse-resolution")
        assert f"over about {100 * race.detectable:.1f} %, not 2.5 %" in finding.message


def test_a_choice_that_no_variable_can_say():
    race = raced(world())
    assert found(race, CHANGE) == [("info", "table-only", "choice")]
    assert found(race, CHANGE.with_(env={"NCCL_ALGO": "allreduce:ring"})) == []


def test_more_channels_than_the_library_makes_of_itself():
    row = TableRow(collective="all_reduce", min_bytes=8, max_bytes=64, algo="Ring", proto="LL", nchannels=32)
    race = raced(world())
    choice = CHANGE.with_(table=(row,), env={"NCCL_MIN_NCHANNELS": "32"})
    assert found(race, choice) == [("info", "table-only", "choice")], "nobody said how many it makes"
    race.evidence.own_channels = 24
    assert found(race, choice) == [("info", "table-only", "choice"), ("info", "more-channels", "choice")]
    race.evidence.own_channels = 32
    assert found(race, choice) == [("info", "table-only", "choice")]


def test_a_torn_line():
    finding = only(raced(world()), dropped_bytes=17)
    assert (finding.severity, finding.code) == ("info", "torn-line")
    assert "17 bytes were dropped" in finding.message


def test_every_code_is_listed_with_its_severity():
    source = (ROOT / "ncclprobe" / "sweep" / "doubts.py").read_text()
    codes = set(re.findall(r'"([a-z]+(?:-[a-z]+)+)"', source))
    assert len(codes) == 10
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (ROOT / "docs" / "findings.md").read_text().splitlines()
        if line.startswith("| `")
    ]
    listed = {row[0].strip("`"): row for row in rows if "sweep" in row[2]}
    assert codes <= set(listed)
    assert all(len(row) == 5 and all(row) for row in listed.values())
