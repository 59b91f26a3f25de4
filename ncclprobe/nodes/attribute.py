"""From group values to verdicts: every node, each rail, and the links that stand out."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

from ncclprobe.nodes.design import Component, Kind
from ncclprobe.nodes.evidence import Evidence, Limits, weigh
from ncclprobe.nodes.failures import Failures, explain
from ncclprobe.nodes.sentences import sentence
from ncclprobe.records.base import Interval
from ncclprobe.records.nodes import GroupValue, LinkVerdict, NodeStatus, NodeVerdict, RailVerdict

ALL_LINKS_UP_TO = 12
"""Fleets of at most so many nodes have every measured link in their document; larger ones those that stand out."""

NOTHING_KNOWN = Interval(estimate=0.0, low=0.0, high=1.0)


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What the values say, and what more would have to be measured."""

    nodes: tuple[NodeVerdict, ...]
    """Every node, in order."""
    links: tuple[LinkVerdict, ...]
    """Those that stand out; all measured ones of a small fleet."""
    rails: tuple[RailVerdict, ...]
    """Every rail that values tell apart."""
    inseparable: tuple[tuple[Component, ...], ...]
    """Components that explain the same slow values equally well."""
    failures: Failures
    """What the failed groups say."""
    unclear: tuple[Component, ...]
    """Components of which more measurements would tell something: links, then rails, then nodes, the worst first."""
    passed: frozenset[str]
    """Nodes that are clear of a slowdown of interest."""
    named: frozenset[Component]
    """What the values name; an unreachable node or link is none of them."""
    units: tuple[str | None, ...]
    """Units that were judged apart."""
    short_units: tuple[str | None, ...]
    """Units with too few values to be judged."""


def judge(
    values: Sequence[GroupValue],
    nodes: Sequence[str],
    *,
    threshold: float = 0.05,
    share: float = 1.0,
    known: frozenset[Component] = frozenset(),
) -> Judgement:
    """Return the verdicts on all nodes and on what was measured of links and rails.

    Args:
        values: In order of time; values of different units are judged apart, with an error budget shared evenly.
        nodes: Every node, those without a value too.
        threshold: The smallest slowdown of interest; estimates under 0.65 of it are never named.
        share: Of the error budgets; less than 1 where this judgement is one of several looks.
        known: What an earlier look named.
    """
    by_unit: dict[str | None, list[GroupValue]] = defaultdict(list)
    for value in values:
        by_unit[value.unit].append(value)
    limits = Limits(threshold=threshold, share=share / max(len(by_unit), 1), known=known)
    weighed = {unit: weigh(rows, nodes, limits) for unit, rows in by_unit.items()}
    merged = _merged(evidence for found in weighed.values() for evidence in found)
    failures = explain(values)
    verdicts = tuple(_node(node, merged.get(Component(Kind.NODE, (node,))), failures) for node in nodes)
    return Judgement(
        nodes=verdicts,
        links=_links(merged, failures, small=len(nodes) <= ALL_LINKS_UP_TO),
        rails=_rails(merged, values),
        inseparable=_inseparable(merged.values()),
        failures=failures,
        unclear=_unclear(merged, verdicts, failures),
        passed=frozenset(
            verdict.node
            for verdict in verdicts
            if verdict.status is NodeStatus.OK and _is_clear(merged.get(Component(Kind.NODE, (verdict.node,))))
        )
        - failures.pending,
        named=frozenset(c for c, evidence in merged.items() if evidence.status is NodeStatus.SLOW),
        units=tuple(unit for unit, found in weighed.items() if found),
        short_units=tuple(unit for unit, found in weighed.items() if not found),
    )


def _is_clear(evidence: Evidence | None) -> bool:
    return evidence is not None and evidence.clear


_ORDER = {NodeStatus.SLOW: 0, NodeStatus.SUSPECT: 1, NodeStatus.OK: 2}


def _merged(found: Iterable[Evidence]) -> dict[Component, Evidence]:
    """Return one piece of evidence a component: of the unit in which it is worst, then of the most precise one."""
    merged: dict[Component, Evidence] = {}
    for evidence in found:
        other = merged.get(evidence.component)
        if other is None or _rank(evidence) < _rank(other):
            merged[evidence.component] = evidence
    return _with_rivals(merged)


def _rank(evidence: Evidence) -> tuple[int, float]:
    return _ORDER[evidence.status], evidence.slowdown.high - evidence.slowdown.low


def _with_rivals(merged: dict[Component, Evidence]) -> dict[Component, Evidence]:
    """Return the evidence with every rival of a suspect being a suspect too."""
    for evidence in [evidence for evidence in merged.values() if evidence.rivals]:
        for rival in evidence.rivals:
            known = merged.get(rival)
            if known is None or (known.status is not NodeStatus.SLOW and not known.rivals):
                others = tuple(c for c in (evidence.component, *evidence.rivals) if c != rival)
                rows = evidence.rows if known is None else known.all_rows
                merged[rival] = dataclasses.replace(evidence, component=rival, rivals=others, all_rows=rows)
    return merged


def _node(node: str, evidence: Evidence | None, failures: Failures) -> NodeVerdict:
    if node in failures.unreachable:
        return NodeVerdict(
            node=node, status=NodeStatus.UNREACHABLE, slowdown=None, evidence=_gone(node, failures.unreachable[node])
        )
    if evidence is None:
        text = f"{node}: no group of it gave a value that can be compared"
        return NodeVerdict(node=node, status=NodeStatus.SUSPECT, slowdown=NOTHING_KNOWN, evidence=text)
    status, text = evidence.status, sentence(evidence)
    if node in failures.unsteady:
        status = NodeStatus.SUSPECT if status is NodeStatus.OK else status
        text += f"; {failures.unsteady[node]} of its groups failed or hung"
    return NodeVerdict(node=node, status=status, slowdown=evidence.slowdown, evidence=text)


def _gone(node: str, failed: Sequence[GroupValue]) -> str:
    partners = {name for value in failed for name in value.nodes if name != node}
    how = "hung" if all(value.status == "timeout" for value in failed) else "failed"
    groups = f"its last {len(failed)} groups" if len(failed) > 1 else "its last group"
    return f"{node}: {groups} {how}, with {len(partners)} different partners; nothing since"


def _links(merged: dict[Component, Evidence], failures: Failures, *, small: bool) -> tuple[LinkVerdict, ...]:
    seen = [evidence for component, evidence in merged.items() if component.kind is Kind.LINK]
    found = [
        LinkVerdict(
            nodes=(evidence.component.names[0], evidence.component.names[1]),
            status=evidence.status,
            slowdown=evidence.slowdown,
            evidence=sentence(evidence),
        )
        for evidence in seen
        if small or evidence.status is not NodeStatus.OK
    ]
    broken = [
        LinkVerdict(
            nodes=(nodes[0], nodes[1]),
            status=NodeStatus.UNREACHABLE,
            slowdown=None,
            evidence=f"{'–'.join(nodes)}: {count} of {count} measurements failed, and both nodes work with others",
        )
        for nodes, count in failures.links.items()
    ]
    return tuple(broken + found)


def _rails(merged: dict[Component, Evidence], values: Iterable[GroupValue]) -> tuple[RailVerdict, ...]:
    members: dict[str, dict[str, None]] = defaultdict(dict)
    for value in values:
        if value.rail is not None and value.status == "ok":
            members[value.rail].update(dict.fromkeys(value.nodes))
    return tuple(
        RailVerdict(
            rail=component.names[0],
            nodes=tuple(sorted(members[component.names[0]])),
            status=evidence.status,
            slowdown=evidence.slowdown,
            evidence=sentence(evidence),
        )
        for component, evidence in merged.items()
        if component.kind is Kind.RAIL
    )


def _inseparable(found: Iterable[Evidence]) -> tuple[tuple[Component, ...], ...]:
    sets = {tuple(sorted((evidence.component, *evidence.rivals))) for evidence in found if evidence.rivals}
    return tuple(sorted(sets))


def _unclear(
    merged: dict[Component, Evidence], verdicts: Iterable[NodeVerdict], failures: Failures
) -> tuple[Component, ...]:
    gone = {verdict.node for verdict in verdicts if verdict.status is NodeStatus.UNREACHABLE}
    gains = {component: evidence.gain for component, evidence in merged.items() if not evidence.clear}
    unmeasured = [v.node for v in verdicts if Component(Kind.NODE, (v.node,)) not in merged]
    gains |= {Component(Kind.NODE, (node,)): math.inf for node in (*failures.pending, *unmeasured)}
    pairs = [tuple(sorted(value.nodes)) for value in failures.unexplained if len(value.nodes) == 2]
    gains |= {Component(Kind.LINK, pair): math.inf for pair in pairs}
    left = [component for component in gains if not gone.intersection(component.names)]
    return tuple(sorted(left, key=lambda component: (-component.kind, -gains[component], component.names)))
