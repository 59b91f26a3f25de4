import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncclprobe.nodes.attribute import judge
from ncclprobe.nodes.drift import smooth
from ncclprobe.records.nodes import GroupValue, NodeStatus

NODES = tuple(f"dgx{i:03d}" for i in range(1, 9))
OK, SLOW, SUSPECT, UNREACHABLE = NodeStatus.OK, NodeStatus.SLOW, NodeStatus.SUSPECT, NodeStatus.UNREACHABLE


def pairs(nodes=NODES, *, slow=None, links=None, cv=0.01, seed=0, repeats=1, base=100.0, **fields):
    """Return a value of every pair, limited by its slowest part."""
    rng, slow, links = np.random.default_rng(seed), slow or {}, links or {}
    return [
        GroupValue(
            nodes=(a, b),
            value=base * min(slow.get(a, 1), slow.get(b, 1), links.get((a, b), 1)) * math.exp(cv * rng.normal()),
            **fields,
        )
        for _ in range(repeats)
        for a, b in itertools.combinations(nodes, 2)
    ]


def statuses(judgement, wanted):
    return {verdict.node for verdict in judgement.nodes if verdict.status is wanted}


def test_a_slow_node_is_named_with_its_evidence_and_no_link_is():
    judgement = judge(pairs(slow={"dgx002": 0.83}), NODES)
    assert statuses(judgement, SLOW) == {"dgx002"}
    assert statuses(judgement, OK) == set(NODES) - {"dgx002"}
    verdict = judgement.nodes[1]
    assert verdict.evidence == (
        "dgx002: 17 % below healthy nodes in 7 of 7 pairs with 7 different partners; not its link"
    )
    assert verdict.slowdown.low < 0.17 < verdict.slowdown.high
    assert verdict.slowdown.high - verdict.slowdown.low < 0.05
    assert all(link.status is OK for link in judgement.links) and len(judgement.links) == 28


def test_a_slow_link_is_named_as_a_link_not_as_its_nodes():
    judgement = judge(pairs(links={("dgx003", "dgx007"): 0.7}, repeats=3), NODES)
    assert [link.nodes for link in judgement.links if link.status is SLOW] == [("dgx003", "dgx007")]
    assert statuses(judgement, OK) == set(NODES)
    (link,) = [link for link in judgement.links if link.status is SLOW]
    assert link.slowdown.low < 0.3 < link.slowdown.high
    assert link.evidence.endswith("in 3 of 3 measurements; not its nodes")


def test_a_link_seen_once_is_suspect_and_never_slow():
    judgement = judge(pairs(links={("dgx003", "dgx007"): 0.7}), NODES)
    assert [(link.nodes, link.status) for link in judgement.links if link.status is not OK] == [
        (("dgx003", "dgx007"), SUSPECT)
    ]
    assert statuses(judgement, OK) == set(NODES)


def test_a_slow_node_hides_no_slower_one():
    judgement = judge(pairs(slow={"dgx002": 0.8, "dgx005": 0.6}), NODES)
    assert statuses(judgement, SLOW) == {"dgx002", "dgx005"}
    assert judgement.nodes[4].slowdown.estimate == pytest.approx(0.4, abs=0.02)
    assert judgement.nodes[1].slowdown.estimate == pytest.approx(0.2, abs=0.02)


def test_a_slow_rail_is_named_and_no_node_is():
    values = [
        value
        for number, rail in enumerate(("mlx5_0", "mlx5_1", "mlx5_2"))
        for value in pairs(base=80.0 if rail == "mlx5_1" else 100.0, rail=rail, seed=number)
    ]
    judgement = judge(values, NODES)
    assert [(rail.rail, rail.status) for rail in judgement.rails] == [
        ("mlx5_0", OK),
        ("mlx5_1", SLOW),
        ("mlx5_2", OK),
    ]
    assert judgement.rails[1].nodes == NODES
    assert judgement.rails[1].slowdown.estimate == pytest.approx(0.2, abs=0.02)
    assert statuses(judgement, OK) == set(NODES)


def test_nodes_that_appear_only_together_cannot_be_told_apart():
    values = pairs(NODES[:6]) + [GroupValue(nodes=("x", "y"), value=80 + i / 9) for i in range(4)]
    judgement = judge(values, (*NODES[:6], "x", "y"))
    assert statuses(judgement, SLOW) == set()
    assert statuses(judgement, SUSPECT) == {"x", "y"}
    (together,) = judgement.inseparable
    assert [component.label for component in together] == ["x", "y", "x–y"]
    assert "may as well be y or x–y" in judgement.nodes[-2].evidence
    assert all(verdict.slowdown.low <= 0 < 0.2 < verdict.slowdown.high for verdict in judgement.nodes[-2:])


def test_a_node_that_was_measured_alone_needs_no_partner_and_is_given_none():
    rows = [GroupValue(nodes=(node,), value=60.0 if node == "dgx002" else 100.0) for node in NODES for _ in range(3)]
    judgement = judge(rows, NODES)
    assert judgement.nodes[1].status is SLOW
    assert judgement.nodes[1].evidence == "dgx002: 40 % below healthy nodes in 3 of 3 groups of it alone; not its link"


def test_a_single_set_of_partners_is_one():
    rest = [GroupValue(nodes=trio, value=100.0) for trio in itertools.combinations(NODES[2:], 3)]
    judgement = judge([*rest, *(GroupValue(nodes=("dgx001", *NODES[2:4]), value=60.0) for _ in range(3))], NODES)
    assert judgement.nodes[0].status is SUSPECT
    assert "in 3 of 3 groups with 1 different set of partners; a second partner is" in judgement.nodes[0].evidence


def test_a_node_with_one_partner_cannot_be_told_from_its_link():
    values = pairs(NODES[:6]) + [GroupValue(nodes=("dgx001", "x"), value=80 + i / 9) for i in range(4)]
    judgement = judge(values, (*NODES[:6], "x"))
    assert statuses(judgement, SUSPECT) == {"x"}
    assert [c.label for c in judgement.inseparable[0]] == ["x", "dgx001–x"]


def test_a_node_with_one_row_is_never_slow():
    values = [*pairs(NODES[:6]), GroupValue(nodes=("dgx001", "x"), value=50.0)]
    assert statuses(judge(values, (*NODES[:6], "x")), SLOW) == set()
    assert statuses(judge(values, (*NODES[:6], "x")), SUSPECT) == {"x"}


def test_values_of_different_units_are_judged_apart_and_the_worst_counts():
    values = pairs(unit="GB/s") + pairs(slow={"dgx004": 0.8}, base=2500.0, unit="tok/s", seed=1)
    judgement = judge(values, NODES)
    assert statuses(judgement, SLOW) == {"dgx004"}
    assert judgement.nodes[3].evidence.endswith("(tok/s)")
    assert judgement.units == ("GB/s", "tok/s")


def test_group_sizes_have_levels_of_their_own():
    rng = np.random.default_rng(2)
    fours = [
        GroupValue(nodes=group, value=60.0 * (0.8 if "dgx006" in group else 1) * math.exp(0.01 * rng.normal()))
        for group in itertools.combinations(NODES, 4)
    ]
    judgement = judge(pairs(slow={"dgx006": 0.8}) + fours, NODES)
    assert statuses(judgement, SLOW) == {"dgx006"}
    assert judgement.nodes[5].slowdown.estimate == pytest.approx(0.2, abs=0.01)


def test_drift_over_time_does_no_harm():
    rng, nodes = np.random.default_rng(4), tuple(f"n{i}" for i in range(20))
    values = []
    for hour in range(160):
        group = tuple(sorted(rng.choice(nodes, 2, replace=False)))
        speed = 0.85 if "n7" in group else 1.0
        level = math.exp(0.2 * math.sin(hour / 25))
        values.append(
            GroupValue(nodes=group, value=speed * level * math.exp(0.02 * rng.normal()), time=str(hour * 3600))
        )
    assert statuses(judge(values, nodes), SLOW) == {"n7"}
    timeless = judge([value.with_(time=None) for value in values], nodes)
    assert statuses(timeless, SLOW) == set()


def test_outliers_do_no_harm():
    values = [
        value.with_(value=value.value / 4) if number % 19 == 5 else value
        for number, value in enumerate(pairs(slow={"dgx002": 0.85}, repeats=3, cv=0.03))
    ]
    judgement = judge(values, NODES)
    assert statuses(judgement, SLOW) == {"dgx002"}


def test_two_nodes_compare_with_nothing():
    judgement = judge([GroupValue(nodes=("a", "b"), value=50 + i) for i in range(6)], ("a", "b"))
    assert statuses(judgement, OK) == {"a", "b"}
    assert all(verdict.slowdown.high == 1 for verdict in judgement.nodes)


def test_too_few_values_judge_nothing():
    judgement = judge(
        [GroupValue(nodes=("a", "b"), value=1.0), GroupValue(nodes=("a", "c"), value=9.0)], ("a", "b", "c")
    )
    assert statuses(judgement, SUSPECT) == {"a", "b", "c"}
    assert judgement.short_units == (None,)


def test_an_unreachable_node_is_reported_and_the_rest_judged():
    values = [
        value.with_(status="timeout", value=0.0) if "dgx008" in value.nodes else value
        for value in pairs(slow={"dgx002": 0.8})
    ]
    judgement = judge(values, NODES)
    assert statuses(judgement, UNREACHABLE) == {"dgx008"}
    assert statuses(judgement, SLOW) == {"dgx002"}
    gone = judgement.nodes[-1]
    assert gone.slowdown is None
    assert gone.evidence == "dgx008: its last 7 groups hung, with 7 different partners; nothing since"


def test_a_node_at_one_percent_is_slow_and_the_rest_judged():
    judgement = judge(pairs(slow={"dgx001": 0.01, "dgx004": 0.85}), NODES)
    assert statuses(judgement, SLOW) == {"dgx001", "dgx004"}
    assert judgement.nodes[0].slowdown.estimate == pytest.approx(0.99, abs=0.001)


def test_small_slowness_below_the_threshold_is_measured_but_not_named():
    values = pairs(slow={"dgx002": 0.97}, cv=0.002, repeats=2)
    assert statuses(judge(values, NODES), SLOW) == set()
    assert statuses(judge(values, NODES, threshold=0.03), SLOW) == {"dgx002"}
    assert judge(values, NODES).nodes[1].slowdown.estimate == pytest.approx(0.03, abs=0.005)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.01, 0.1]))
@settings(max_examples=25, deadline=None)
def test_scale_and_order_of_names_change_nothing(seed, cv):
    values = pairs(slow={"dgx003": 0.8}, cv=cv, seed=seed)
    scaled = [value.with_(value=value.value * 1e4, nodes=value.nodes[::-1]) for value in values]
    for one, other in zip(judge(values, NODES).nodes, judge(scaled, NODES).nodes, strict=True):
        assert (one.node, one.status) == (other.node, other.status)
        assert one.slowdown.estimate == pytest.approx(other.slowdown.estimate, abs=1e-6)


@given(
    st.lists(
        st.tuples(st.sets(st.sampled_from("abcdef"), min_size=1, max_size=4), st.floats(1e-6, 1e6)),
        min_size=1,
        max_size=25,
    )
)
@settings(max_examples=60, deadline=None)
def test_any_values_give_every_node_a_verdict_with_an_interval(rows):
    values = [GroupValue(nodes=tuple(sorted(nodes)), value=value) for nodes, value in rows]
    judgement = judge(values, tuple("abcdef"))
    assert [verdict.node for verdict in judgement.nodes] == list("abcdef")
    for verdict in (*judgement.nodes, *judgement.links):
        assert verdict.slowdown.low <= verdict.slowdown.estimate <= verdict.slowdown.high <= 1


def test_smoothing_without_wandering_is_the_mean_and_with_it_follows():
    rng = np.random.default_rng(0)
    still = 5 + 0.1 * rng.normal(size=50)
    level, variance = smooth(still, np.ones(50), 0.1)
    assert level == pytest.approx(np.full(50, still.mean()), abs=0.06)
    assert variance.max() < 0.1**2 / 10
    wandering = np.cumsum(rng.normal(size=50))
    level, _ = smooth(wandering + 0.1 * rng.normal(size=50), np.ones(50), 0.1)
    assert np.std(level - wandering) < 0.11
