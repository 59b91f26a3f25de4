"""Past results in which a node is slow on one of its rails alone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ncclprobe.nodes.csv import parse_results
from ncclprobe.nodes.document import of_results
from ncclprobe.records.nodes import NodesDocument, NodeStatus
from ncclprobe.report.text.next_step import next_step
from ncclprobe.report.text.nodes import nodes_text
from ncclprobe.report.text.verdict import nodes_verdict

RAILS = ("mlx5_0", "mlx5_1", "mlx5_3")
NAMES = tuple(f"dgx{number:03}" for number in range(1, 7))


def judged(slow: dict[tuple[str, str], float], seed: int = 1, rails: tuple[str, ...] = RAILS) -> NodesDocument:
    """Judge all pairs on all rails, of which nodes are slower on some by a share."""
    random = np.random.default_rng(seed)
    rows = [
        f"{a} {b},{100 * min(1 - slow.get((node, rail), 0) for node in (a, b)) * random.normal(1, 0.01):.3f},{rail}"
        for rail in rails
        for a, b in itertools.combinations(NAMES, 2)
    ]
    return of_results(parse_results("\n".join(["nodes,value,rail", *rows]), "x.csv"), "x.csv", 0.05)


def slow_hcas(document: NodesDocument) -> list[str]:
    return [finding.subject for finding in document.findings if finding.code == "slow-hca"]


def test_a_slow_hca_is_named_though_its_node_is_healthy_as_a_whole() -> None:
    document = judged({("dgx002", "mlx5_3"): 0.2})
    assert slow_hcas(document) == ["dgx002/mlx5_3"]
    assert {verdict.status for verdict in document.nodes} == {NodeStatus.OK}
    text = " ".join(nodes_text(document).split())
    assert "slow: HCA dgx002/mlx5_3" in text
    assert "on this rail alone 2" in text
    assert text.count("cable and switch port") == 1
    assert nodes_verdict(document) == "6 nodes; slow: HCA dgx002/mlx5_3."
    assert "measure again" in next_step(document)


@pytest.mark.parametrize(
    "slow",
    [
        {},
        {(name, "mlx5_1"): 0.2 for name in NAMES},
        {("dgx002", rail): 0.2 for rail in RAILS},
    ],
    ids=["healthy", "a rail", "a node"],
)
def test_what_is_slow_as_a_whole_or_not_at_all_has_no_slow_hca(slow: dict[tuple[str, str], float]) -> None:
    assert [slow_hcas(judged(slow, seed)) for seed in range(5)] == [[]] * 5


def test_one_rail_is_no_more_than_the_whole() -> None:
    document = judged({("dgx002", "mlx5_0"): 0.2}, rails=("mlx5_0",))
    assert slow_hcas(document) == []
    assert [verdict.node for verdict in document.nodes if verdict.status is NodeStatus.SLOW] == ["dgx002"]
