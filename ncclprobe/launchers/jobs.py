"""Submits a job once, watches it, and says how it ended; a run directory remembers which job it is.

``job.json`` is there before the scheduler is asked, with a name that no other job has. Whatever ends this process in
between, a later one finds the job by that name, and never submits another.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import secrets
import tempfile
import time
from collections.abc import Callable

import msgspec

from ncclprobe import processes
from ncclprobe.decoding import from_json
from ncclprobe.errors import LaunchError, MissingDependencyError, RunDirectoryError, UsageError, reason
from ncclprobe.launchers.schedulers import SCHEDULERS, Answer, JobState, Scheduler, Stage
from ncclprobe.launchers.scripts import JOB_ID, OUTPUT, STATUS
from ncclprobe.reading import file_within, log_end
from ncclprobe.records.base import Record, now

SUBMISSION, SCRIPT, SCHEDULER_OUTPUT = "job.json", "job.sh", "scheduler.out"
ASK_S, SUBMIT_S = 60.0, 120.0
"""What a scheduler may take for one answer, and for taking a job."""
SILENCE_S = 600.0
"""How long a scheduler may be out of reach before the watch ends; the job goes on."""
SOONEST_S, LATEST_S = 1.0, 30.0
"""Between two looks at a job; each pause is half as long again as the one before, until something changes."""
SETTLE_S, POLL_S = 30.0, 0.2
"""How long a shared file system may take to show what a job wrote at its end, and between two looks."""
TAIL_LINES = 8
"""Of a job's output, in the message of its failure."""
_STRANGE = re.compile(r"[%\\:,\x00-\x1f\x7f]")
"""What Slurm or PBS would read in its own way in an output file's name."""


class Submission(Record, frozen=True, kw_only=True):
    """A job that was submitted, or was about to be."""

    scheduler: str
    """``slurm`` or ``pbs``."""
    name: str
    """The job's, which no other job has."""
    job: str = ""
    """Its id; empty until the scheduler said it."""
    created: str = msgspec.field(default_factory=now)
    """UTC."""


def fresh_name() -> str:
    """Return a job's name that no other job has; 15 letters are what every PBS takes."""
    return f"nccl-{secrets.token_hex(4)}"


def submit(directory: pathlib.Path, scheduler: str, name: str, script: str) -> Submission:
    """Submit a script, unless the run directory has a job already.

    Args:
        directory: Absolute; made if it is not there.
        scheduler: ``slurm`` or ``pbs``.
        name: From ``fresh_name``; the script's job has it.
        script: Its text, which is kept in the directory.

    Raises:
        UsageError: The directory has a job, or a name that a scheduler would misread.
        LaunchError: The scheduler refused, or did not answer.
        MissingDependencyError: There is no such scheduler here.
    """
    if strange := _STRANGE.search(str(directory)):
        raise UsageError(f"a scheduler would misread {strange[0]!r} in {str(directory)!r}; choose another --out")
    submission = Submission(scheduler=scheduler, name=name)
    _claim(directory, submission)
    _write(directory / SCRIPT, script.encode())
    words = SCHEDULERS[scheduler].submit(str(directory / SCRIPT), str(directory / SCHEDULER_OUTPUT))
    try:
        answer = _ask(words, SUBMIT_S)
    except MissingDependencyError:
        (directory / SUBMISSION).unlink()
        raise
    return _submitted(directory, submission, answer)


def _claim(directory: pathlib.Path, submission: Submission) -> None:
    """Write the submission as the directory's only one, whole or not at all."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=directory, prefix=".job.") as file:
            file.write(msgspec.json.encode(submission) + b"\n")
            file.flush()
            os.link(file.name, directory / SUBMISSION)
    except FileExistsError as problem:
        raise UsageError(
            f"{directory} has a job; --resume {directory} watches it, another --out makes one"
        ) from problem
    except OSError as problem:
        raise RunDirectoryError(f"cannot write {directory}: {problem.strerror}; choose another --out") from problem


def _submitted(directory: pathlib.Path, submission: Submission, answer: Answer) -> Submission:
    scheduler = SCHEDULERS[submission.scheduler]
    job = scheduler.job_id(answer.printed) if answer.status == 0 else _found(submission)
    if job is not None:
        return _remember(directory, submission, job)
    said = (answer.said or answer.printed).strip()
    if answer.late or answer.status == 0 or re.search(r"tim(?:ed |e)out", said, re.IGNORECASE):
        raise LaunchError(
            f"{scheduler.title} did not say whether it took the job {submission.name}: {said or 'no answer'}; "
            f"--resume {directory} looks for it"
        )
    (directory / SUBMISSION).unlink()
    raise LaunchError(f"{scheduler.title} refused {directory / SCRIPT}: {said or f'status {answer.status}'}")


def _remember(directory: pathlib.Path, submission: Submission, job: str) -> Submission:
    submission = submission.with_(job=job)
    _write(directory / SUBMISSION, msgspec.json.encode(submission) + b"\n")
    return submission


def _write(path: pathlib.Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as problem:
        raise RunDirectoryError(f"cannot write {path}: {problem.strerror}") from problem


def has_job(directory: pathlib.Path) -> bool:
    """Return whether a job was submitted, or was about to be, for a run directory."""
    return (directory / SUBMISSION).is_file()


def submitted(directory: pathlib.Path) -> Submission:
    """Return the job of a run directory: the one that last ran there, else the one that was submitted.

    Raises:
        RunDirectoryError: The directory's record of it cannot be read.
        LaunchError: It is not known whether the scheduler took it.
    """
    try:
        submission = from_json(file_within(directory / SUBMISSION), Submission)
    except (OSError, msgspec.DecodeError) as problem:
        raise RunDirectoryError(f"cannot read {directory / SUBMISSION}: {reason(problem)}") from problem
    ran = _text(directory / JOB_ID).strip()
    known = submission.job if not ran or submission.job.partition(";")[0] == ran else ran
    job = known or _found(submission)
    if not job:
        raise LaunchError(
            f"it is not known whether {SCHEDULERS[submission.scheduler].title} took the job {submission.name}: the "
            f"submission was interrupted, and no such job is listed; nothing was submitted again. If you are sure "
            f"that there is none, submit {directory / SCRIPT} yourself and --resume {directory} once it runs"
        )
    return submission if job == submission.job else _remember(directory, submission, job)


def _found(submission: Submission) -> str | None:
    """Return the id of the job that has the name, None where none is listed."""
    scheduler = SCHEDULERS[submission.scheduler]
    for words in scheduler.named(submission.name):
        with contextlib.suppress(MissingDependencyError):
            if job := scheduler.job_id(_ask(words).printed):
                return job
    return None


def watch(submission: Submission, limit_s: float, say: Callable[[str], None]) -> JobState:
    """Return a job's state at its end.

    Args:
        submission: The job.
        limit_s: After which the watch ends; the job goes on.
        say: Takes a line for each change.

    Raises:
        LaunchError: It has not ended by then, or the scheduler was silent for too long. The job goes on.
        MissingDependencyError: The scheduler's programs are absent.
    """
    scheduler, began = SCHEDULERS[submission.scheduler], time.monotonic()
    heard, last, pause = began, "", SOONEST_S
    while True:
        state = _asked(scheduler, submission.job)
        moment = time.monotonic()
        if state is not None:
            heard = moment
            if state.said != last:
                say(f"job {submission.job}: {state.said}")
                last, pause = state.said, SOONEST_S
            if state.stage in (Stage.ENDED, Stage.GONE):
                return state
        if moment - heard > SILENCE_S:
            raise LaunchError(f"{scheduler.title} has not answered for {SILENCE_S:g} s; job {submission.job} goes on")
        if moment - began + pause > limit_s:
            raise LaunchError(f"job {submission.job} is still {last or 'unknown'} after {limit_s:g} s, and goes on")
        time.sleep(pause)
        pause = min(LATEST_S, pause * 1.5)


def _asked(scheduler: Scheduler, job: str) -> JobState | None:
    """Return what a scheduler says of a job, None where it does not answer."""
    first, *others = scheduler.questions(job)
    answer = _ask(first)
    if (state := scheduler.state(answer)) is not None:
        return state
    if scheduler.is_silent(answer):
        return None
    for words in others:
        with contextlib.suppress(MissingDependencyError):
            if (state := scheduler.state(_ask(words))) is not None:
                return state
    return JobState(stage=Stage.GONE, word="unknown", reason=f"{scheduler.title} has forgotten it")


def _ask(words: list[str], within_s: float = ASK_S) -> Answer:
    """Return how one of a scheduler's programs ended."""
    ended = processes.run(words, timeout_s=within_s)
    return Answer(status=ended.returncode, printed=ended.stdout, said=ended.stderr, late=ended.timed_out)


def settle(directory: pathlib.Path, result: str, state: JobState) -> bool:
    """Return whether a job left its result, having waited until what it wrote at its end can be seen here.

    Args:
        directory: Its run directory.
        result: The name of the result's file.
        state: How it ended. One that was ended from outside is not waited for.
    """
    by_itself = state.stage is Stage.GONE or state.word in ("COMPLETED", "F", "C")
    deadline = time.monotonic() + (SETTLE_S if by_itself else 0.0)
    while not (directory / STATUS).is_file() and time.monotonic() < deadline:
        time.sleep(POLL_S)
    return (directory / result).is_file()


def failure(directory: pathlib.Path, submission: Submission, state: JobState) -> LaunchError:
    """Return what to say of a job that left no result: its name, its state, and where its output is."""
    status = _text(directory / STATUS).strip()
    how = f"{state.said}; ncclprobe ended with status {status}" if status else state.said
    said = [
        line for file in (OUTPUT, SCHEDULER_OUTPUT) for line in _text(directory / file).splitlines() if line.strip()
    ]
    lines = "\n  ".join(said[-TAIL_LINES:])
    files = " and ".join(str(directory / file) for file in (OUTPUT, SCHEDULER_OUTPUT) if (directory / file).is_file())
    title = SCHEDULERS[submission.scheduler].title
    return LaunchError(
        f"{title} job {submission.job} ({submission.name}) left no result: {how}; "
        + (f"its output is in {files}; its last lines:\n  {lines}" if said else f"it printed nothing in {directory}")
        + f"\nSubmit {directory / SCRIPT} again to go on where it ended, then --resume {directory}"
    )


def _text(path: pathlib.Path) -> str:
    try:
        return log_end(path)
    except OSError:
        return ""
