"""What is reported of a race: cells, gain, and what it cost beside the plain design, recomputed from its lines."""

from __future__ import annotations

import itertools
import math
from statistics import NormalDist

import numpy as np
import pytest
from sweep_worlds import CELLS, LL, POINTS, RING, SIMPLE, SIZES, measured, plan_of, point, raced, steps, world

from ncclprobe.backends.fabric import Fault, Noise
from ncclprobe.records.sweep import DEFAULT_CELL, LaunchEnd, Measurement, Ratio, Status
from ncclprobe.sweep import summary
from ncclprobe.sweep.race import Race


def lines_of(fabric, **changes: object) -> tuple[Race, list[Measurement]]:
    race = Race(plan_of(fabric, **changes))
    return race, [line for line in steps(race, fabric) if isinstance(line, Measurement)]


def timed(lines: list[Measurement]) -> dict[tuple, list[float]]:
    """Return the timed samples of each point and cell, as a reader of the journal would find them."""
    found: dict[tuple, list[float]] = {}
    for line in lines:
        for cell, time, status in zip(line.cells, line.times_us, line.statuses, strict=True):
            if status is Status.OK and time is not None and not line.warmup:
                found.setdefault((line.point, cell), []).append(time)
    return found


# ---- cells


def test_every_cell_at_every_size_the_default_first():
    race = raced(world({(SIZES[0], RING): 1.10}, sizes=SIZES[:2]))
    results = summary.cell_results(race)
    expected = [(size, cell.algo, cell.proto) for size in SIZES[:2] for cell in (DEFAULT_CELL, *CELLS)]
    assert [(r.size_bytes, r.algo, r.proto) for r in results] == expected


def test_figures_of_a_cell_follow_from_its_samples():
    race, lines = lines_of(world({(SIZES[3], RING): 1.10}, noise=Noise(cv=0.05)))
    samples = timed(lines)
    for result, (at, cell) in zip(
        summary.cell_results(race), itertools.product(POINTS, (DEFAULT_CELL, *CELLS)), strict=True
    ):
        values = sorted(samples[at, cell])
        assert result.samples == len(values)
        assert result.time_us is not None
        assert result.time_us.median == pytest.approx(float(np.median(values)))
        assert values[0] <= result.time_us.low <= result.time_us.median <= result.time_us.high <= values[-1]
        # 1 GB/s is 1000 bytes a µs; four ranks send 2 * 3 / 4 of the size.
        assert result.algbw_gbps == pytest.approx(at.size_bytes / result.time_us.median / 1000)
        assert result.busbw_gbps == pytest.approx(1.5 * at.size_bytes / result.time_us.median / 1000)
        assert result.vs_default == (None if cell.is_default else race.ratios[at, cell])
        assert (result.wrong, result.message) == (0, "")


def test_a_wrong_cell_has_its_count_and_no_ratio():
    race = raced(world(faults=(Fault(kind="wrong", algo="Ring"),)))
    broken = [r for r in summary.cell_results(race) if r.algo == "Ring"]
    assert {(r.status, r.vs_default, r.time_us, r.samples, r.algbw_gbps) for r in broken} == {
        (Status.WRONG, None, None, 0, None)
    }
    assert sum(r.wrong for r in broken) == SIZES[0] // 4
    assert {r.status for r in summary.cell_results(race) if r.algo == "default"} == {Status.OK}


def test_a_cell_that_hung_after_some_samples_keeps_them_without_a_ratio():
    race = raced(world(faults=(Fault(kind="hang", algo="Ring", rate=0.05),)))
    hung = [r for r in summary.cell_results(race) if r.algo == "Ring"]
    assert {(r.status, r.vs_default) for r in hung} == {(Status.TIMEOUT, None)}
    assert any(r.samples and r.time_us for r in hung)


def test_all_vs_default_intervals_are_ordered():
    race = raced(world({(SIZES[0], RING): 1.10}))
    ratios = [r.vs_default for r in summary.cell_results(race) if r.vs_default]
    assert len(ratios) == len(SIZES) * len(CELLS)
    assert all(ratio.low < ratio.ratio < ratio.high for ratio in ratios)


# ---- gain


def test_without_winners_the_gain_is_exactly_one():
    assert summary.gain(raced(world())) == Ratio(ratio=1.0, low=1.0, high=1.0)


def test_the_gain_is_the_geometric_mean_over_all_sizes():
    race = raced(world({(size, RING): 1.10 for size in SIZES[:2]}))
    won = [race.ratios[at, RING] for at in POINTS[:2]]
    assert len(race.winners) == 2
    found = summary.gain(race)
    for end in ("ratio", "low", "high"):
        expected = math.prod(getattr(ratio, end) for ratio in won) ** (1 / 4)
        assert getattr(found, end) == pytest.approx(expected)
    assert found.low < 1.10**0.5 < found.high


def test_the_gain_is_weighted_by_the_time_spent_at_each_size():
    race = raced(world({(SIZES[0], RING): 1.10}))
    ratio = race.ratios[POINTS[0], RING]
    weighted = summary.gain(race, {POINTS[0]: 3.0, POINTS[1]: 1.0})
    assert weighted.ratio == pytest.approx(ratio.ratio ** (3 / 4))
    assert summary.gain(race, {POINTS[1]: 1.0}).ratio == 1.0
    assert summary.gain(race, {}).ratio == 1.0


# ---- cost


def expected_cost(lines: list[Measurement], broken: set) -> tuple[float, float]:
    """Return both figures by the contract's words, from the journal's lines alone."""
    samples = {group: times for group, times in timed(lines).items() if group[1] not in broken}
    logs = [np.log(times) for times in samples.values()]
    s = math.sqrt(sum(((x - x.mean()) ** 2).sum() for x in logs) / sum(len(x) - 1 for x in logs))
    comparisons = sum(not cell.is_default for _, cell in samples)
    z = NormalDist().inv_cdf(1 - 0.05 / (2 * comparisons))
    n = max(20, 2 * (z * s / 0.01) ** 2)
    operations = {line.point: line.operations for line in lines if not line.warmup}
    medians = sum(float(np.median(times)) * operations[at] for (at, _), times in samples.items())
    return sum(line.spent_s for line in lines), n * medians / 1e6


@pytest.mark.parametrize(
    ("noise", "faults", "broken"),
    [
        (Noise(cv=0.03), (), set()),
        (Noise(cv=0.001), (), set()),
        (Noise(cv=0.03, launch_cv=0.01, outlier_rate=0.05, outlier_factor=4.0), (), set()),
        (
            Noise(cv=0.03),
            (Fault(kind="hang", algo="Ring", rate=0.1), Fault(kind="wrong", algo="Tree", proto="Simple", rate=0.1)),
            {RING, SIMPLE},
        ),
    ],
    ids=["scatter", "n is 20 at least", "outliers and launches", "broken cells"],
)
def test_cost_by_the_contracts_definition(noise, faults, broken):
    race, lines = lines_of(world({(SIZES[1], LL): 1.2}, noise=noise, faults=faults))
    assert set(race.evidence.out) == broken
    found = summary.cost(race)
    measured_s, exhaustive_s = expected_cost(lines, broken)
    assert found.measured_s == pytest.approx(measured_s)
    assert found.exhaustive_s == pytest.approx(exhaustive_s, rel=1e-3)


def test_what_was_measured_counts_warm_ups_and_timeouts():
    race, lines = lines_of(world(faults=(Fault(kind="hang", algo="Ring"),)))
    warm = sum(line.spent_s for line in lines if line.warmup)
    plain = sum(t for line in lines for t in line.times_us if t is not None) / 1e6
    assert warm > race.plan.timeout_s
    assert summary.cost(race).measured_s == pytest.approx(plain + 1 * race.plan.timeout_s)


def test_exhaustive_seconds_count_the_operations_of_a_sample():
    def cost_with(operations: int) -> float:
        race = Race(plan_of(world(sizes=SIZES[:1], cells=(LL,))))
        launch = race.next_launch()
        assert launch is not None
        race.begin(launch)
        for block in range(3):
            race.add(measured((DEFAULT_CELL, LL), (10.0, 8.0), block=block, at=point(SIZES[0]), operations=operations))
        race.end(LaunchEnd(launch=0, seconds=1.0))
        return summary.cost(race).exhaustive_s

    assert cost_with(1) == pytest.approx(20 * 18e-6)
    assert cost_with(50) == pytest.approx(50 * 20 * 18e-6)


def test_a_race_that_measured_nothing_has_no_cost():
    found = summary.cost(Race(plan_of(world())))
    assert (found.measured_s, found.exhaustive_s) == (0.0, 0.0)


def test_a_race_is_much_cheaper_than_the_plain_design():
    shares = [(found := summary.cost(raced(world(noise=Noise(cv=0.03)), seed))).measured_s / found.exhaustive_s
              for seed in range(5)]  # fmt: skip
    assert np.median(shares) < 0.5
