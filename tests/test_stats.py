"""Quantiles, robust locations and spreads against published values, brute force and planted truths."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncclprobe import stats

NAN = math.nan


# ---- quantiles


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        (0.5, 0.0),
        (0.975, 1.959963984540054),
        (0.995, 2.5758293035489004),
        (0.001, -3.090232306167813),
        (1 - 0.05 / (2 * 60), 3.3414789560386264),
    ],
)
def test_normal_quantiles(p, expected):
    assert stats.normal_quantile(p) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("p", "df", "expected"),
    [
        (0.975, 1, 12.706204736174694),
        (0.975, 10, 2.228138851986274),
        (0.95, 2.5, 2.5582186141359355),
        (0.995, 30, 2.7499956535672254),
        (0.975, 1e6, 1.959966356814107),
    ],
)
def test_student_quantiles(p, df, expected):
    assert float(stats.t_quantile(p, df)) == pytest.approx(expected, rel=1e-9)


def test_student_quantiles_elementwise():
    assert stats.t_quantile(0.975, np.array([1.0, 10.0])) == pytest.approx([12.706204736174694, 2.228138851986274])


# ---- the median's interval


def below(successes: int, n: int, p: float = 0.5) -> float:
    """Return the binomial probability of at most so many successes, term by term."""
    return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(successes + 1))


@pytest.mark.parametrize(
    ("n", "low", "high"),
    [(1, 1, 1), (2, 1, 2), (5, 1, 5), (6, 1, 6), (8, 1, 8), (9, 2, 8), (17, 5, 13), (25, 8, 18), (100, 40, 61)],
)
def test_median_interval_of_ranks(n, low, high):
    values = np.random.default_rng(1).permutation(np.arange(1.0, n + 1))
    assert stats.median_interval(values) == ((n + 1) / 2, low, high)


@pytest.mark.parametrize("n", range(6, 61))
def test_median_interval_is_the_shortest_that_holds(n):
    _, low, high = stats.median_interval(np.arange(n))
    missed = 2 * below(int(low), n)
    assert missed <= 0.05
    assert high == n - 1 - low
    assert 2 * below(int(low) + 1, n) > 0.05


def test_median_interval_of_another_level():
    assert stats.median_interval(np.arange(1.0, 21.0), 0.5)[1:] == (8.0, 13.0)


# ---- how far into the extremes the good values are sure to reach


@pytest.mark.parametrize(("rate", "bound"), [(0.05, 1e-4), (0.02, 1.5e-3), (0.3, 0.01)])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 8, 10, 14, 20, 33])
def test_trusted_rank_by_brute_force(n, rate, bound):
    def too_many_bad(a: int) -> float:
        return 1 - below(n - 1 - a, n, rate)

    fit = [a for a in range(1, n // 2 + 1) if too_many_bad(a) <= bound]
    assert stats.trusted_rank(n, rate, bound) == max(fit, default=0)


def test_trusted_rank_of_the_first_look():
    assert [stats.trusted_rank(n, 0.05, 1e-4) for n in (1, 3, 4, 6, 10, 14)] == [0, 0, 0, 2, 5, 7]


# ---- scales and locations


def test_pair_scale_of_normal_values():
    values = np.random.default_rng(2).normal(5.0, 0.03, (20_000, 2))
    assert stats.pair_scale(values) == pytest.approx(0.03, rel=0.02)


def test_pair_scale_ignores_drift_and_outliers():
    values = np.random.default_rng(3).normal(0.0, 0.03, (20_000, 1))
    values[:, 0] += np.linspace(0, 5, len(values))
    values[::20] += 3.0
    assert stats.pair_scale(values) == pytest.approx(0.03, rel=0.2)


def test_pair_scale_by_hand():
    column = np.array([[0.0], [1.0], [NAN], [5.0], [3.0]])
    assert stats.pair_scale(column) == pytest.approx(1.5 / (math.sqrt(2) * 0.6745))


@pytest.mark.parametrize("column", [[[1.0]], [[1.0], [NAN], [2.0]], [[NAN], [NAN]]])
def test_pair_scale_without_neighbours_is_zero(column):
    assert stats.pair_scale(np.array(column)) == 0.0


@pytest.mark.parametrize("wild", [0.0, 0.05, 0.2])
def test_biweight_holds_against_wild_samples(wild):
    rng = np.random.default_rng(4)
    values = rng.normal(0.02, 0.03, (4000, 3))
    values[rng.random(values.shape) < wild] += math.log(4)
    centre, _, _ = stats.biweight(values, 0.03)
    assert centre == pytest.approx([0.02] * 3, abs=0.003)
    if wild:
        assert abs(float(values.mean()) - 0.02) > 10 * abs(float(centre.mean()) - 0.02)


def test_biweight_variance_is_its_own():
    rng = np.random.default_rng(5)
    values = rng.normal(0.0, 0.03, (40, 3000))
    centre, psi2, slope = stats.biweight(values, 0.03)
    claimed = np.mean(psi2 / slope**2)
    assert claimed == pytest.approx(float(np.var(centre)), rel=0.08)
    assert claimed == pytest.approx(0.03**2 / 40 / 0.95, rel=0.08)  # 95 % efficiency at the normal


def test_biweight_without_scale_is_the_median():
    values = np.array([[1.0, 2.0], [3.0, NAN], [100.0, 4.0]])
    centre, psi2, slope = stats.biweight(values, 0.0)
    assert (centre.tolist(), psi2.tolist(), slope.tolist()) == ([3.0, 3.0], [0.0, 0.0], [3.0, 2.0])


def test_biweight_leaves_missing_samples_out():
    values = np.random.default_rng(6).normal(0.0, 0.01, (30, 1))
    gaps = np.insert(values, [3, 10, 25], NAN, axis=0)
    for whole, gapped in zip(stats.biweight(values, 0.01), stats.biweight(gaps, 0.01), strict=True):
        assert gapped == pytest.approx(whole)


@given(
    st.lists(st.floats(-0.1, 0.1), min_size=3, max_size=30),
    st.floats(-5, 5),
    st.floats(0.001, 1.0),
)
@settings(max_examples=100, deadline=None)
def test_biweight_moves_with_its_values(values, shift, scale):
    column = np.array(values)[:, None]
    centre = stats.biweight(column, scale)[0]
    assert stats.biweight(column + shift, scale)[0] == pytest.approx(centre + shift, abs=1e-6)
    assert column.min() - 1e-12 <= centre[0] <= column.max() + 1e-12


# ---- over launches


def test_huber_mean_of_agreeing_launches_is_the_weighted_mean():
    values, variances = np.array([[1.0, 2.0, 1.2]]), np.array([[1.0, 4.0, 0.5]])
    centre, precision, square = stats.huber_mean(values, variances)
    expected = (1.0 + 2.0 / 4 + 1.2 / 0.5) / 3.25
    assert centre[0] == pytest.approx(expected)
    assert precision[0] == pytest.approx(3.25)
    residuals = (1 - expected) ** 2 + (2 - expected) ** 2 / 4 + (1.2 - expected) ** 2 / 0.5
    assert square[0] == pytest.approx(residuals / 2)


def test_huber_mean_holds_against_a_wild_launch():
    values = np.array([[0.0, 0.01, -0.01, 0.005, -0.005, 5.0]])
    centre, _, square = stats.huber_mean(values, np.full_like(values, 1e-4))
    assert abs(centre[0]) < 0.006
    assert square[0] < 3


def test_huber_mean_with_one_launch_has_no_spread():
    centre, precision, square = stats.huber_mean(np.array([[NAN, 0.3]]), np.array([[1.0, 0.25]]))
    assert (centre[0], precision[0]) == (pytest.approx(0.3), 4.0)
    assert math.isnan(square[0])


@pytest.mark.parametrize("between", [0.0, 0.005, 0.02])
@pytest.mark.parametrize("launches", [2, 8])
def test_between_variance_recovers_what_was_planted(between, launches):
    rng = np.random.default_rng(8)
    groups, within = 600, 0.01**2
    values = rng.normal(0, between, (groups, launches)) + rng.normal(0, 0.01, (groups, launches))
    found = stats.between_variance(values, np.full_like(values, within))
    assert math.sqrt(found) == pytest.approx(between, rel=0.1, abs=0.004)


def test_between_variance_holds_against_wild_launches():
    rng = np.random.default_rng(9)
    values = rng.normal(0, math.hypot(0.01, 0.003), (400, 8))
    values[rng.random(values.shape) < 0.02] += 0.3
    found = stats.between_variance(values, np.full_like(values, 0.003**2))
    assert math.sqrt(found) == pytest.approx(0.01, rel=0.15)


def test_between_variance_of_unequal_precision():
    rng = np.random.default_rng(10)
    noise = np.tile([[0.002], [0.05]], (400, 6))
    values = rng.normal(0, 0.01, noise.shape) + rng.normal(0, 1, noise.shape) * noise
    assert math.sqrt(stats.between_variance(values, noise**2)) == pytest.approx(0.01, rel=0.1)


def test_between_variance_without_repeats_is_zero():
    values = np.array([[1.0, NAN], [NAN, 2.0]])
    assert stats.between_variance(values, np.full_like(values, 0.1)) == 0.0


# ---- what the common spread is worth


def test_prior_df_is_large_where_groups_scatter_alike():
    df = np.full(300, 6.0)
    squares = np.random.default_rng(11).chisquare(6, 300) / 6
    assert stats.prior_df(squares, df, 500.0) == 500.0


@pytest.mark.parametrize("planted", [10.0, 20.0])
def test_prior_df_recovers_what_was_planted(planted):
    rng = np.random.default_rng(12)
    variances = planted / rng.chisquare(planted, 20_000)
    squares = variances * rng.chisquare(8, 20_000) / 8
    assert stats.prior_df(squares, np.full(20_000, 8.0), 1e4) == pytest.approx(planted, rel=0.15)


def test_prior_df_has_a_floor_and_needs_three_groups():
    unlike = np.array([1e-6, 1.0, 1e4] * 20)
    assert stats.prior_df(unlike, np.full(60, 5.0), 100.0) == stats.LEAST_DF
    assert stats.prior_df(np.array([0.1, 9.0, NAN]), np.array([5.0, 5.0, 5.0]), 77.0) == 77.0


def test_locations_do_not_depend_on_the_order_of_launches():
    rng = np.random.default_rng(13)
    values, variances = rng.normal(0, 1, (1, 5)), rng.uniform(0.5, 2, (1, 5))
    expected = stats.huber_mean(values, variances)[0][0]
    for order in itertools.permutations(range(5)):
        assert stats.huber_mean(values[:, order], variances[:, order])[0][0] == pytest.approx(expected)
