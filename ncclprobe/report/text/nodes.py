"""What people read after ``nodes``."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from tabulate import tabulate

from ncclprobe.findings import Severity
from ncclprobe.nodesets import fold
from ncclprobe.records.base import Interval
from ncclprobe.records.nodes import SLOW_HCA, LinkVerdict, NodesDocument, NodeStatus, NodeVerdict, RailVerdict
from ncclprobe.report.text.findings import WIDTH, findings_text

MOST_OK = 16
"""Of larger fleets only the nodes that stand out have a row."""

MOST_NAMES = 4
"""More are not spelled out one by one."""

ORDER = (NodeStatus.UNREACHABLE, NodeStatus.SLOW, NodeStatus.SUSPECT, NodeStatus.OK)

Verdict = NodeVerdict | LinkVerdict | RailVerdict


def nodes_text(document: NodesDocument, path: str = "", *, with_findings: bool = True) -> str:
    """Return the answer, a table of what stands out, the evidence and the findings, in 80 columns.

    Args:
        document: The result.
        path: Its run directory; empty for none.
        with_findings: Let the findings stand below; without, they only count for the answer.
    """
    findings = document.findings if with_findings else ()
    above = ("slow-", "suspect-", "unreach")
    notes = [one for one in findings if one.code == SLOW_HCA or not one.code.startswith(above)]
    hints = [one for one in findings if one.severity is Severity.ERROR and one.code != SLOW_HCA]
    parts = [
        _answer(document),
        _table(document),
        _evidence(document),
        _wrapped(dict.fromkeys(f"{finding.subject}: {finding.hint}" for finding in hints)),
        "\n".join(exclusion_lines(document.exclude)),
        findings_text(notes),
        _cost(document),
        f"Run directory: {path}" if path else "",
    ]
    return "\n\n".join(part for part in parts if part)


def _answer(document: NodesDocument) -> str:
    lines = []
    for status in ORDER:
        found = [verdict.node for verdict in document.nodes if verdict.status is status]
        if found:
            kind = "GPUs" if document.each == "gpu" else "nodes"
            lines.append(f"{status}: {len(found)} of {len(document.nodes)} {kind}: {fold(found)}")
    for status in ORDER[:-1]:
        others: list[Verdict] = [*document.links, *document.rails]
        labels = [_label(verdict) for verdict in others if verdict.status is status]
        if labels:
            lines.append(f"{status}: {', '.join(labels[:MOST_OK])}{', …' if len(labels) > MOST_OK else ''}")
    lines += [f"slow: HCA {finding.subject}" for finding in document.findings if finding.code == SLOW_HCA]
    return _wrapped(lines)


def _wrapped(paragraphs: Iterable[str]) -> str:
    """Return paragraphs of at most ``WIDTH`` columns; a name or an option is never broken."""
    wrap = textwrap.TextWrapper(WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return "\n".join(line for text in paragraphs for line in wrap.wrap(text))


def _label(verdict: Verdict) -> str:
    if isinstance(verdict, NodeVerdict):
        return verdict.node
    return f"link {'–'.join(verdict.nodes)}" if isinstance(verdict, LinkVerdict) else f"rail {verdict.rail}"


def _table(document: NodesDocument) -> str:
    rows = [_row(verdict) for verdict in _shown(document)]
    columns = ["", "status", "slowdown", "95 % interval"]
    return tabulate(rows, columns, tablefmt="simple", disable_numparse=True) if rows else ""


def _shown(document: NodesDocument) -> Sequence[Verdict]:
    verdicts: list[Verdict] = [*document.nodes, *document.rails, *document.links]
    few = len(document.nodes) <= MOST_OK
    kept = [v for v in verdicts if v.status is not NodeStatus.OK or (few and not isinstance(v, LinkVerdict))]
    return sorted(kept, key=lambda verdict: ORDER.index(verdict.status))


def _row(verdict: Verdict) -> list[str]:
    slowdown = verdict.slowdown
    if slowdown is None:
        return [_label(verdict), str(verdict.status), "-", "-"]
    return [_label(verdict), str(verdict.status), f"{100 * slowdown.estimate:z.1f} %", _interval(slowdown)]


def _interval(slowdown: Interval) -> str:
    return f"{100 * slowdown.low:z.1f} to {100 * slowdown.high:z.1f} %"


def _evidence(document: NodesDocument) -> str:
    return _wrapped(verdict.evidence for verdict in _shown(document) if verdict.status is not NodeStatus.OK)


def exclusion_lines(names: Sequence[str]) -> Iterator[str]:
    """Yield what leaves nodes out of jobs, quoted for a shell and never broken; nothing where there are none.

    Source: Slurm 22.05, sbatch(1), --exclude; OpenPBS 22, pbsnodes(8B), -o
    """
    if names:
        yield f"Slurm: {shlex.quote(f'--exclude={fold(names)}')}"
        here = f"pbsnodes -o {shlex.join(names)}"
        yield f"PBS, as its operator: {here if len(names) <= MOST_NAMES else 'pbsnodes -o, names in exclude.pbs'}"


def _cost(document: NodesDocument) -> str:
    cost = document.cost
    if cost.rounds == 0:
        return f"{document.source}: {cost.measurements_per_node:.1f} values a node"
    return _wrapped(
        [
            f"{document.source}: {cost.rounds} rounds, {cost.measurements_per_node:.1f} measurements"
            f"{f' and {cost.gpu_minutes_per_node:.2f} GPU-minutes' if cost.gpu_minutes_per_node else ''}"
            f" a {'GPU' if document.each == 'gpu' else 'node'}, "
            f"seed {document.seed}"
        ]
    )
