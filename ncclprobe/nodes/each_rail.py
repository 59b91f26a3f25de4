"""Nodes that are slow on one of their rails alone, as with a bad HCA: each rail's values are judged apart.

In all values together such a node has its healthy speed, and the slow ones pass for outliers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ncclprobe.findings import Finding, error
from ncclprobe.nodes.attribute import Judgement, judge
from ncclprobe.records.nodes import SLOW_HCA, GroupValue, NodeStatus

HINT = "check this HCA of the node, its cable and switch port (`ncclprobe scan`); it slows down all jobs with this node"


def rail_findings(values: Sequence[GroupValue], judgement: Judgement, threshold: float) -> Iterator[Finding]:
    """Yield each node that is slow on one rail and not as a whole.

    Args:
        values: In order of time.
        judgement: Of all values together.
        threshold: The smallest slowdown of interest.
    """
    rails = dict.fromkeys(value.rail for value in values if value.rail)
    if len(rails) < 2:
        return
    healthy = {verdict.node for verdict in judgement.nodes if verdict.status is NodeStatus.OK}
    for rail in rails:
        own = [value for value in values if value.rail == rail]
        nodes = list(dict.fromkeys(node for value in own for node in value.nodes))
        for verdict in judge(own, nodes, threshold=threshold, share=1 / len(rails)).nodes:
            if verdict.status is NodeStatus.SLOW and verdict.node in healthy:
                text = verdict.evidence.removeprefix(f"{verdict.node}: ")
                yield error(SLOW_HCA, f"{verdict.node}/{rail}", f"on this rail alone {text}", HINT)
