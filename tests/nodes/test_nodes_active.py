import numpy as np
import pytest

from ncclprobe.backends.fabric import Fabric, Noise, SlowLink, SlowRail
from ncclprobe.nodes.active import Plan, cost, run
from ncclprobe.nodes.simulated import SimulatedFleet, rail_names
from ncclprobe.records.nodes import Group, NodeStatus, Round

PLAN = Plan(rounds=8, budget=12.0, threshold=0.05)
HARD = {"cv": 0.03, "launch_cv": 0.02, "drift": 0.1, "outlier_rate": 0.05, "outlier_factor": 4.0}


def fabric(number=8, noise=None, slow=None, links=(), rails=(), slow_rails=(), gpus=8):
    return Fabric(
        name="test",
        nodes=tuple(f"dgx{i:03d}" for i in range(1, number + 1)),
        gpus_per_node=gpus,
        rails=rails,
        times={},
        model={},
        noise=Noise(**(noise or {"cv": 0.03})),
        slow_nodes=slow or {},
        slow_links=tuple(SlowLink(nodes=nodes, factor=factor) for nodes, factor in links),
        slow_rails=tuple(SlowRail(rail=rail, factor=factor) for rail, factor in slow_rails),
        faults=(),
    )


def outcome(described, seed, plan=PLAN, wrap=None):
    fleet = SimulatedFleet(described, seed)
    measure = wrap(fleet.measure) if wrap else fleet.measure
    return run(described.nodes, fleet.rails, measure, plan, np.random.default_rng([seed, 0]))


def named(found, status=NodeStatus.SLOW):
    judgement = found.judgement
    nodes = {verdict.node for verdict in judgement.nodes if verdict.status is status}
    links = {verdict.nodes for verdict in judgement.links if verdict.status is status}
    return nodes | links | {verdict.rail for verdict in judgement.rails if verdict.status is status}


@pytest.mark.parametrize("seed", range(5))
def test_one_slow_node_of_eight_is_named_and_only_it(seed):
    assert named(outcome(fabric(noise=HARD, slow={"dgx002": 0.85}), seed)) == {"dgx002"}


@pytest.mark.parametrize("seed", range(5))
def test_a_slow_link_is_named_and_only_it(seed):
    assert named(outcome(fabric(links=[(("dgx003", "dgx006"), 0.8)]), seed)) == {("dgx003", "dgx006")}


@pytest.mark.parametrize("seed", range(5))
def test_a_healthy_fleet_has_no_name(seed):
    found = outcome(fabric(number=16), seed)
    assert named(found) == set()
    assert len(found.judgement.nodes) == 16


@pytest.mark.parametrize("seed", range(2))
def test_a_slow_rail_is_named_and_a_slow_node_beside_it(seed):
    rails = tuple(f"mlx5_{i}" for i in range(4))
    described = fabric(32, HARD, {"dgx009": 0.85}, rails=rails, slow_rails=[("mlx5_2", 0.75)])
    assert named(outcome(described, seed)) == {"dgx009", "mlx5_2"}


def test_a_tenth_of_a_large_fleet_is_found_at_little_cost():
    slow = {f"dgx{i:03d}": 0.85 for i in range(5, 300, 10)}
    found = outcome(fabric(300, HARD, slow), 1)
    assert named(found) == set(slow)
    assert cost(found, 300, 8).measurements_per_node < 9


def test_the_seed_binds_everything():
    described = fabric(noise=HARD, slow={"dgx002": 0.9})
    assert outcome(described, 5).values == outcome(described, 5).values != outcome(described, 6).values


@pytest.mark.parametrize("budget", [3.0, 8.0, 9.0])
def test_the_budget_is_never_exceeded(budget):
    found = outcome(fabric(noise=HARD, slow={"dgx002": 0.95}), 3, Plan(rounds=8, budget=budget, threshold=0.05))
    assert cost(found, 8, 8).measurements_per_node <= budget


def test_a_pair_of_nodes_ends_without_a_name():
    found = outcome(fabric(2, slow={"dgx002": 0.5}), 0)
    assert named(found) == set()
    assert found.exhausted


def dies(node, after):
    """Return what makes a node hang in every group from a round on."""

    def wrap(measure):
        def measured(planned):
            for value in measure(planned):
                gone = node in value.nodes and planned.index >= after
                yield value.with_(status="timeout", value=0.0) if gone else value

        return measured

    return wrap


@pytest.mark.parametrize("after", [0, 3, 6])
def test_a_node_that_hangs_is_unreachable_and_the_rest_is_judged(after):
    found = outcome(fabric(slow={"dgx002": 0.8}), 1, wrap=dies("dgx007", after))
    assert named(found, NodeStatus.UNREACHABLE) == {"dgx007"}
    assert named(found) == {"dgx002"}
    hung = [value for value in found.values if value.status == "timeout"]
    assert 2 <= len(hung) <= 4


def test_a_group_is_as_slow_as_its_slowest_part():
    described = fabric(
        4, {"cv": 0.0}, {"dgx001": 0.5, "dgx002": 0.8}, [(("dgx003", "dgx004"), 0.9)], ("r0", "r1"), [("r1", 0.7)]
    )
    fleet = SimulatedFleet(described, 0)
    groups = (("dgx001", "dgx002"), ("dgx002", "dgx003"), ("dgx003", "dgx004"), ("dgx004", "dgx002"))
    rails = ("r0", "r1", "r0", None)
    planned = Round(
        index=0, stage="survey", groups=tuple(Group(nodes=n, rail=r) for n, r in zip(groups, rails, strict=True))
    )
    assert [value.value / 40 for value in fleet.measure(planned)] == pytest.approx([0.5, 0.7, 0.9, 0.7])


def test_a_group_that_crawls_is_cut_short():
    fleet = SimulatedFleet(fabric(2, {"cv": 0.0}, {"dgx001": 0.01}), 0)
    (value,) = fleet.measure(Round(index=0, stage="survey", groups=(Group(nodes=("dgx001", "dgx002")),)))
    assert len(value.samples) == 3
    assert value.value == pytest.approx(0.4)
    assert value.seconds == pytest.approx(5 * 0.00671 * 100, rel=0.01)


def test_rails_that_are_not_listed_follow_the_slow_one():
    assert rail_names(fabric(slow_rails=[("mlx5_3", 0.5)], gpus=4)) == ("mlx5_0", "mlx5_1", "mlx5_2", "mlx5_3")
    assert rail_names(fabric()) == ()
