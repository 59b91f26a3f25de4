import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncclprobe.nodes import rounds
from ncclprobe.nodes.design import Component, Kind
from ncclprobe.records.nodes import Group, Round


def fleet(number):
    return tuple(f"n{i:02d}" for i in range(number))


def planned(number, count, rails=(), seed=0):
    return list(itertools.islice(rounds.survey(fleet(number), rails, np.random.default_rng(seed)), count))


@given(st.integers(2, 24), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_a_tournament_has_every_pair_once_and_no_node_twice_in_a_round(number, seed):
    survey = planned(number, number - 1 + number % 2, seed=seed)
    pairs = Counter(frozenset(group.nodes) for plan in survey for group in plan.groups)
    assert pairs == Counter(map(frozenset, itertools.combinations(fleet(number), 2)))
    for plan in survey:
        members = [node for group in plan.groups for node in group.nodes]
        assert len(members) == len(set(members)) >= number - 1


def test_rounds_go_on_after_all_pairs_met_and_are_numbered():
    assert [plan.index for plan in planned(4, 7)] == list(range(7))


def test_the_seed_binds_the_rounds():
    assert planned(10, 4, seed=3) == planned(10, 4, seed=3) != planned(10, 4, seed=4)


@pytest.mark.parametrize("number", [8, 64])
def test_rails_are_spread_evenly_over_a_round(number):
    rails = ("r0", "r1", "r2", "r3")
    for plan in planned(number, 3, rails):
        assert set(Counter(group.rail for group in plan.groups).values()) == {number // 2 // 4}


def test_one_rail_restricts_nothing():
    assert {group.rail for group in planned(6, 1, ("r0",))[0].groups} == {None}


def test_who_loses_the_partner_gets_another():
    plan = Round(
        index=0, stage="survey", groups=tuple(Group(nodes=pair) for pair in (("a", "b"), ("c", "d"), ("e", "f")))
    )
    reduced = rounds.without(plan, {"a", "c"}, np.random.default_rng(0))
    assert {frozenset(group.nodes) for group in reduced.groups} == {frozenset("bd"), frozenset("ef")}
    assert rounds.without(plan, set(), np.random.default_rng(0)) == plan


def confirm(unclear, passed, met=None, rails=()):
    plan = rounds.confirmation(9, unclear, passed, met or {}, rails, np.random.default_rng(0))
    return None if plan is None else {frozenset(group.nodes): group.rail for group in plan.groups}


def test_a_suspect_node_meets_the_passed_node_it_met_least():
    met = {frozenset(("x", "a")): 1, frozenset(("x", "b")): 1}
    groups = confirm([Component(Kind.NODE, ("x",))], {"a", "b", "c", "d", "e"}, met)
    assert groups.keys() >= {frozenset("xc")} or groups.keys() & {frozenset("xd"), frozenset("xe")}
    assert not groups.keys() & {frozenset("xa"), frozenset("xb")}
    assert len(groups) == 3


def test_a_suspect_link_is_measured_before_its_nodes():
    unclear = [Component(Kind.LINK, ("x", "y")), Component(Kind.NODE, ("x",)), Component(Kind.NODE, ("y",))]
    groups = confirm(unclear, {"a", "b"})
    assert set(groups) == {frozenset("xy"), frozenset("ab")}


def test_a_suspect_rail_is_measured_by_passed_nodes_and_controls_leave_it_out():
    rails = ("r0", "r1")
    groups = confirm([Component(Kind.RAIL, ("r1",))], set("abcdefgh"), rails=rails)
    assert Counter(groups.values()) == {"r1": rounds.RAIL_PAIRS, "r0": 2}


def test_nothing_is_measured_where_nobody_passed():
    assert confirm([Component(Kind.NODE, ("x",))], set()) is None
