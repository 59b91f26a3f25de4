"""The loop: one trial after the other, each journalled as it ends, until the answer is clear or time is up."""

from __future__ import annotations

import contextlib
import math
import os
import pathlib
import re
import shutil
import time
from collections.abc import Callable, Sequence

from ncclprobe.e2e.doubts import doubts
from ncclprobe.e2e.foretold import foretold
from ncclprobe.e2e.leftover import end_leftover, started_now
from ncclprobe.e2e.plan import Slot, Stop, spent, standing
from ncclprobe.e2e.resumed import resumed_doubts
from ncclprobe.e2e.summary import summarised
from ncclprobe.e2e.telemetry_run import FILE, Telemetry, read_telemetry
from ncclprobe.e2e.workload import Limit, Outcome, Surroundings, Workload, make_workload
from ncclprobe.errors import LaunchError, MissingDependencyError
from ncclprobe.records.base import now
from ncclprobe.records.e2e import ArmSettings, E2eDocument, E2eOptions, Resumed, Started, Trial, TrialStatus
from ncclprobe.store import RunDirectory, read_journal

LOGS = "trials"
"""Folder with what each trial printed."""


def compared(
    options: E2eOptions, directory: RunDirectory, surroundings: Surroundings, say: Callable[[str], None]
) -> E2eDocument:
    """Run what is left of a comparison and return its document, written to the run directory as well.

    Args:
        options: Of the comparison.
        directory: New, or of a run that was interrupted: its trials are kept.
        surroundings: What the workload is lent.
        say: Takes a line of progress a trial.

    Raises:
        ProbeError: The workload cannot be run at all, or the directory cannot be written.
    """
    workload = make_workload(options, surroundings)
    checks = workload.checks()
    for finding in checks:
        say(f"{finding.severity}: {finding.code}: {finding.message}")
    trials = earlier_trials(directory.path)
    (directory.path / LOGS).mkdir(exist_ok=True)
    if workload.opening and options.warmups and not trials:
        say(workload.opening)
    stand = standing(options, workload.metric, trials)
    if afresh := stand.step is Stop.FAILURES:
        stand = standing(options, workload.metric, trials, afresh=True)
    with Telemetry(options.telemetry_s) as telemetry:
        while isinstance(stand.step, Slot):
            trials.append(_run_one(stand.step, trials, options, workload, directory, telemetry, afresh=afresh))
            say(progress(trials[-1], workload.metric))
            stand, afresh = standing(options, workload.metric, trials), False
    document = summarised(options, workload.metric, trials)
    found = doubts(document, options, stand, directory.dropped)
    found = (*found, *resumed_doubts(options.workload, _changes_on_resuming(directory.path)))
    document = document.with_(findings=(*found, *checks, *workload.doubts(trials)))
    document, beside = foretold(document, options)
    document = document.with_(findings=(*document.findings, *beside))
    directory.finish(document)
    return document


def earlier_trials(path: pathlib.Path) -> list[Trial]:
    """Return the trials in a run directory's journal, and end what the last one may have left running."""
    lines = list(read_journal(path, {"trial": Trial, "started": Started}))
    if lines and isinstance(lines[-1], Started):
        end_leftover(lines[-1])
    return [line for line in lines if isinstance(line, Trial)]


def _changes_on_resuming(path: pathlib.Path) -> list[Resumed]:
    return [line for line in read_journal(path, {"resumed": Resumed}) if isinstance(line, Resumed)]


def _run_one(
    slot: Slot,
    trials: list[Trial],
    options: E2eOptions,
    workload: Workload,
    directory: RunDirectory,
    telemetry: Telemetry,
    *,
    afresh: bool,
) -> Trial:
    """Run one trial and journal it."""
    arm, order = options.arms[slot.arm], len(trials)
    log = directory.path / LOGS / f"{order:04d}-{file_name(slot.arm)}.txt"

    def started(pid: int) -> None:
        directory.append(started_now(order, pid), "started")

    folder = _fresh_folder(log)
    _begin(telemetry, folder, arm)
    began, clock = now(), time.monotonic()
    try:
        outcome = workload.run(arm, log, limit_of(slot, trials, options), started)
    except (LaunchError, MissingDependencyError):
        telemetry.end()
        _forget(log)
        raise
    seconds = time.monotonic() - clock
    telemetry.end()
    trial = trial_of(slot, order, outcome, began, seconds).with_(telemetry=read_telemetry(folder), afresh=afresh)
    directory.append(trial, "trial")
    return trial


def limit_of(slot: Slot, trials: Sequence[Trial], options: E2eOptions) -> Limit:
    """Return how long a trial may take; a warm-up is no matter of the budget."""
    left = math.inf if slot.warm_up or options.budget_s is None else options.budget_s - spent(trials)
    return Limit(min(options.timeout_s, left), is_budget=left < options.timeout_s)


def _fresh_folder(log: pathlib.Path) -> pathlib.Path:
    """Return the folder that takes what a trial leaves behind beside its log, empty."""
    folder = log.with_suffix("").absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def _forget(log: pathlib.Path) -> None:
    """Leave nothing of a trial that could not be started, nor the folder of trials where it is the first."""
    shutil.rmtree(log.with_suffix(""), ignore_errors=True)
    log.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        log.parent.rmdir()


def _begin(telemetry: Telemetry, folder: pathlib.Path, arm: ArmSettings) -> None:
    """Begin with a trial's samples; where several nodes run it, each of them samples itself."""
    if arm.layout is None or arm.layout.nnodes == 1:
        telemetry.begin(folder / FILE, {**os.environ, **arm.env}.get("CUDA_VISIBLE_DEVICES"))


def trial_of(slot: Slot, order: int, outcome: Outcome, began: str, seconds: float) -> Trial:
    """Return the record of one run."""
    fine = TrialStatus.WARM_UP if slot.warm_up else TrialStatus.OK
    return Trial(
        arm=slot.arm,
        order=order,
        status=TrialStatus.FAILED if outcome.message else fine,
        metrics=outcome.metrics,
        effective=outcome.effective,
        started=began,
        seconds=round(seconds, 3),
        message=outcome.message,
        is_warm_up=slot.warm_up,
        wild_checksum=outcome.wild_checksum,
        repeats=outcome.repeats,
        sent=outcome.sent,
    )


def progress(trial: Trial, metric: str) -> str:
    """Return a line for people."""
    what = f"{trial.metrics[metric]:g}" if metric in trial.metrics else trial.message.splitlines()[0]
    return f"trial {trial.number}, {trial.arm}, {trial.status}: {what} ({trial.seconds:.1f} s)"


def file_name(arm: str) -> str:
    """Return an arm's name with nothing in it that a file's name should not have."""
    return re.sub(r"[^A-Za-z0-9._+=-]+", "-", arm)
