"""What to do next, after each command: a sentence, and commands to paste."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Callable
from typing import Any

from ncclprobe.findings import has_error
from ncclprobe.nodesets import fold
from ncclprobe.records.base import Document
from ncclprobe.records.e2e import E2eDocument, E2eVerdict
from ncclprobe.records.inspect import InspectDocument
from ncclprobe.records.nodes import NodesDocument, NodeStatus
from ncclprobe.records.profile import ProfileDocument
from ncclprobe.records.scan import ScanDocument
from ncclprobe.records.sweep import SweepDocument, Verdict
from ncclprobe.records.tune import TuneDocument
from ncclprobe.records.watch import CHANGES, WatchDocument
from ncclprobe.report.text.findings import WIDTH

Step = tuple[str, tuple[str, ...]]
"""A sentence, and the commands that it is about."""
UNSETTLED = ("budget-spent", "coarse-resolution")


def next_step(document: Document, path: str = "") -> str:
    """Return what to do next, empty where a document leaves nothing to do.

    Args:
        document: The result.
        path: Its run directory; empty where nothing was written.
    """
    step = _STEPS.get(type(document))
    if step is None:
        return ""
    sentence, commands = step(document, shlex.quote(path) if path else "")
    lines = textwrap.wrap(f"Next: {sentence}", WIDTH, break_on_hyphens=False, break_long_words=False)
    return "\n".join([*lines, *(f"  {command}" for command in commands)])


def _scan(document: ScanDocument, path: str) -> Step:
    if has_error(document.findings):
        return "see to the errors above, the hints below each say how; then scan again.", ()
    if document.env and path:
        return "set these variables in jobs, then measure with them.", (f"ncclprobe env emit {path}", "ncclprobe sweep")
    return "measure whether any setting beats the defaults.", ("ncclprobe sweep",)


def _sweep(document: SweepDocument, path: str) -> Step:
    if has_error(document.findings):
        return "see to the errors above before you change a setting; these look further.", (
            "ncclprobe scan",
            "ncclprobe nodes --hosts NODESET",
        )
    if document.choice.verdict is Verdict.CHANGE:
        return _proof(document, path)
    unsettled = [finding for finding in document.findings if finding.code in UNSETTLED]
    if unsettled:
        return "set nothing; a larger --budget can tell smaller gains.", ()
    return "set nothing. If jobs are slower than these figures, look for a slow node.", (
        "ncclprobe nodes --hosts NODESET",
    )


def _proof(document: SweepDocument, path: str) -> Step:
    """Return how a change is proved by a workload and given to jobs."""
    form = " --format tuner" if document.choice.table and not document.choice.env else ""
    load = f"ncclprobe env emit {path or 'RUN'}{form}"
    if document.backend == "sim":
        return "see the choice as jobs would load it; real ranks have the last word.", (load,)
    return "prove the change by the workload, then load it in jobs.", (
        f"ncclprobe validate-e2e --candidate {path or 'RUN'}",
        load,
    )


def _nodes(document: NodesDocument, _path: str) -> Step:
    if document.exclude:
        names = fold(document.exclude)
        return f"leave {names} out of jobs, have it seen to, then measure again.", ()
    others = [*(link.status for link in document.links), *(rail.status for rail in document.rails)]
    statuses = {*(node.status for node in document.nodes), *others}
    if statuses & {NodeStatus.SLOW, NodeStatus.UNREACHABLE}:
        return "see to what is named above as its hint says, then measure again.", ()
    if NodeStatus.SUSPECT in statuses:
        return "measure the suspects again, with a larger --budget, until their intervals are clear.", ()
    return "repair nothing; measure whether settings beat the defaults on these nodes.", ("ncclprobe sweep",)


def _e2e(document: E2eDocument, path: str) -> Step:
    if not document.finished:
        return "go on where it stopped, unless it still runs.", (f"ncclprobe validate-e2e --resume {path or 'DIR'}",)
    if has_error(document.findings):
        return "keep the baseline, and see to the errors above.", ()
    sentences = {
        E2eVerdict.FASTER: "set in jobs what the faster arm has, as shown above.",
        E2eVerdict.SLOWER: "keep the baseline.",
        E2eVerdict.NO_DIFFERENCE: "keep the baseline; a setting that gains nothing only has to be looked after.",
        E2eVerdict.INCONCLUSIVE: "keep the baseline, or give more --trials and --budget to tell.",
    }
    return sentences[document.verdict], ()


def _inspect(document: InspectDocument, _path: str) -> Step:
    if has_error(document.findings):
        return "see to the errors above, the worst first; their hints say how.", ()
    return "measure whether other settings are faster than what ran there.", ("ncclprobe sweep",)


def _profile(document: ProfileDocument, path: str) -> Step:
    if not document.messages:
        return "record the workload's messages, as the finding above says.", ()
    return "measure whether other settings are faster at these sizes.", (f"ncclprobe sweep --profile {path or 'FILE'}",)


def _tune(document: TuneDocument, path: str) -> Step:
    if document.choice is None:
        return "go on where it stopped.", (f"ncclprobe tune --resume {path or 'DIR'}",)
    if has_error(document.findings):
        return "see to the errors above before you change a setting.", ()
    if document.env or document.table:
        return "load what the folder env holds in jobs.", (f"ls {path}/env",) if path else ()
    return "set nothing; keep the run to compare a later one with.", (f"ncclprobe report {path}",) if path else ()


def _watch(document: WatchDocument, path: str) -> Step:
    if any(finding.code in CHANGES for finding in document.findings):
        return "see what changed between the checks that are named above.", (f"ls {path}",) if path else ()
    return "keep the history, and go on with the same --out.", ()


_STEPS: dict[type[Document], Callable[[Any, str], Step]] = {
    ScanDocument: _scan,
    SweepDocument: _sweep,
    NodesDocument: _nodes,
    E2eDocument: _e2e,
    InspectDocument: _inspect,
    ProfileDocument: _profile,
    TuneDocument: _tune,
    WatchDocument: _watch,
}
"""Type -> what says its next step."""
