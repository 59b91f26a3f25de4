"""One check of a watch: a command of ours in a process of its own, so that no fault of it ends the schedule."""

from __future__ import annotations

import contextlib
import os
import pathlib
import sys
import time

from ncclprobe import processes
from ncclprobe.cli.report import read_run
from ncclprobe.e2e.run import earlier_trials
from ncclprobe.errors import ProbeError
from ncclprobe.records.base import now
from ncclprobe.records.watch import Check, CheckStatus
from ncclprobe.report.text.verdict import verdict
from ncclprobe.store import default_directory

CHECKS = ("sweep", "nodes", "scan", "validate-e2e")
HEALTHY = (0, 3)
"""Exit statuses of a command that has an answer."""
GRACE_S = 10.0
"""For a command that is ended to end its ranks."""


def checked(tokens: tuple[str, ...], folder: pathlib.Path, number: int, seed: int, timeout_s: float) -> Check:
    """Run a check and return what became of it.

    Args:
        tokens: The command's name and its arguments.
        folder: Its run directory is made here.
        number: Of the check.
        seed: Of the run.
        timeout_s: After which it is ended.
    """
    path, started, began = default_directory(tokens[0], folder), now(), time.monotonic()
    given = ("--out", str(path), "--seed", str(seed), "--quiet")
    exit_status, said = _run((sys.executable, "-m", "ncclprobe.cli.watched", tokens[0], *given, *tokens[1:]), timeout_s)
    if exit_status < 0:
        with contextlib.suppress(ProbeError):
            earlier_trials(path)  # which ends what the trial in flight left running beside the next check
    status, message = _outcome(path, exit_status, said)
    return Check(
        number=number,
        started=started,
        seconds=round(time.monotonic() - began, 3),
        status=status,
        exit_status=exit_status,
        path=path.name,
        message=message,
    )


def _run(command: tuple[str, ...], timeout_s: float) -> tuple[int, str]:
    """Return the exit status and what was said on stderr; nothing that was started is left, even if we are killed."""
    stdin, held = os.pipe()
    with os.fdopen(stdin, "rb") as theirs, os.fdopen(held, "wb"):  # it ends with us, who alone hold the other end
        process = processes.start(command, stdin=theirs.fileno(), stdout=processes.DEVNULL)
        try:
            said = process.communicate(timeout=min(timeout_s, processes.LONGEST_WAIT_S))[1].decode("utf-8", "replace")
        except processes.TimedOut:
            said = f"it took longer than {timeout_s:g} s"
        finally:
            if process.poll() is None:
                processes.end_tree(process, GRACE_S)
    return process.returncode, said


def _outcome(path: pathlib.Path, exit_status: int, said: str) -> tuple[CheckStatus, str]:
    last = (said.strip().splitlines() or [f"exit status {exit_status}"])[-1].removeprefix("Error: ")
    if exit_status not in HEALTHY:
        return CheckStatus.FAILED, last
    try:
        return CheckStatus.DONE, verdict(read_run(path).document)
    except ProbeError as problem:
        return CheckStatus.FAILED, str(problem)
