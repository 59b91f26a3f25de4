"""Estimates against planted gains: their location, their errors, and how far wild values can move them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sweep_worlds import CELLS, LL, RING, SIZES, evidence_of, point, world

from ncclprobe.backends.fabric import Noise
from ncclprobe.sweep.estimate import Estimate, estimate

HERE = point(SIZES[0])
GROUPS = [(point(size), cell) for size in SIZES for cell in CELLS]


def estimates(fabric, launches: int = 6, repeat: int = 30, seed: int = 1):
    evidence = evidence_of(fabric, launches, repeat, seed)
    groups = [(at, cell) for at in fabric.times for cell in fabric.times[at] if not cell.is_default]
    return estimate(evidence, groups, list(range(launches)))


def one(**changes: object) -> Estimate:
    plain = Estimate(
        ratio=0.05, error=0.01, df=1e6, pairs=60, launches=6, within=0.0018, between=0.0, lowest=(), highest=()
    )
    return plain.with_(**changes)


def test_a_planted_gain_is_found_and_only_there():
    found = estimates(world({(SIZES[1], RING): 1.08}))
    assert set(found) == set(GROUPS)
    for (at, cell), e in found.items():
        truth = math.log(1.08) if (at.size_bytes, cell) == (SIZES[1], RING) else 0.0
        assert abs(e.ratio - truth) < 4 * e.error
        assert (e.pairs, e.launches) == (180, 6)


def test_variances_within_and_between_launches_are_told_apart():
    for launch_cv in (0.0, 0.02):
        found = estimates(world(noise=Noise(cv=0.03, launch_cv=launch_cv)), launches=8, repeat=50)
        e = found[HERE, LL]
        # A ratio has the default's scatter and the cell's: twice each variance.
        assert math.sqrt(e.within) == pytest.approx(0.03 * math.sqrt(2), rel=0.1)
        assert math.sqrt(e.between) == pytest.approx(launch_cv * math.sqrt(2), rel=0.3, abs=0.003)


def test_the_error_is_the_spread_over_repeated_sweeps():
    fabric = world(noise=Noise(cv=0.03, launch_cv=0.01), sizes=SIZES[:2])
    runs = [estimates(fabric, launches=5, repeat=10, seed=seed) for seed in range(60)]
    ratios = np.array([[e.ratio for e in run.values()] for run in runs])
    claimed = np.array([[e.error for e in run.values()] for run in runs])
    expected = math.sqrt(2 * (0.01**2 / 5 + 0.03**2 / 50))
    assert math.sqrt(np.mean(ratios**2)) == pytest.approx(expected, rel=0.12)
    assert float(np.mean(claimed)) == pytest.approx(expected, rel=0.15)


def test_an_interval_misses_as_rarely_as_it_says():
    fabric = world(noise=Noise(cv=0.05, launch_cv=0.02), sizes=SIZES[:2])
    missed = total = 0
    for seed in range(60):
        for e in estimates(fabric, launches=4, repeat=8, seed=seed).values():
            low, high = e.interval(0.05, 0.05)
            missed, total = missed + (not low <= 0 <= high), total + 1
    assert missed / total < 0.13


@pytest.mark.parametrize("noise", [Noise(cv=0.03, outlier_rate=0.05, outlier_factor=4.0), Noise(cv=0.03, drift=0.1)])
def test_outliers_and_drift_move_nothing(noise):
    plain, disturbed = (estimates(world(noise=n), launches=4, repeat=50) for n in (Noise(cv=0.03), noise))
    for group in GROUPS:
        assert abs(disturbed[group].ratio) < 0.025
        assert disturbed[group].error < 1.5 * plain[group].error


def test_launches_that_are_not_asked_for_count_for_the_spread_alone():
    fabric = world({(SIZES[0], LL): 1.05}, noise=Noise(cv=0.01, launch_cv=0.05), sizes=SIZES[:1])
    evidence = evidence_of(fabric, launches=10, repeat=20)
    groups = [(HERE, cell) for cell in CELLS]
    some, all_ = estimate(evidence, groups, [7, 8, 9]), estimate(evidence, groups, list(range(10)))
    assert some[HERE, LL].launches == 3
    assert some[HERE, LL].pairs == 60
    assert some[HERE, LL].between == all_[HERE, LL].between
    assert some[HERE, LL].ratio != all_[HERE, LL].ratio
    assert some[HERE, LL].error == pytest.approx(all_[HERE, LL].error * math.sqrt(10 / 3), rel=0.6)


def test_groups_that_were_not_measured_have_no_estimate():
    evidence = evidence_of(world(sizes=SIZES[:1]), launches=2, repeat=3)
    assert estimate(evidence, [(point(99), LL)], [0, 1]) == {}
    assert set(estimate(evidence, [(point(99), LL), (HERE, LL)], [0, 1])) == {(HERE, LL)}
    assert estimate(evidence, [(HERE, LL)], []) == {}


def test_without_noise_the_ratio_is_exact():
    found = estimates(world({(SIZES[0], LL): 1.02}, noise=Noise()), launches=2, repeat=3)
    assert found[HERE, LL].ratio == pytest.approx(math.log(1.02))
    assert found[HERE, LL].error < 1e-6
    assert found[HERE, RING].ratio == pytest.approx(0, abs=1e-12)


# ---- intervals of an estimate


def test_ends_are_students():
    e = one(df=10.0)
    assert e.interval(0.025, 0.05) == (
        pytest.approx(0.05 - 2.228138851986274 * 0.01),
        pytest.approx(0.05 + 1.8124611228107335 * 0.01),
    )


def test_a_value_that_could_be_the_truth_widens_the_interval():
    e = one(lowest=((0.01, 0.02),), highest=((0.2, 0.001), (0.04, 0.001)))
    assert e.low(2.0) == pytest.approx(0.01 - 0.04)
    assert e.high(2.0) == pytest.approx(0.202)
    assert one().low(2.0) == pytest.approx(0.03)
    assert one().high(2.0) == pytest.approx(0.07)


def test_few_samples_leave_room_for_wild_ones_and_many_do_not():
    few, many = (estimates(world(), launches=n, repeat=r)[HERE, LL] for n, r in ((2, 2), (12, 10)))
    assert few.lowest
    assert few.highest
    assert many.lowest == many.highest == ()


def test_half_of_the_first_samples_being_wild_does_not_fool_the_interval():
    """Four samples of a cell 20 % slow, two of them while the default was interrupted: it must not look faster."""
    fabric = world({(SIZES[0], LL): 1 / 1.2}, noise=Noise(cv=0.03, outlier_rate=0.35, outlier_factor=4.0))
    truth, missed = -math.log(1.2), 0
    for seed in range(40):
        e = estimates(fabric.with_(times={HERE: fabric.times[HERE]}), launches=2, repeat=3, seed=seed)[HERE, LL]
        low, high = e.low(2.5), e.high(2.5)
        missed += not low <= truth <= high
    assert missed <= 6
