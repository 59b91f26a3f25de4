"""Ranks of the ``nccl`` backend with the place where they meet; they may be started before their launch is known."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from ncclprobe.backends.watch import measurements
from ncclprobe.errors import LaunchError
from ncclprobe.launchers.base import Job, Launcher
from ncclprobe.launchers.gang import MEET_TIMEOUT_S, TROUBLE_S, Meeting
from ncclprobe.launchers.run import Waiting
from ncclprobe.records.sweep import Launch, Measurement

GRACE_S = 5 * TROUBLE_S
"""How much longer than a sample may take the ranks may be silent: they watch themselves, and then tell each other."""
FRESH_S = MEET_TIMEOUT_S / 2
"""Ranks that have waited longer are not used: they give up at twice of it."""


class Crew:
    """Started ranks that wait for their launch. End it, or use it with ``with``: none of them is left then."""

    def __init__(self, job: Job, launcher: Launcher, *, here: bool) -> None:
        """Start the ranks.

        Args:
            job: What they run, without what tells them where they meet.
            launcher: Starts it.
            here: Whether all of them run on this machine.

        Raises:
            LaunchError: They could not be started.
            MissingDependencyError: The launcher's program is absent.
        """
        self._job, self._launcher = job, launcher
        with contextlib.ExitStack() as exits:
            meeting = exits.enter_context(Meeting(job.nranks, here=here, hosts=job.hosts))
            self._waiting = Waiting(job.with_(inherited=meeting.environment), launcher)
            exits.callback(self._waiting.end)
            self._exits = exits.pop_all()

    @classmethod
    def ahead(cls, job: Job, launcher: Launcher, *, here: bool) -> Self | None:
        """Return ranks for a launch to come, None where they cannot be started now: the one that runs has all it needs.

        Args:
            job: As for one that is needed.
            launcher: Likewise.
            here: Likewise.
        """
        try:
            return cls(job, launcher, here=here)
        except LaunchError:
            return None

    def fits(self, job: Job) -> bool:
        """Return whether these ranks run a job, all of them, and are not about to give up waiting."""
        return job == self._job and self._waiting.alive and time.monotonic() - self._waiting.since < FRESH_S

    def measurements(self, launch: Launch) -> Iterator[Measurement]:
        """Yield what the ranks measure; once only.

        Raises:
            LaunchError: They died.
        """
        return measurements(self._waiting.job, self._launcher, launch, "nccl", GRACE_S, self._waiting)

    def end(self) -> None:
        """Leave no rank, and nothing that listens."""
        self._exits.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
