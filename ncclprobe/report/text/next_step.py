"""What to do next, after each command: a sentence, and commands to paste."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Callable
from typing import Any

from ncclprobe.findings import has_error
from ncclprobe.names import DEFAULT
from ncclprobe.nodesets import fold
from ncclprobe.records.base import Document
from ncclprobe.records.check import EnvCheckDocument
from ncclprobe.records.e2e import IDENTICAL_ARMS, E2eDocument, E2eVerdict, ProxyShape
from ncclprobe.records.inspect import InspectDocument
from ncclprobe.records.nodes import NodesDocument, NodeStatus
from ncclprobe.records.profile import ProfileDocument
from ncclprobe.records.scan import ScanDocument
from ncclprobe.records.sweep import SweepDocument, Verdict
from ncclprobe.records.tune import TuneDocument
from ncclprobe.records.watch import CHANGES, WatchDocument
from ncclprobe.report.text.findings import WIDTH
from ncclprobe.report.text.sweep import looks_faster

SIMULATED, TABLE = "sim", "NCCLPROBE_TUNER_TABLE"
LARGEST_BATCH = 4096
"""Tokens of a step of the proxy, which computes on CPUs."""
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
        return "see to the errors above, the hint below each says how; then scan again.", ()
    if document.env and path:
        return "set these variables in jobs, then measure with them.", (f"ncclprobe env emit {path}", "ncclprobe sweep")
    return "measure whether any setting beats the defaults.", ("ncclprobe sweep",)


def _sweep(document: SweepDocument, path: str) -> Step:
    if has_error(document.findings):
        further = _look_further(document)
        looks = "; this looks further" if further else ""
        return f"see to the errors above before you change a setting{looks}.", further
    if document.choice.verdict is Verdict.CHANGE:
        return _proof(document, path)
    unsettled = [finding for finding in document.findings if finding.code in UNSETTLED]
    if looks_faster(document):
        return "set nothing yet; a larger --budget can confirm what looks faster.", ()
    if unsettled:
        return "set nothing; a larger --budget can tell smaller gains.", ()
    if document.backend == SIMULATED:
        return "set nothing on such a fabric; real ranks have the last word.", ("ncclprobe sweep",)
    what = "a slow node among yours" if _is_wide(document) else "what is amiss on this host"
    return f"set nothing. If jobs are slower than these figures, look for {what}.", _look_further(document)


def _is_wide(document: SweepDocument) -> bool:
    return (document.nnodes or 1) > 1


def _look_further(document: SweepDocument) -> tuple[str, ...]:
    """Return what looks for slow parts: of several hosts, whose names a sweep does not keep, or of this one."""
    if document.backend == SIMULATED:
        return ()
    return ("ncclprobe scan", "ncclprobe nodes --hosts NODESET") if _is_wide(document) else ("ncclprobe scan",)


def _proof(document: SweepDocument, path: str) -> Step:
    """Return how a change is proved by a workload and given to jobs."""
    by_size = bool(document.choice.table) and not document.choice.env
    load = f"ncclprobe env emit {path or 'RUN'}{' --format tuner' if by_size else ''}"
    if document.backend == SIMULATED:
        return "see the choice as jobs would load it; real ranks have the last word.", (load,)
    where = " --launcher srun" if _is_wide(document) else ""
    other = " (with the sweep's launcher in place of srun)" if where else ""
    checked = () if by_size and document.backend != "nccl" else (f"ncclprobe env check {path or 'RUN'}{where}",)
    first = "read back that it comes into force, prove" if checked else "prove"
    commands = (*checked, *_workload(document, path or "RUN", where), load)
    return f"{first} the change by the workload, then load it in jobs{other}.", commands


def _workload(document: SweepDocument, path: str, where: str) -> tuple[str, ...]:
    """Return what tries a change by the workload that runs on what was measured: SGLang on GPUs, the proxy on hosts.

    The ranks are as many as were measured, since a table's rows are for these, and the proxy's messages of a size that
    the table changes.
    """
    nodes = f" --nnodes {document.nnodes}" if where else ""
    if document.backend == "nccl":
        sglang = f"--workload sglang --tp {document.nranks}"
        return (f"ncclprobe validate-e2e {sglang}{nodes}{where} --candidate {path}",)
    batch = _batch(document)
    if batch is None:
        return ()
    return (f"ncclprobe validate-e2e --nranks {document.nranks} --batch {batch}{nodes}{where} --candidate {path}",)


def _batch(document: SweepDocument) -> int | None:
    """Return how many tokens make the proxy's message one that changes, None where none does."""
    token, usual = 4 * ProxyShape().hidden, ProxyShape().batch
    rows = [row for row in document.choice.table if row.collective == "all_reduce" and row.algo != DEFAULT]
    if not rows:
        return usual if document.choice.env else None
    tokens = ((-(-row.min_bytes // token), row.max_bytes // token) for row in rows)
    fits = [max(low, min(usual, high)) for low, high in tokens if 0 < high >= low]
    return min((one for one in fits if 0 < one <= LARGEST_BATCH), key=lambda one: abs(one - usual), default=None)


def _nodes(document: NodesDocument, _path: str) -> Step:
    if document.exclude:
        names = fold(document.exclude)
        return f"leave {names} out of jobs, have it seen to, then measure again.", ()
    others = [*(link.status for link in document.links), *(rail.status for rail in document.rails)]
    statuses = {*(node.status for node in document.nodes), *others}
    if statuses & {NodeStatus.SLOW, NodeStatus.UNREACHABLE} or has_error(document.findings):
        return "see to what is named above as its hint says, then measure again.", ()
    if any(finding.code == "faster-nodes" for finding in document.findings):
        return "compare the values with what the hardware allows: what most nodes share may be slow.", ()
    unknown = sum(node.slowdown is not None and node.slowdown.high >= 1 for node in document.nodes)
    if 2 * unknown > len(document.nodes) and document.cost.rounds == 0:
        return "add more results of these nodes in other groups, until their intervals are clear.", ()
    if NodeStatus.SUSPECT in statuses and document.cost.rounds == 0:
        return "add more results of these nodes with different partners, until their intervals are clear.", ()
    if NodeStatus.SUSPECT in statuses:
        return "measure the suspects again, with a larger --budget, until their intervals are clear.", ()
    return "repair nothing; measure whether settings beat the defaults on these nodes.", ("ncclprobe sweep",)


def _e2e(document: E2eDocument, path: str) -> Step:
    if not document.finished:
        return "go on where it stopped, unless it still runs.", (f"ncclprobe validate-e2e --resume {path or 'DIR'}",)
    if has_error(document.findings):
        return "keep the baseline, and see to the errors above.", ()
    if any(finding.code == IDENTICAL_ARMS for finding in document.findings):
        return "name other settings with --candidate: both arms ran with the same.", ()
    table = " with a copy of its table; docs/tuner-plugin.md says how" if TABLE in document.candidate else ""
    sentences = {
        E2eVerdict.FASTER: f"set in jobs what the faster arm has, as shown above{table}.",
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
    name = path or _only_source(document)
    if not name:
        return "keep this with --out profile, then measure whether other settings are faster at these sizes.", (
            "ncclprobe sweep --profile profile",
        )
    return "measure whether other settings are faster at these sizes.", (f"ncclprobe sweep --profile {name}",)


def _only_source(document: ProfileDocument) -> str:
    """Return the file that was read, quoted; empty where there were several, or it was the standard input."""
    names = {one.source for one in document.sources}
    alone = len(names) == 1 and all(one.files == 1 for one in document.sources)
    return shlex.quote(names.pop()) if alone and "-" not in names else ""


def _tune(document: TuneDocument, path: str) -> Step:
    if document.choice is None:
        return "go on where it stopped.", (f"ncclprobe tune --resume {path or 'DIR'}",)
    if has_error(document.findings):
        return "see to the errors above before you change a setting.", ()
    if document.env or document.table:
        if document.backend == "nccl" and path:
            return _tuned_gpus(document, path)
        return "load what the folder env holds in jobs.", (f"ls {path}/env",) if path else ()
    return "set nothing; keep the run to compare a later one with.", (f"ncclprobe report {path}",) if path else ()


def _tuned_gpus(document: TuneDocument, path: str) -> Step:
    """Return how a change on GPUs is read back and tried by a workload, which ``tune`` does not run on these."""
    load = f"ls {path}/env"
    ranks = {row.nranks for row in document.table} - {None}
    if len(ranks) != 1:
        return "prove the change by validate-e2e --workload sglang, then load what the folder env holds.", (load,)
    tried = f"ncclprobe validate-e2e --workload sglang --tp {ranks.pop()} --candidate {path}"
    first = "read back that the table comes into force, prove it by the workload, then load"
    return f"{first} what the folder env holds in jobs.", (f"ncclprobe env check {path}", tried, load)


def _check(document: EnvCheckDocument, path: str) -> Step:
    if has_error(document.findings):
        return "load nothing in jobs before the errors above are seen to.", ()
    if not document.rows and not document.variables:
        return "set nothing: there is nothing to load.", ()
    if not path:
        return "load the table in jobs, as docs/tuner-plugin.md says.", ()
    form = " --format tuner" if document.rows else ""
    return "load it in jobs.", (f"ncclprobe env emit {path}{form}",)


def _watch(document: WatchDocument, path: str) -> Step:
    if has_error(document.findings):
        return "see to the errors above; then go on with the same --out.", ()
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
    EnvCheckDocument: _check,
}
"""Type -> what says its next step."""
