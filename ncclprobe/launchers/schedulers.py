"""What Slurm and PBS are asked about jobs, and what their answers mean. Pure: words out, texts in."""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from typing import Protocol

from ncclprobe.errors import UsageError
from ncclprobe.records.base import Record


class Answer(Record, frozen=True, kw_only=True):
    """How a scheduler's program ended."""

    status: int
    """Its exit status."""
    printed: str = ""
    """Its results."""
    said: str = ""
    """Its messages."""
    late: bool = False
    """Whether it was ended for taking too long."""


class Stage(enum.StrEnum):
    """Where a job is in its life."""

    PENDING = "pending"
    RUNNING = "running"
    ENDED = "ended"
    GONE = "gone"
    """The scheduler does not know it any more."""


class JobState(Record, frozen=True, kw_only=True):
    """What a scheduler says of a job."""

    stage: Stage
    """Where it is in its life."""
    word: str
    """The scheduler's own, such as ``CANCELLED`` or ``Q``."""
    reason: str = ""
    """Why it waits or ended, in the scheduler's words; empty where it says nothing."""

    @property
    def said(self) -> str:
        """Return the word with the reason in brackets."""
        return f"{self.word} ({self.reason})" if self.reason else self.word


class Scheduler(Protocol):
    """One kind of batch system."""

    title: str
    """Its name for people."""

    def submit(self, script: str, output: str) -> list[str]:
        """Return the words that submit a script; what the scheduler itself has to say goes to a file."""
        ...

    def job_id(self, stdout: str) -> str | None:
        """Return the job's id from what the submission printed, None where it has none."""
        ...

    def questions(self, job: str) -> list[list[str]]:
        """Return the words of what is asked about a job, the next one only where the one before did not know it."""
        ...

    def state(self, answer: Answer) -> JobState | None:
        """Return what an answer says, None where it says nothing of the job."""
        ...

    def is_silent(self, answer: Answer) -> bool:
        """Return whether it did not answer at all, rather than not know the job."""
        ...

    def named(self, name: str) -> list[list[str]]:
        """Return the words that list the ids of the jobs with a name, in several ways."""
        ...


class Slurm:
    """Slurm. Source: its 22.05, sbatch(1), squeue(1), sacct(1), "JOB STATE CODES"."""

    title = "Slurm"
    _ID = re.compile(r"(\d+)(?:;([\w.-]+))?")
    _PENDING = frozenset({"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"})
    _ENDED = frozenset({
        "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED",
        "REVOKED", "TIMEOUT",
    })  # fmt: skip

    def submit(self, script: str, output: str) -> list[str]:
        """Return sbatch's words."""
        return ["sbatch", "--parsable", f"--output={output}", "--open-mode=append", script]

    def job_id(self, stdout: str) -> str | None:
        """Return ``12``, or ``12;cluster`` where several clusters are served."""
        lines = [line.strip() for line in stdout.splitlines()]
        return next((line for line in reversed(lines) if self._ID.fullmatch(line)), None)

    def questions(self, job: str) -> list[list[str]]:
        """Return squeue's words, and sacct's for jobs that squeue has forgotten."""
        number, cluster = _matched(self._ID, job)
        at = [f"--clusters={cluster}"] if cluster else []
        return [
            ["squeue", "--noheader", *at, f"--jobs={number}", "--states=all", "--format=%T|%r"],
            ["sacct", "--noheader", *at, f"--jobs={number}", "--allocations", "--parsable2", "--format=State,Reason"],
        ]

    def state(self, answer: Answer) -> JobState | None:
        """Return the last line's state: squeue may name the cluster before it."""
        lines = [line for line in answer.printed.splitlines() if "|" in line]
        if answer.status or not lines:
            return None
        word, _, reason = (part.strip() for part in lines[-1].partition("|"))
        word = word.partition(" ")[0].rstrip("+")  # sacct: "CANCELLED by 0"
        stage = Stage.PENDING if word in self._PENDING else Stage.ENDED if word in self._ENDED else Stage.RUNNING
        return JobState(stage=stage, word=word, reason="" if reason == "None" else reason)

    def is_silent(self, answer: Answer) -> bool:
        """Return whether squeue failed for another reason than an unknown job."""
        return answer.late or (answer.status != 0 and "Invalid job id" not in answer.said)

    def named(self, name: str) -> list[list[str]]:
        """Return squeue's words, and sacct's."""
        return [
            ["squeue", "--noheader", f"--name={name}", "--states=all", "--format=%A"],
            ["sacct", "--noheader", f"--name={name}", "--allocations", "--parsable2", "--format=JobIDRaw"],
        ]


class Pbs:
    """OpenPBS, PBS Professional, Torque. Source: OpenPBS 22, qsub(1B), qstat(1B), qselect(1B), job_state."""

    title = "PBS"
    _ID = re.compile(r"(\d+(?:\[\])?(?:\.[\w.-]+)?)")
    _STATE = re.compile(r"^[ \t]*job_state = (\w)", re.MULTILINE)
    _EXIT = re.compile(r"^[ \t]*Exit_status = (-?\d+)", re.MULTILINE | re.IGNORECASE)
    _COMMENT = re.compile(r"^[ \t]*comment = ([^\n]*(?:\n\t[^\n]*)*)", re.MULTILINE)
    _UNKNOWN = re.compile(r"unknown job|has finished|no such job", re.IGNORECASE)
    _RUNNING, _ENDED = "REB", "FCX"

    def submit(self, script: str, output: str) -> list[str]:
        """Return qsub's words."""
        return ["qsub", "-j", "oe", "-o", output, script]

    def job_id(self, stdout: str) -> str | None:
        """Return ``12.server``."""
        lines = [line.strip() for line in stdout.splitlines()]
        return next((line for line in reversed(lines) if self._ID.fullmatch(line)), None)

    def questions(self, job: str) -> list[list[str]]:
        """Return qstat's words, and those for its history."""
        (number,) = _matched(self._ID, job)
        return [["qstat", "-f", number], ["qstat", "-x", "-f", number]]

    def state(self, answer: Answer) -> JobState | None:
        """Return the state's letter, with the comment or the exit status as its reason."""
        letter = self._STATE.search(answer.printed)
        if answer.status or letter is None:
            return None
        word = letter[1]
        stage = Stage.RUNNING if word in self._RUNNING else Stage.ENDED if word in self._ENDED else Stage.PENDING
        comment, exit_status = self._COMMENT.search(answer.printed), self._EXIT.search(answer.printed)
        reason = re.sub(r"\n\t", "", comment[1]).strip() if comment else ""
        if stage is Stage.ENDED and exit_status:
            reason = f"exit status {exit_status[1]}"
        return JobState(stage=stage, word=word, reason=reason)

    def is_silent(self, answer: Answer) -> bool:
        """Return whether qstat failed for another reason than an unknown job."""
        return answer.late or (answer.status != 0 and not self._UNKNOWN.search(answer.said + answer.printed))

    def named(self, name: str) -> list[list[str]]:
        """Return qselect's words: with the finished jobs, which Torque does not keep, and without."""
        return [["qselect", "-x", "-N", name], ["qselect", "-N", name]]


SCHEDULERS: dict[str, Scheduler] = {"slurm": Slurm(), "pbs": Pbs()}
"""By the name that --launcher has for them."""


def _matched(pattern: re.Pattern[str], job: str) -> Sequence[str]:
    found = pattern.fullmatch(job)
    if found is None:
        raise UsageError(f"{job!r} is no job's id")
    return found.groups()
