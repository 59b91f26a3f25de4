"""Groups that failed or hung: which node or link explains them.

A node is unreachable when every group since its last success failed, with two different partners or on its own. The
node that explains the most failed groups is taken first, and what it explains no longer counts against others.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from ncclprobe.records.nodes import GroupValue


@dataclasses.dataclass(frozen=True)
class Failures:
    """What the failed groups say."""

    unreachable: dict[str, tuple[GroupValue, ...]]
    """Node -> the failed groups since its last success."""
    links: dict[tuple[str, ...], int]
    """Pairs that never worked though both nodes do -> how often they failed."""
    unsteady: dict[str, int]
    """Nodes that work but are in several failed groups that nothing else explains -> how many."""
    unexplained: tuple[GroupValue, ...]
    """Failed groups that are none of these."""
    pending: frozenset[str]
    """Nodes of failed groups of which more must be known."""


def explain(values: Sequence[GroupValue]) -> Failures:
    """Return what explains the groups that failed, given all groups in order of time."""
    left = [value for value in values if value.status != "ok"]
    if not left:
        return Failures({}, {}, {}, (), frozenset())
    since = _since_success(values)
    unreachable: dict[str, tuple[GroupValue, ...]] = {}
    while node := _worst(since, left):
        unreachable[node] = tuple(since.pop(node))
        left = [value for value in left if node not in value.nodes]
    links = _broken_links(values, left)
    left = [value for value in left if tuple(sorted(value.nodes)) not in links]
    counts = Counter(node for value in left for node in value.nodes)
    unsteady = {node: count for node, count in counts.items() if count > 1}
    rest = tuple(value for value in left if not unsteady.keys() & set(value.nodes))
    return Failures(unreachable, links, unsteady, rest, frozenset(counts))


def _since_success(values: Iterable[GroupValue]) -> dict[str, list[GroupValue]]:
    """Return the failed groups of each node since it last was in a group that worked."""
    since: dict[str, list[GroupValue]] = defaultdict(list)
    for value in values:
        for node in value.nodes:
            if value.status == "ok":
                since[node].clear()
            else:
                since[node].append(value)
    return since


def _worst(since: dict[str, list[GroupValue]], left: Sequence[GroupValue]) -> str | None:
    """Return the node that explains the most of the failed groups left, None where none is clearly at fault."""
    counts = Counter(node for value in left for node in value.nodes)
    clear = [node for node in counts if _is_clear(node, since.get(node, ()))]
    return max(clear, key=lambda node: (counts[node], len(since[node])), default=None)


def _is_clear(node: str, failed: Sequence[GroupValue]) -> bool:
    partners = [frozenset(value.nodes) - {node} for value in failed]
    return frozenset() in partners or (len(set(partners)) > 1 and not frozenset.intersection(*partners))


def _broken_links(values: Iterable[GroupValue], left: Iterable[GroupValue]) -> dict[tuple[str, ...], int]:
    worked = {frozenset(value.nodes) for value in values if value.status == "ok"}
    pairs = (frozenset(value.nodes) for value in left if len(value.nodes) == 2)
    counts = Counter(tuple(sorted(pair)) for pair in pairs if pair not in worked)
    return {nodes: count for nodes, count in counts.items() if count > 1}
