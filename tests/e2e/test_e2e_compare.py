import math
import random
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncclprobe.e2e.compare import ALPHA, critical_value, judged, looks, pairs, ratio_interval, verdict_of
from ncclprobe.e2e.location import located
from ncclprobe.records.base import Interval
from ncclprobe.records.e2e import Arm, E2eVerdict, Trial, TrialStatus

METRIC = "tok_s"


def trial(arm, value, status=TrialStatus.OK, order=0):
    metrics = {} if status is TrialStatus.FAILED else {METRIC: value}
    return Trial(arm=arm, order=order, status=status, metrics=metrics, effective={}, started="", seconds=1.0)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (1.001, 1.2, E2eVerdict.FASTER),
        (1.001, 1.01, E2eVerdict.FASTER),
        (0.8, 0.999, E2eVerdict.SLOWER),
        (0.985, 1.015, E2eVerdict.NO_DIFFERENCE),
        (1.0, 1.0, E2eVerdict.NO_DIFFERENCE),
        (0.97, 1.01, E2eVerdict.INCONCLUSIVE),
        (0.99, 1.03, E2eVerdict.INCONCLUSIVE),
    ],
)
def test_the_verdict_is_what_the_interval_says(low, high, verdict):
    assert verdict_of(Interval(estimate=1.0, low=low, high=high), 0.02) is verdict


def test_pairs_are_of_successful_trials_in_order():
    trials = [
        trial(Arm.CANDIDATE, 50.0, TrialStatus.WARM_UP),
        trial(Arm.BASELINE, 100.0),
        trial(Arm.CANDIDATE, 0.0, TrialStatus.FAILED),
        trial(Arm.CANDIDATE, 110.0),
        trial(Arm.CANDIDATE, 120.0),
        trial(Arm.BASELINE, 100.0),
        trial(Arm.BASELINE, 100.0),
    ]
    assert pairs(trials, METRIC, lower_is_better=False) == pytest.approx((math.log(1.1), math.log(1.2)))
    assert pairs(trials, METRIC, lower_is_better=True) == pytest.approx((-math.log(1.1), -math.log(1.2)))


@pytest.mark.parametrize(
    ("most", "expected"),
    [(1, ()), (2, (2,)), (3, (3,)), (4, (4,)), (5, (4, 5)), (10, (4, 6, 8, 10)), (30, (*range(4, 22, 2), 22, 26, 30))],
)
def test_looks_come_after_whole_blocks(most, expected):
    assert looks(most) == expected


def test_a_single_look_at_two_pairs_uses_students_quantile():
    """Student's t with a degree of freedom at 0.04, two-sided, from tables; two values are never cut."""
    assert critical_value(2, 2, final=True) == pytest.approx(15.89, rel=0.02)


@pytest.mark.parametrize("outlier", [-1.4, -10.0, 3.0])
def test_an_outlier_hardly_moves_the_ratio_and_its_size_does_not_matter(outlier):
    quiet = [0.05 + 0.01 * (-1) ** at for at in range(15)]
    ratio = ratio_interval([*quiet, outlier], 2.5)
    assert ratio.estimate == pytest.approx(math.exp(0.05), rel=0.003)
    assert 1.03 < ratio.low < ratio.high < 1.07
    assert ratio == ratio_interval([*quiet, 100 * outlier], 2.5)


def test_without_outliers_centre_and_error_are_nearly_those_of_the_mean():
    draw = random.Random(5)
    values = [draw.gauss(0.1, 0.05) for _ in range(40)]
    (centre,), (error,) = located(np.array([values]))
    assert centre == pytest.approx(statistics.fmean(values), abs=0.003)
    assert error == pytest.approx(statistics.stdev(values) / math.sqrt(40), rel=0.1)


def test_early_looks_are_stricter_than_the_last_and_all_stricter_than_one_look():
    values = [critical_value(count, 20, final=False) for count in looks(20)]
    assert values == sorted(values, reverse=True)
    assert values[-1] > 2.2
    assert critical_value(7, 20, final=True) < critical_value(8, 20, final=False)


def walk(draw, most, effect, noise):
    """Return the judgement of one comparison that stops as the real one does."""
    ratios = []
    for count in range(1, most + 1):
        ratios.append(effect + draw.gauss(0, noise))
        if count in looks(most):
            judgement = judged(ratios, most, 0.02, final=False)
            if judgement.verdict is not E2eVerdict.INCONCLUSIVE:
                break
    return judgement


@pytest.mark.parametrize("noise", [0.01, 0.07])
def test_identical_arms_are_rarely_told_apart_although_the_data_are_looked_at_often(noise):
    draw, runs = random.Random(7), 800
    wrong = sum(walk(draw, 20, 0.0, noise).verdict in (E2eVerdict.FASTER, E2eVerdict.SLOWER) for _ in range(runs))
    assert wrong / runs <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / runs)


@pytest.mark.parametrize("effect", [math.log(1.1), -math.log(1.1)])
def test_an_effect_is_found_and_its_interval_holds_it(effect):
    draw = random.Random(3)
    judgements = [walk(draw, 20, effect, 0.04) for _ in range(300)]
    expected = E2eVerdict.FASTER if effect > 0 else E2eVerdict.SLOWER
    assert sum(judgement.verdict is expected for judgement in judgements) >= 297
    assert sum(judgement.ratio.low <= math.exp(effect) <= judgement.ratio.high for judgement in judgements) >= 285


def test_one_pair_says_nothing():
    assert judged([0.5], 10, 0.02, final=True).ratio is None
    assert judged([], 10, 0.02, final=True).verdict is E2eVerdict.INCONCLUSIVE


def test_nothing_is_said_before_the_first_look_while_pairs_are_to_come():
    assert judged([0.5, 0.4, 0.6], 120, 0.02, final=False).ratio is None
    assert judged([0.5, 0.4, 0.6], 120, 0.02, final=True).ratio is not None
    assert judged([0.5, 0.4, 0.6], 3, 0.02, final=False).ratio is not None


def test_values_without_any_spread_are_clear():
    assert judged([0.0] * 4, 20, 0.02, final=False).verdict is E2eVerdict.NO_DIFFERENCE
    assert judged([0.1] * 4, 20, 0.02, final=False).verdict is E2eVerdict.FASTER


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=20), st.floats(1, 20))
def test_swapping_the_arms_mirrors_the_interval(ratios, critical):
    there, back = ratio_interval(ratios, critical), ratio_interval([-ratio for ratio in ratios], critical)
    assert (there.estimate, there.low, there.high) == pytest.approx((1 / back.estimate, 1 / back.high, 1 / back.low))
