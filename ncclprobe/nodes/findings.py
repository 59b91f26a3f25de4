"""Verdicts as findings; every code is listed in docs/findings.md."""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from ncclprobe.findings import Finding, error, info, warning
from ncclprobe.nodes.attribute import Judgement
from ncclprobe.nodes.checks import GPU_CHECKS, check_sentence
from ncclprobe.nodes.design import Kind
from ncclprobe.nodes.evidence import LEAST_ROWS
from ncclprobe.nodes.sentences import percent
from ncclprobe.nodesets import fold
from ncclprobe.records.nodes import GroupValue, LinkVerdict, NodeStatus, NodeVerdict, RailVerdict, WrongSum

MOST_ALONE = 10
"""More suspects than this are told in one finding."""

SHOWN = 5
"""Sets that are spelled out in one message."""

Verdict = NodeVerdict | LinkVerdict | RailVerdict


def verdict_findings(judgement: Judgement) -> Iterator[Finding]:
    """Yield what is slow, unreachable or suspect, the worst first."""
    verdicts: list[Verdict] = [*judgement.nodes, *judgement.links, *judgement.rails]
    for verdict in verdicts:
        make = _FAULTS.get((_kind(verdict), verdict.status))
        if make is not None:
            yield make(_subject(verdict), verdict.evidence)
    yield from _suspects(verdicts)
    yield from _failed(judgement)
    yield from _inseparable(judgement)


def _kind(verdict: Verdict) -> Kind:
    return {NodeVerdict: Kind.NODE, LinkVerdict: Kind.LINK, RailVerdict: Kind.RAIL}[type(verdict)]


def _subject(verdict: Verdict) -> str:
    if isinstance(verdict, NodeVerdict):
        return verdict.node
    return "–".join(verdict.nodes) if isinstance(verdict, LinkVerdict) else verdict.rail


def _exclude(node: str) -> str:
    """Return the option that leaves a node out, quoted for a shell: a name may come from anyone's file."""
    return shlex.quote(f"--exclude={node}")


def _slow_node(subject: str, message: str) -> Finding:
    return error(
        "slow-node", subject, message, f"leave it out of jobs (Slurm: {_exclude(subject)}) and have it checked"
    )


def _slow_link(subject: str, message: str) -> Finding:
    hint = "look at the cables and switch ports between the two, or don't place them in one job"
    return error("slow-link", subject, message, hint)


def _slow_rail(subject: str, message: str) -> Finding:
    hint = "look at this rail's switch, or leave its HCA out of NCCL_IB_HCA on all nodes"
    return error("slow-rail", subject, message, hint)


def _unreachable_node(subject: str, message: str) -> Finding:
    hint = f"leave it out of jobs (Slurm: {_exclude(subject)}); see whether it is up and its ports are active"
    return error("unreachable-node", subject, message, hint)


def _unreachable_link(subject: str, message: str) -> Finding:
    return error(
        "unreachable-link", subject, message, "look at routing, partition keys and switch ports between the two"
    )


_FAULTS: dict[tuple[Kind, NodeStatus], Callable[[str, str], Finding]] = {
    (Kind.NODE, NodeStatus.SLOW): _slow_node,
    (Kind.LINK, NodeStatus.SLOW): _slow_link,
    (Kind.RAIL, NodeStatus.SLOW): _slow_rail,
    (Kind.NODE, NodeStatus.UNREACHABLE): _unreachable_node,
    (Kind.LINK, NodeStatus.UNREACHABLE): _unreachable_link,
}


def _suspects(verdicts: Iterable[Verdict]) -> Iterator[Finding]:
    hint = "measure it again, with other partners; the values at hand cannot say"
    by_kind: dict[Kind, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        if verdict.status is NodeStatus.SUSPECT:
            by_kind[_kind(verdict)].append(verdict)
    for kind, suspects in by_kind.items():
        code = f"suspect-{kind.name.lower()}"
        if len(suspects) <= MOST_ALONE:
            yield from (warning(code, _subject(suspect), suspect.evidence, hint) for suspect in suspects)
        else:
            subjects = [_subject(suspect) for suspect in suspects]
            text = fold(subjects) if kind is Kind.NODE else ", ".join(subjects[:MOST_ALONE]) + ", …"
            yield warning(code, text, f"{len(suspects)} may be slow; the table has the evidence on each", hint)


def _failed(judgement: Judgement) -> Iterator[Finding]:
    failures = judgement.failures
    for node, count in failures.unsteady.items():
        message = f"{count} of its groups failed or hung, and others worked"
        yield warning("failed-groups", node, message, "look at its logs at these times; measure it again")
    if failures.unexplained:
        groups = Counter(fold(value.nodes) for value in failures.unexplained)
        shown = ", ".join(list(groups)[:SHOWN]) + (", …" if len(groups) > SHOWN else "")
        number = len(failures.unexplained)
        message = f"{number} group{'s' * (number > 1)} failed or hung, and no node is behind more than one of them"
        yield warning("failed-groups", shown, message, "measure these groups again")


def wrong_sums(wrong: Iterable[WrongSum]) -> Iterator[Finding]:
    """Yield each group of nodes whose sums were wrong; once is enough."""
    by_group: dict[tuple[str, ...], list[WrongSum]] = defaultdict(list)
    for one in wrong:
        by_group[one.nodes].append(one)
    for nodes, found in by_group.items():
        on = fold(dict.fromkeys(name for one in found for name in one.on))
        rounds = f"in {len(found)} rounds" if len(found) > 1 else f"in round {found[0].round}"
        number = sum(one.elements for one in found)
        elements = f"{number} elements of their all-reduce were" if number > 1 else "1 element of their all-reduce was"
        yield error(
            "wrong-result",
            "–".join(nodes),
            f"{elements} wrong {rounds}, on {on}",
            "run no job on them until the memory, the GPUs (nvidia-smi -q, dcgmi diag) and the HCAs have been checked",
        )


def check_findings(nodes: Iterable[NodeVerdict]) -> Iterator[Finding]:
    """Yield each GPU and host whose own checks are below the fleet's."""
    for verdict in nodes:
        for check in verdict.checks:
            if check.status is NodeStatus.SLOW and check.check in GPU_CHECKS:
                hint = "look at its clocks, throttling reasons and other processes (nvidia-smi -q -d PERFORMANCE)"
                gpu = verdict.node if check.gpu is None else f"{verdict.node}/gpu{check.gpu}"
                yield error("slow-gpu", gpu, check_sentence(check), hint)
            elif check.status is NodeStatus.SLOW:
                hint = "look for other processes, clocks, missing memory modules and NUMA settings on it"
                yield error("slow-host", verdict.node, check_sentence(check), hint)


def _inseparable(judgement: Judgement) -> Iterator[Finding]:
    for components in judgement.inseparable:
        labels = [component.label for component in components]
        message = f"the same values are slow for all of {', '.join(labels[:SHOWN])}: which of them it is cannot be told"
        yield info(
            "not-separable", ", ".join(labels[:SHOWN]), message, "measure each of these nodes with other partners"
        )


def reading_findings(judgement: Judgement, values: Sequence[GroupValue], nodes: Collection[str]) -> Iterator[Finding]:
    """Yield what limits the verdicts: units apart, too few values, nodes that only ever appear together."""
    if len(judgement.units) + len(judgement.short_units) > 1:
        units = ", ".join(unit or "no unit" for unit in (*judgement.units, *judgement.short_units))
        message = f"the values have different units ({units}); each is judged apart, and a node's worst verdict counts"
        yield info("mixed-units", units, message, "give one unit a file if their verdicts are wanted apart")
    for unit in judgement.short_units:
        which = f"of the unit {unit}" if unit else "without a unit"
        message = f"fewer than {LEAST_ROWS} values {which}: nothing can be said from them"
        yield info("too-few-values", unit or "no unit", message, "add more results of these groups")
    yield from _rare(values, nodes)
    yield from _unbounded(judgement, values)
    yield from _together(judgement, values)


def _rare(values: Iterable[GroupValue], nodes: Collection[str]) -> Iterator[Finding]:
    counts = Counter(node for value in values for node in value.nodes)
    rare = [node for node in nodes if counts[node] < LEAST_ROWS]
    if rare:
        message = f"{len(rare)} of {len(nodes)} nodes have fewer than {LEAST_ROWS} values and cannot be named slow"
        yield info("too-few-values", fold(rare), message, "add more results of these nodes, with different partners")


def _unbounded(judgement: Judgement, values: Sequence[GroupValue]) -> Iterator[Finding]:
    """Yield one finding on nodes that are ok whatever they are: with values enough, and none that bounds them."""
    counts = Counter(node for value in values for node in value.nodes)
    unknown = [
        verdict.node
        for verdict in judgement.nodes
        if verdict.status is NodeStatus.OK and _reaches_all(verdict) and counts[verdict.node] >= LEAST_ROWS
    ]
    if unknown:
        are, their = ("is", "its") if len(unknown) == 1 else ("are", "their")
        message = (
            f"{len(unknown)} of {len(judgement.nodes)} nodes {are} ok for want of evidence: {their} values bound no"
            " slowdown"
        )
        hint = "add results of other groups, with these nodes and without them"
        if any(value.time is not None for value in values):
            hint += "; if what all nodes share does not drift, leave the column time away"
        yield info("nothing-bounded", fold(unknown), message, hint)


def _reaches_all(verdict: NodeVerdict) -> bool:
    return verdict.slowdown is not None and verdict.slowdown.high >= 1


def faster_findings(judgement: Judgement, threshold: float) -> Iterator[Finding]:
    """Yield one finding on nodes above what passes for healthy: no noise, so that the others may be the slow ones."""
    faster = [verdict for verdict in judgement.nodes if verdict.slowdown and verdict.slowdown.high < -threshold]
    if faster:
        least = min(-verdict.slowdown.high for verdict in faster if verdict.slowdown)
        are = "is" if len(faster) == 1 else "are"
        message = (
            f"{len(faster)} of {len(judgement.nodes)} nodes {are} at least {percent(least)} faster than what passes for"
            " healthy here: the others may be the slow ones, or other hardware"
        )
        hint = "compare values with what the hardware allows; give nodes of other hardware a file of their own"
        yield warning("faster-nodes", fold(verdict.node for verdict in faster), message, hint)


def alike_findings(nodes: Iterable[str]) -> Iterator[Finding]:
    """Yield one finding on names that differ by case or by a domain alone: one host's, as several files spell it."""
    plain = {node: node.casefold() for node in nodes}
    names = set(plain.values())
    hosts: dict[str, list[str]] = defaultdict(list)
    for node, name in plain.items():
        short = name.partition(".")[0]
        hosts[short if short in names else name].append(node)
    several = [", ".join(spellings) for spellings in hosts.values() if len(spellings) > 1]
    if several:
        shown = "; ".join(several[:SHOWN]) + (
            f"; and {len(several) - SHOWN} more hosts" if len(several) > SHOWN else ""
        )
        message = "these names differ by case or domain alone, and each was taken for a node of its own"
        yield warning(
            "names-alike", shown, message, "write a host's name in one way, so that its values count together"
        )


def _together(judgement: Judgement, values: Sequence[GroupValue]) -> Iterator[Finding]:
    """Yield one finding on healthy nodes that have all their values in common, so that nothing tells them apart."""
    rows: dict[str, list[int]] = defaultdict(list)
    for number, value in enumerate(values):
        for node in value.nodes:
            rows[node].append(number)
    known = {name for components in judgement.inseparable for part in components for name in part.names}
    alike: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for node, numbers in rows.items():
        if node not in known:
            alike[tuple(numbers)].append(node)
    sets = [fold(members) for members in alike.values() if len(members) > 1]
    if sets:
        shown = "; ".join(sets[:SHOWN]) + (f"; and {len(sets) - SHOWN} more sets" if len(sets) > SHOWN else "")
        message = (
            "these nodes appear only together, so that a verdict on one is a verdict on all of them and their links"
        )
        yield info("not-separable", shown, message, "measure them with other partners, too")
