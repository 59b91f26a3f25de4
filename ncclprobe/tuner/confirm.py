"""What a workload is to try after a sweep, and what is left of the choice when it has."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ncclprobe.findings import Finding, warning
from ncclprobe.names import Collective
from ncclprobe.records.base import Record
from ncclprobe.records.e2e import RESULT_DIFFERS, ArmSettings, E2eDocument, E2eVerdict, ProxyShape
from ncclprobe.records.inspect import TunerRow
from ncclprobe.records.sweep import Cell, CellResult, Status, SweepDocument, Verdict
from ncclprobe.tuner.environ import sweep_settings

LARGEST_BATCH = 1024
"""Tokens of a step; a decode step has no more."""


class Candidate(Record, frozen=True, kw_only=True):
    """What is compared with the defaults."""

    settings: ArmSettings
    """Of the arm."""
    shape: ProxyShape
    """Of the decode loop: its messages have a size that was swept."""
    label: str
    """For people: ``the choice``, or the setting that came closest to the defaults."""


def candidate(sweep: SweepDocument, shape: ProxyShape) -> Candidate | None:
    """Return what a workload should try: the sweep's choice, or where the defaults stay, what came closest to them.

    The loop's batch is changed so that its messages have the swept size nearest to what they would have had.

    Args:
        sweep: A finished one.
        shape: The decode loop as it would be by itself.

    Returns:
        None where no size that the choice changes can be a message of the loop.
    """
    step = shape.hidden * 4
    sizes = [size for size in _sizes(sweep) if size % step == 0 and 1 <= size // step <= LARGEST_BATCH]
    if not sizes:
        return None
    size = min(sizes, key=lambda size: abs(math.log(size / (shape.batch * step))))
    fitted = fit(shape, size, sweep.nranks)
    if sweep.choice.verdict is Verdict.CHANGE:
        settings = sweep_settings(sweep, "sweep")
        env = {variable.name: variable.value for variable in settings.variables}
        rows = settings.rows if settings.table_only else ()
        return Candidate(settings=ArmSettings(env=env, table=rows), shape=fitted, label="the choice")
    best = max(_rivals(sweep, size), key=_ratio)
    row = TunerRow(
        collective=best.collective, min_bytes=size, max_bytes=size,
        algo=best.algo, proto=best.proto, nchannels=best.nchannels,
    )  # fmt: skip
    label = Cell(algo=best.algo, proto=best.proto, nchannels=best.nchannels).label
    return Candidate(settings=ArmSettings(table=(row,)), shape=fitted, label=label)


def fit(shape: ProxyShape, size: int, nranks: int) -> ProxyShape:
    """Return the decode loop with messages of ``size`` bytes, about as many tokens in all, on that many ranks."""
    batch = size // (shape.hidden * 4)
    return shape.with_(batch=batch, steps=max(4, shape.steps * shape.batch // batch), nranks=nranks)


def _sizes(sweep: SweepDocument) -> Iterable[int]:
    """Return the swept sizes at which there is something to try."""
    table = sweep.choice.table
    for size in sorted({cell.size_bytes for cell in sweep.cells}):
        changes = not table or any(row.min_bytes <= size <= row.max_bytes for row in table)
        if changes if sweep.choice.verdict is Verdict.CHANGE else any(_rivals(sweep, size)):
            yield size


def _rivals(sweep: SweepDocument, size: int) -> list[CellResult]:
    """Return the cells of a size that work and were compared with the default."""
    fine = (Status.OK, Status.ELIMINATED)
    return [
        cell
        for cell in sweep.cells
        if cell.size_bytes == size
        and cell.collective == Collective.ALL_REDUCE
        and not cell.env
        and cell.status in fine
        and cell.vs_default is not None
    ]


def _ratio(cell: CellResult) -> float:
    return cell.vs_default.ratio if cell.vs_default is not None else 0.0


def stands(sweep: SweepDocument, e2e: E2eDocument | None) -> Verdict:
    """Return what is recommended after the workload: a change that makes it slower, or wrong, is withdrawn.

    Args:
        sweep: A finished one.
        e2e: The workload's document; None where none was run.
    """
    gone = e2e is not None and (e2e.verdict is E2eVerdict.SLOWER or computes_otherwise(e2e))
    return Verdict.KEEP_DEFAULTS if gone else sweep.choice.verdict


def computes_otherwise(e2e: E2eDocument) -> bool:
    """Return whether a workload's results differ between its trials."""
    return any(finding.code == RESULT_DIFFERS for finding in e2e.findings)


def doubts(sweep: SweepDocument | None, e2e: E2eDocument | None, tried: str) -> tuple[Finding, ...]:
    """Return where the workload contradicts the sweep.

    Args:
        sweep: The sweep's document; None where it has not ended.
        e2e: The workload's document; None where none was run.
        tried: What the candidate was.
    """
    if sweep is None or e2e is None:
        return ()
    change = sweep.choice.verdict is Verdict.CHANGE
    if change and e2e.verdict is E2eVerdict.SLOWER:
        message = "The collectives alone are faster with the sweep's choice, but the workload is slower with it."
        hint = "The choice was left out of the settings. Sweep the sizes that the workload uses, with --sizes."
        return (warning("workload-slower", e2e.workload, message, hint),)
    if not change and e2e.verdict is E2eVerdict.FASTER:
        message = f"The workload is faster with {tried}, though the sweep could not show that it beats the defaults."
        hint = "Sweep again with a larger --budget, or set it for this workload alone."
        return (warning("workload-faster", e2e.workload, message, hint),)
    return ()
