"""The document of ``ncclprobe nodes``, from past results and from an active run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ncclprobe.findings import Finding, info, warning
from ncclprobe.nodes.active import Outcome, cost
from ncclprobe.nodes.attribute import judge
from ncclprobe.nodes.csv import Results
from ncclprobe.nodes.findings import reading_findings, verdict_findings
from ncclprobe.nodesets import natural_key
from ncclprobe.records.nodes import NodesCost, NodesDocument


def of_results(results: Results, source: str, threshold: float) -> NodesDocument:
    """Return the verdicts on every node that past results name."""
    values = results.values
    nodes = sorted({node for value in values for node in value.nodes}, key=natural_key)
    judgement = judge(values, nodes, threshold=threshold)
    findings = (
        *verdict_findings(judgement),
        *reading_findings(judgement, values, nodes),
        *_time_findings(results, source),
    )
    return NodesDocument(
        nodes=judgement.nodes,
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


def of_outcome(outcome: Outcome, nodes: Sequence[str], gpus_per_node: int, source: str, seed: int) -> NodesDocument:
    """Return the verdicts on a fleet that was measured."""
    judgement = outcome.judgement
    return NodesDocument(
        nodes=judgement.nodes,
        links=judgement.links,
        rails=judgement.rails,
        findings=(
            *verdict_findings(judgement),
            *reading_findings(judgement, outcome.values, nodes),
            *_course_findings(outcome, nodes),
        ),
        cost=cost(outcome, len(nodes), gpus_per_node),
        source=source,
        seed=seed,
    )


def _course_findings(outcome: Outcome, nodes: Sequence[str]) -> Iterator[Finding]:
    pairs, possible = {frozenset(value.nodes) for value in outcome.values}, len(nodes) * (len(nodes) - 1) // 2
    if outcome.exhausted:
        message = f"{len(outcome.judgement.unclear)} suspects were not cleared within the budget"
        yield warning("budget-spent", "nodes", message, "give a larger --budget, or measure the suspects alone")
    if len(pairs) < possible:
        rounds = len(nodes) - 1 + len(nodes) % 2
        message = f"{len(pairs)} of {possible} links were measured; a slow one among the others would not be seen"
        yield info(
            "links-not-covered", "links", message, f"--rounds {rounds} --budget {2 * rounds} measures each of them"
        )
