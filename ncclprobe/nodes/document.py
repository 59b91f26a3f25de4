"""The document of ``ncclprobe nodes``, from past results and from an active run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from ncclprobe.findings import Finding, info, warning
from ncclprobe.nodes.active import Outcome, cost
from ncclprobe.nodes.attribute import judge
from ncclprobe.nodes.checks import by_groups, explained, judge_checks
from ncclprobe.nodes.csv import Results
from ncclprobe.nodes.each_rail import rail_findings
from ncclprobe.nodes.exclusion import excluded
from ncclprobe.nodes.findings import (
    alike_findings,
    check_findings,
    faster_findings,
    reading_findings,
    verdict_findings,
    wrong_sums,
)
from ncclprobe.nodes.gpus import with_hints
from ncclprobe.nodesets import natural_key
from ncclprobe.records.nodes import (
    CheckValue,
    GroupValue,
    HostGone,
    NodesCost,
    NodesDocument,
    NodeStatus,
    NodeVerdict,
    WrongSum,
)


def of_results(results: Results, source: str, threshold: float) -> NodesDocument:
    """Return the verdicts on every node that past results name."""
    values = results.values
    nodes = sorted({node for value in values for node in value.nodes}, key=natural_key)
    judgement = judge(values, nodes, threshold=threshold)
    findings = (
        *verdict_findings(judgement),
        *rail_findings(values, judgement, threshold),
        *reading_findings(judgement, values, nodes),
        *faster_findings(judgement, threshold),
        *alike_findings(nodes),
        *_time_findings(results, source),
    )
    return NodesDocument(
        nodes=judgement.nodes,
        exclude=excluded(judgement.nodes),
        links=judgement.links,
        rails=judgement.rails,
        findings=findings,
        cost=NodesCost(
            rounds=0,
            measurements_per_node=sum(len(value.nodes) for value in values) / len(nodes),
            gpu_minutes_per_node=0.0,
        ),
        source=source,
    )


def _time_findings(results: Results, source: str) -> Iterator[Finding]:
    hint = "write ISO 8601 (2026-11-22T02:11:00Z) or seconds in every row, so that drift can be told from slowness"
    if results.bad_times:
        lines = ", ".join(str(line) for line in results.bad_times[:5])
        yield info("time-not-used", source, f"the time in line {lines} is none; the column is not used", hint)
    elif results.some_times:
        yield info("time-not-used", source, "not every row has a time; the column is not used", hint)
    if results.repeated:
        rows = "1 row repeats" if results.repeated == 1 else f"{results.repeated} rows repeat"
        message = f"{rows} the nodes, value and time of another; what is there twice counts once"
        yield info("repeated-rows", source, message, "look whether the same jobs were exported twice")
    if results.inverted:
        names = "; ".join(results.inverted)
        message = f"{names}: taken for times by their name, so less is better"
        yield info("taken-for-times", source, message, "name the metric or unit otherwise where more is better")


@dataclasses.dataclass(frozen=True)
class Inside:
    """What is known of nodes beside the values of their groups."""

    checks: tuple[CheckValue, ...] = ()
    """What they measured of themselves."""
    gone: tuple[HostGone, ...] = ()
    """Those that do not answer."""
    wrong: tuple[WrongSum, ...] = ()
    """Sums that were wrong."""


NOTHING = Inside()


def of_outcome(
    outcome: Outcome,
    nodes: Sequence[str],
    gpus_per_node: int,
    source: str,
    seed: int,
    inside: Inside = NOTHING,
    threshold: float = 0.05,
    each: str = "host",
) -> NodesDocument:
    """Return the verdicts on a fleet that was measured, each node of which is a host or a GPU."""
    judgement = dataclasses.replace(outcome.judgement, nodes=_with_reasons(outcome.judgement.nodes, inside.gone))
    checks = judge_checks(inside.checks, threshold)
    told = tuple(explained(verdict, checks.get(verdict.node, ())) for verdict in judgement.nodes)
    judgement = dataclasses.replace(judgement, nodes=by_groups(judgement.nodes, told))
    findings = (
        *wrong_sums(inside.wrong),
        *verdict_findings(judgement),
        *check_findings(told),
        *reading_findings(judgement, _of_groups(outcome.values), nodes),
        *_course_findings(outcome, nodes),
    )
    return NodesDocument(
        nodes=told,
        exclude=excluded(told) if each == "host" else (),
        links=judgement.links,
        rails=judgement.rails,
        findings=tuple(with_hints(findings)) if each == "gpu" else findings,
        each=each,
        cost=cost(outcome, len(nodes), gpus_per_node),
        source=source,
        seed=seed,
    )


def _with_reasons(nodes: Sequence[NodeVerdict], gone: Sequence[HostGone]) -> tuple[NodeVerdict, ...]:
    """Return the verdicts, an unreachable node's with what happened when it was asked."""
    whys = {host.node: host.why for host in gone}
    return tuple(
        verdict.with_(evidence=f"{verdict.node}: {whys[verdict.node]}")
        if verdict.status is NodeStatus.UNREACHABLE and verdict.node in whys
        else verdict
        for verdict in nodes
    )


def _of_groups(values: Sequence[GroupValue]) -> tuple[GroupValue, ...]:
    """Return the values without those that only say that a host does not answer."""
    return tuple(value for value in values if len(value.nodes) > 1 or value.status == "ok")


def _course_findings(outcome: Outcome, nodes: Sequence[str]) -> Iterator[Finding]:
    gone = {verdict.node for verdict in outcome.judgement.nodes if verdict.status is NodeStatus.UNREACHABLE}
    pairs = {frozenset(value.nodes) for value in outcome.values if len(value.nodes) == 2}
    pairs = {pair for pair in pairs if not pair & gone}
    number = len(nodes) - len(gone)
    possible = number * (number - 1) // 2
    if outcome.exhausted:
        number = len(outcome.judgement.unclear)
        message = (
            f"{number} nodes, links or rails could not be cleared: their intervals reach beyond what is of interest"
        )
        hint = "give a larger --budget; where values scatter much, a larger --threshold, or measure suspects alone"
        yield warning("budget-spent", "nodes", message, hint)
    if len(pairs) < possible:
        rounds = number - 1 + number % 2
        message = f"{len(pairs)} of {possible} links were measured; a slow one among the others would not be seen"
        yield info(
            "links-not-covered", "links", message, f"--rounds {rounds} --budget {2 * rounds} measures each of them"
        )
