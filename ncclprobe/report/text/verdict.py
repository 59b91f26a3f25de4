"""Every document's answer in a sentence."""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

from ncclprobe.control import one_line
from ncclprobe.nodesets import fold
from ncclprobe.records.base import Document
from ncclprobe.records.e2e import E2eDocument
from ncclprobe.records.env import EnvDocument
from ncclprobe.records.inspect import InspectDocument
from ncclprobe.records.nodes import SLOW_HCA, NodesDocument, NodeStatus
from ncclprobe.records.profile import ProfileDocument
from ncclprobe.records.report import ReportDocument
from ncclprobe.records.scan import ScanDocument
from ncclprobe.records.sweep import SweepDocument
from ncclprobe.records.tune import TuneDocument
from ncclprobe.records.watch import WatchDocument
from ncclprobe.report.text.profile import profile_verdict
from ncclprobe.report.text.sweep import verdict_sentence
from ncclprobe.report.text.validate_e2e import answer_sentence
from ncclprobe.report.text.watch import watch_verdict


def verdict(document: Document) -> str:
    """Return a document's answer in a sentence."""
    return _VERDICTS[type(document)](document)


def scan_verdict(document: ScanDocument) -> str:
    """Return what was found and what to set."""
    if not document.hosts:
        return "No node was scanned."
    hcas, gpus = (sum(len(getattr(host, what)) for host in document.hosts) for what in ("hcas", "gpus"))
    found = f"{counted(len(document.hosts), 'node')}, {counted(hcas, 'HCA')}, {counted(gpus, 'GPU')}"
    names = ", ".join(variable.name for variable in document.env)
    return f"{found}; " + (f"set {names}." if names else "no grounds to set any variable.")


def nodes_verdict(document: NodesDocument) -> str:
    """Return what stands out among nodes, links and rails."""
    nodes = [verdict for verdict in document.nodes if verdict.status is not NodeStatus.OK]
    parts = [
        f"{status}: {fold(verdict.node for verdict in nodes if verdict.status is status)}"
        for status in dict.fromkeys(verdict.status for verdict in nodes)
    ]
    parts += [f"{v.status}: link {'–'.join(v.nodes)}" for v in document.links if v.status is not NodeStatus.OK]
    parts += [f"{v.status}: rail {v.rail}" for v in document.rails if v.status is not NodeStatus.OK]
    parts += [f"slow: HCA {finding.subject}" for finding in document.findings if finding.code == SLOW_HCA]
    return f"{counted(len(document.nodes), 'node')}; " + ("; ".join(parts) or "none stands out") + "."


def e2e_verdict(document: E2eDocument) -> str:
    """Return which arm is faster, by how much."""
    so_far = "" if document.finished else "unfinished, so far: "
    answer = f"{document.workload}: {so_far}{answer_sentence(document)}"
    if document.ratio is None:
        return answer
    ratio = document.ratio
    return (
        f"{answer} Candidate / baseline {ratio.estimate:.3f} (95 %: {ratio.low:.3f} to {ratio.high:.3f}), "
        f"{counted(document.trials_per_arm, 'pair')}."
    )


def inspect_verdict(document: InspectDocument) -> str:
    """Return how many outputs of each kind were read."""
    kinds = collections.Counter(str(type(one).__struct_config__.tag) for one in document.documents)
    return ", ".join(f"{count} × {kind}" for kind, count in kinds.items()) + "." if kinds else "Nothing was recognised."


def env_verdict(document: EnvDocument) -> str:
    """Return how much is to be set."""
    rows = f", {counted(len(document.table), 'row')} of a tuner table" if document.table else ""
    return f"{counted(len(document.env), 'variable')} to set{rows}."


def report_verdict(document: ReportDocument) -> str:
    """Return the runs' answers, a line each, with their names where there are several."""
    named = len(document.runs) > 1
    return "\n".join(f"{one_line(run.source)}: {run.verdict}" if named else run.verdict for run in document.runs)


def counted(number: int, what: str) -> str:
    """Return ``3 nodes``, ``1 node``, ``no node``."""
    return f"{number or 'no'} {what}{'s' if number > 1 else ''}"


_VERDICTS: dict[type[Document], Callable[[Any], str]] = {
    ScanDocument: scan_verdict,
    SweepDocument: verdict_sentence,
    NodesDocument: nodes_verdict,
    InspectDocument: inspect_verdict,
    ProfileDocument: profile_verdict,
    EnvDocument: env_verdict,
    E2eDocument: e2e_verdict,
    WatchDocument: watch_verdict,
    TuneDocument: lambda document: document.verdict,
    ReportDocument: report_verdict,
}
"""Type -> what says its answer."""

DOCUMENTS = tuple(_VERDICTS)
"""Every type of document."""
