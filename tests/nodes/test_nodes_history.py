import dataclasses
import math

import numpy as np
import pytest

from ncclprobe.findings import Severity
from ncclprobe.nodes.history import JUDGED_RUNS, Change, Newest, PastRun, change_findings, changes, ordered
from ncclprobe.nodes.readings import digest, readings
from ncclprobe.records.nodes import GroupValue

NODES = tuple(f"dgx{i:03d}" for i in range(1, 9))


def past(slow_by_run, *, seed=0, cv=0.01, unit="GB/s", level_cv=0.03):
    """Return runs, one a day, in which all nodes meet in six rounds; a run's level differs from the others'."""
    rng = np.random.default_rng(seed)
    runs = []
    for day, slow in enumerate(slow_by_run, 1):
        level, values = 40 * math.exp(level_cv * rng.standard_normal()), []
        for round_ in range(6):
            order = [NODES[i] for i in rng.permutation(len(NODES))]
            for a, b in zip(order[::2], order[1::2], strict=True):
                speed = min(slow.get(a, 1.0), slow.get(b, 1.0))
                value = level * speed * math.exp(cv * rng.standard_normal())
                values.append(GroupValue(nodes=(a, b), value=value, unit=unit, round=round_))
        runs.append(PastRun(f"2026-11-{day:02d}T02:00:00Z", f"run-{day}", tuple(values)))
    return runs


def test_a_node_that_became_slow_is_dated():
    runs = past([{}] * 5 + [{"dgx003": 0.85}] * 4)
    (change,) = changes(runs, 0.05)
    assert (change.node, change.run, change.earliest, change.latest) == ("dgx003", 5, 5, 5)
    assert (change.runs_before, change.runs_after, change.unit) == (5, 4, "GB/s")
    assert change.before.low < 0 < change.before.high
    assert change.after.low < 0.15 < change.after.high
    assert 0.05 < change.drop.low < 0.15 < change.drop.high


def test_a_finding_says_when_and_how_much():
    runs = past([{}] * 5 + [{"dgx003": 0.85}] * 4)
    (finding,) = change_findings(runs, changes(runs, 0.05))
    assert (finding.severity, finding.code, finding.subject) == (Severity.WARNING, "node-changed", "dgx003")
    assert " % slower (" in finding.message
    assert "since 2026-11-06T02:00:00Z: " in finding.message
    assert finding.message.endswith(" in 4 runs after (GB/s)")


def test_a_repair_is_a_second_change_and_no_warning():
    runs = past([{}] * 4 + [{"dgx003": 0.8}] * 4 + [{}] * 4)
    found = changes(runs, 0.05)
    assert [(change.node, change.run) for change in found] == [("dgx003", 4), ("dgx003", 8)]
    assert found[0].drop.low > 0 > found[1].drop.high
    assert [finding.severity for finding in change_findings(runs, found)] == [Severity.WARNING, Severity.INFO]


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_found_where_nothing_changed(seed):
    assert changes(past([{"dgx006": 0.9}] * 6, seed=seed), 0.05) == ()


def test_a_node_slow_all_along_did_not_change():
    assert changes(past([{"dgx002": 0.7}] * 5), 0.05) == ()


def test_fleets_that_vary_from_run_to_run_raise_the_bar():
    rng = np.random.default_rng(1)
    wandering = [{node: math.exp(-abs(0.05 * rng.standard_normal())) for node in NODES} for _ in range(8)]
    assert changes(past(wandering), 0.05) == ()


def test_two_units_that_show_the_same_change_tell_it_once():
    slow = [{}] * 4 + [{"dgx003": 0.85}] * 4
    runs = [
        dataclasses.replace(a, values=a.values + b.values)
        for a, b in zip(past(slow), past(slow, seed=1, unit="tok/s"), strict=True)
    ]
    (change,) = changes(runs, 0.05)
    assert (change.node, change.run) == ("dgx003", 4)


def test_changes_below_the_threshold_are_left_out():
    runs = past([{}] * 6 + [{"dgx003": 0.98}] * 6, cv=0.001)
    assert changes(runs, 0.05) == ()
    assert [change.node for change in changes(runs, 0.02)] == ["dgx003"]


def test_the_current_values_are_those_since_the_last_change():
    runs = past([{}] * 5 + [{"dgx003": 0.85}] * 4)
    newest = Newest()
    for run in runs:
        newest.add(run)
    values = newest.values(changes(runs, 0.05))
    assert sum("dgx003" in value.nodes for value in values) == 6 * 4
    assert len(values) == 9 * 24 - 5 * 6
    assert all(value.round is None and value.time is not None for value in values)


def test_runs_are_ordered_by_their_time_and_empty_ones_left_out():
    runs = past([{}] * 3)
    assert ordered([runs[2], PastRun("2026-10-01T00:00:00Z", "none", ()), runs[0], runs[1]]) == tuple(runs)


def test_a_run_with_too_few_values_says_nothing():
    runs = past([{}])
    assert list(readings(runs[0].values[:2])) == []
    assert [reading.node for reading in readings(runs[0].values)] == list(NODES)


def test_readings_of_a_run_stand_for_its_values():
    runs = past([{}] * 5 + [{"dgx003": 0.85}] * 4)
    read = [dataclasses.replace(run, values=(), readings=tuple(readings(run.values))) for run in runs]
    assert changes(read, 0.05) == changes(runs, 0.05) != ()


def test_only_the_newest_runs_are_held_and_a_change_among_the_others_is_long_ago():
    (run,) = past([{}])
    newest, (change,) = Newest(), changes(past([{}] * 5 + [{"dgx003": 0.85}] * 4), 0.05)
    for _ in range(JUDGED_RUNS + 10):
        newest.add(run)
    assert len(newest.values([change])) == JUDGED_RUNS * len(run.values)
    late = dataclasses.replace(change, run=JUDGED_RUNS + 9)
    assert sum("dgx003" in value.nodes for value in newest.values([late])) == 6


@pytest.mark.parametrize(
    "other", [{"value": 1.0}, {"nodes": ("a", "b")}, {"unit": "s"}, {"rail": "r"}, {"round": 9}, {"status": "failed"}]
)
def test_a_digest_tells_values_apart_by_all_that_readings_follow_from(other):
    values = past([{}])[0].values
    assert digest(values) == digest(tuple(value.with_(samples=(1.0,), seconds=2.0) for value in values))
    assert digest(values) != digest((*values[:-1], values[-1].with_(**other)))
    assert digest(values) != digest((*values[1:], values[0]))


@pytest.mark.parametrize("count", [0, 1])
def test_no_change_is_found_in_one_run_or_none(count):
    assert changes(past([{}] * count), 0.05) == ()


def test_a_change_record_holds_what_the_finding_needs():
    assert {field.name for field in dataclasses.fields(Change)} >= {"node", "run", "before", "after", "drop"}
