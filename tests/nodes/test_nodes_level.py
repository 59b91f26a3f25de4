"""Whether the whole fleet became slower from one run to the next."""

from __future__ import annotations

import pytest
from test_nodes_history import past

from ncclprobe.findings import Severity
from ncclprobe.nodes.history import PastRun
from ncclprobe.nodes.level import level_findings
from ncclprobe.records.nodes import GroupValue


def pair(*values: float, day: int = 1) -> PastRun:
    rows = tuple(GroupValue(nodes=("a", "b"), value=value, unit="GB/s", round=n) for n, value in enumerate(values))
    return PastRun(f"2026-11-{day:02d}T02:00:00Z", f"run-{day}", rows)


HEALTHY = pair(3.58, 3.62, 3.37, 3.12, 3.47, 3.27)
LOADED = pair(2.01, 1.93, 1.94, 1.95, 1.98, 1.98, day=2)
"""data/h200x2_202611: two pretended nodes, without and with a load on the GPU of one."""


def test_a_single_pair_that_became_slow_is_told_with_its_interval():
    (finding,) = level_findings([HEALTHY, LOADED], 0.05)
    assert (finding.severity, finding.code, finding.subject) == (
        Severity.WARNING, "level-changed", "2026-11-02T02:00:00Z",
    )  # fmt: skip
    assert "became 42 % slower (37 % to 47 %) (GB/s)" in finding.message


def test_a_single_pair_that_recovered_is_no_warning():
    (finding,) = level_findings([LOADED, HEALTHY], 0.05)
    assert finding.severity is Severity.INFO
    assert " faster (" in finding.message


@pytest.mark.parametrize("seed", range(20))
def test_runs_that_differ_as_runs_do_are_no_change(seed):
    assert list(level_findings(past([{}] * 8, seed=seed), 0.05)) == []


def test_a_fleet_that_became_slower_as_a_whole_is_told():
    runs = past([{}] * 6, level_cv=0.01)
    slower = [value.with_(value=value.value * 0.7) for value in runs[-1].values]
    (finding,) = level_findings([*runs[:-1], PastRun(runs[-1].time, "run-6", tuple(slower))], 0.05)
    assert (finding.code, finding.subject) == ("level-changed", runs[-1].time)


def test_too_few_values_say_nothing():
    assert list(level_findings([pair(3.0, 3.1), pair(1.0, 1.1, day=2)], 0.05)) == []
    assert list(level_findings([HEALTHY], 0.05)) == []
