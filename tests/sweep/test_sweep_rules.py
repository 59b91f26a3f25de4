"""The race's rules on estimates whose figures are known."""

from __future__ import annotations

import itertools
import math
import pathlib

import pytest

from ncclprobe import stats
from ncclprobe.stats import normal_quantile
from ncclprobe.sweep import environments, estimate, rules, search, standings
from ncclprobe.sweep.estimate import Estimate


def one(ratio: float = 0.0, error: float = 0.01, **changes: object) -> Estimate:
    plain = Estimate(
        ratio=ratio, error=error, df=1e6, pairs=60, launches=6, within=0.0018, between=0.0, lowest=(), highest=()
    )
    return plain.with_(**changes)


# ---- the plain design


@pytest.mark.parametrize(
    ("spread", "comparisons", "expected"),
    [
        (0.03, 60, 2 * (3.3414789560386264 * 3) ** 2),
        (0.10, 1, 2 * (1.959963984540054 * 10) ** 2),
        (0.001, 60, 20.0),
        (0.0, 1, 20.0),
    ],
)
def test_the_plain_designs_n(spread, comparisons, expected):
    assert rules.plain_pairs(2 * spread**2, comparisons) == pytest.approx(expected)


def test_the_quantile_of_all_comparisons():
    assert rules.comparisons_z(60) == pytest.approx(3.3414789560386264)
    assert rules.comparisons_z(1) == pytest.approx(1.959963984540054)


# ---- the error budget


def test_the_error_budget_is_within_what_is_promised():
    assert rules.EXPLORE_ALPHA + rules.CONFIRM_LOW_ALPHA + rules.CONFIRM_HIGH_ALPHA <= 0.05 + 1e-12
    assert rules.CONFIRM_LOW_ALPHA <= 0.01  # what a false change may come to
    assert sum(rules.CONFIRM_ALPHAS) <= 1 + 1e-12


@pytest.mark.parametrize("looks", [rules.EXPLORE, rules.EXHAUSTIVE])
def test_looks_grow_and_spend_at_most_the_budget(looks):
    assert sum(look.alpha for look in looks) <= 1 + 1e-12
    assert [look.launches for look in looks] == sorted({look.launches for look in looks})
    assert [look.share for look in looks] == sorted(look.share for look in looks)
    assert looks[-1].share <= 1
    assert looks[0].launches >= 2  # a launch's own factor shows only beside another


def test_the_exhaustive_design_measures_all_of_n():
    assert rules.EXHAUSTIVE[-1].share == 1.0


def test_a_change_needs_half_a_percent():
    assert math.exp(rules.WORTHWHILE) == pytest.approx(1.005)


# ---- who goes on


def test_futile_is_what_surely_gains_less_than_can_be_detected():
    gain = 0.025
    assert rules.futile(one(gain - (rules.FUTILE_Z + 0.1) * 0.01), gain)
    assert not rules.futile(one(gain - (rules.FUTILE_Z - 0.1) * 0.01), gain)


def test_a_cell_that_wild_samples_may_have_slowed_is_not_futile():
    slow = one(-0.5)
    assert rules.futile(slow, 0.025)
    assert not rules.futile(slow.with_(highest=((0.05, 0.01),)), 0.025)


def test_dominated_is_what_is_surely_slower_than_the_best():
    best = one(0.10)
    assert rules.dominated(one(0.10 - (rules.DOMINATED_Z + 0.1) * 0.01), best)
    assert not rules.dominated(one(0.10 - (rules.DOMINATED_Z - 0.1) * 0.01), best)
    assert not rules.dominated(best, best)


def test_a_best_cell_that_wild_samples_may_have_sped_up_dominates_nobody():
    best = one(0.10, lowest=((-0.2, 0.01),))
    assert not rules.dominated(one(0.0), best)


def test_promising_is_a_clear_gain_and_at_the_last_look_a_likely_one():
    clear = rules.WORTHWHILE + (rules.CLEAR_Z + 0.1) * 0.01
    likely = rules.WORTHWHILE + (rules.LAST_Z + 0.1) * 0.01
    assert rules.promising(one(clear), last=False)
    assert not rules.promising(one(likely), last=False)
    assert rules.promising(one(likely), last=True)
    assert not rules.promising(one(rules.WORTHWHILE), last=True)


# ---- how winners are confirmed


def reached(e: Estimate, plan: rules.ConfirmPlan) -> float:
    return math.sqrt(e.between / plan.launches + e.within / (plan.launches * plan.pairs))


@pytest.mark.parametrize("ratio", [0.03, 0.05, 0.1, 0.3])
@pytest.mark.parametrize("between", [0.0, 2e-4])
def test_a_planned_confirmation_would_show_the_gain(ratio, between):
    e = one(ratio, error=0.004, between=between)
    plan = rules.plan_confirmation(e, finalists=4, look=1, most_pairs=1e9)
    assert plan is not None
    z = normal_quantile(1 - rules.CONFIRM_LOW_ALPHA * rules.CONFIRM_ALPHAS[1] / 4)
    gap = ratio - 0.5 * 0.004 - rules.WORTHWHILE
    assert gap >= 0.97 * (z + rules.POWER_Z) * reached(e, plan)


def test_a_confirmation_of_a_large_gain_takes_three_launches_of_a_few_pairs():
    plan = rules.plan_confirmation(one(0.5, error=0.001), finalists=1, look=0, most_pairs=1000)
    assert plan is not None
    assert plan.launches == 3
    assert 2 <= plan.pairs <= rules.LEAST_PAIRS


def test_more_spread_between_launches_takes_more_launches():
    plans = [
        rules.plan_confirmation(one(0.03, error=0.004, between=between), finalists=4, look=1, most_pairs=1e9)
        for between in (0.0, 1e-4, 4e-4)
    ]
    launches = [plan.launches for plan in plans if plan]
    assert launches == sorted(set(launches))
    assert len(launches) == 3
    assert launches[-1] <= rules.MOST_LAUNCHES


def test_the_first_look_takes_a_part_of_what_is_allowed():
    e = one(0.03, error=0.004, within=0.02)
    plan = rules.plan_confirmation(e, finalists=4, look=0, most_pairs=1000)
    assert plan is not None
    assert plan.launches * plan.pairs <= 1000 * rules.FIRST_CONFIRM


@pytest.mark.parametrize(("ratio", "error"), [(rules.WORTHWHILE, 0.0005), (0.0, 0.002), (-0.1, 0.01)])
def test_what_cannot_be_shown_is_not_measured(ratio, error):
    assert rules.plan_confirmation(one(ratio, error=error), finalists=4, look=1, most_pairs=500) is None


# ---- the page


def rows_of(page: str, heading: str) -> list[list[str]]:
    """Return the rows of the page's table under a heading row."""
    after = page[page.index(heading) :].splitlines()[2:]
    rows = itertools.takewhile(lambda line: line.startswith("|"), after)
    return [[cell.strip(" `") for cell in row.strip("|").split("|")] for row in rows]


def test_the_page_gives_the_constants_that_are_used():
    page = (pathlib.Path(__file__).parents[2] / "docs" / "performance.md").read_text()
    looks = [[float(value) for value in row] for row in rows_of(page, "| look | launches |")]
    assert looks == [[i, look.launches, look.share, look.alpha] for i, look in enumerate(rules.EXPLORE, 1)]
    modules = {
        "sweep/rules.py": rules, "sweep/estimate.py": estimate, "stats.py": stats, "sweep/standings.py": standings,
        "sweep/environments.py": environments, "sweep/search.py": search,
    }  # fmt: skip
    for name, value, where in rows_of(page, "| constant | value |"):
        found = getattr(modules[where], name)
        assert [float(part) for part in value.split(",")] == list(found if isinstance(found, tuple) else [found]), name
