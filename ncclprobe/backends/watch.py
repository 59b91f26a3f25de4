"""What a controller hears of its ranks: measurements, and which sample is in flight when they fall silent."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import msgspec

from ncclprobe.backends.messages import Begun, Measured, Message, Request, Timed, decode, encode
from ncclprobe.errors import BackendError, LaunchError, MeasurementTimeout
from ncclprobe.launchers.base import Job, Launcher
from ncclprobe.launchers.reach import check_hosts
from ncclprobe.launchers.run import START_TIMEOUT_S, Waiting, run_ranks
from ncclprobe.records.sweep import Launch, Measurement, Status
from ncclprobe.units import format_seconds, format_size

WORKER = "ncclprobe.sweep.worker"
"""The module that each rank runs, with the backend's name as its first argument."""


def measurements(
    job: Job, launcher: Launcher, launch: Launch, backend: str, grace_s: float = 0.0, waiting: Waiting | None = None
) -> Iterator[Measurement]:
    """Start a launch's ranks and yield its measurements as they come; end them after a hang.

    Ranks that die while a sample is in flight end the launch with a ``timeout`` of its cell that is a mishap.

    Args:
        job: Starts ``WORKER`` for the backend on each rank.
        launcher: Starts the job.
        launch: What the ranks are to measure.
        backend: Its name.
        grace_s: How much longer than a sample may take silence may last, for ranks that watch themselves.
        waiting: The job's ranks, started ahead.

    Raises:
        HostsGoneError: Hosts don't answer, so that no cell is to blame.
        LaunchError: The ranks could not be started, or died between two samples.
    """
    watch = Watch(launch, grace_s)
    request = encode(Request(backend=backend, launch=launch))
    lines = run_ranks(job, launcher, request=request, timeout_s=watch.limit_s, waiting=waiting)
    try:
        with contextlib.closing(lines):
            for line in lines:
                measurement = watch.hear(decoded(line))
                if measurement is not None and Status.TIMEOUT in measurement.statuses:
                    break
                if measurement is not None:
                    yield measurement
            else:
                return
    except (LaunchError, MeasurementTimeout) as problem:
        check_hosts(job, launcher)
        measurement = watch.broken_off(problem)
    else:
        check_hosts(job, launcher)
    yield measurement


def decoded(line: bytes) -> Message:
    """Return the message in a line that rank 0 sent.

    Raises:
        BackendError: There is none.
    """
    try:
        return decode(line)
    except msgspec.DecodeError as problem:
        raise BackendError(
            f"rank 0 sent what is no message ({problem}): {line[:200]!r}; is another ncclprobe on the ranks' path?"
        ) from problem


class Watch:
    """Knows which sample is in flight."""

    def __init__(self, launch: Launch, grace_s: float = 0.0) -> None:
        self._launch, self._grace_s = launch, grace_s
        self._begun: Begun | None = None
        self._since = 0.0

    def limit_s(self) -> float:
        """Return how long silence may last: for a sample the launch's timeout, for preparations more."""
        limit_s = self._launch.timeout_s + self._grace_s
        return limit_s if self._begun else max(limit_s, START_TIMEOUT_S)

    def hear(self, message: Message) -> Measurement | None:
        """Take in a message and return the measurement in it."""
        if isinstance(message, Begun):
            self._begun, self._since = message, time.monotonic()
        elif isinstance(message, Measured):
            self._begun = None
            return message.measurement
        elif not isinstance(message, Timed):
            raise BackendError("rank 0 answered a question that was not asked")
        return None

    def broken_off(self, problem: LaunchError | MeasurementTimeout) -> Measurement:
        """Return the measurement of the sample whose ranks fell silent or died.

        Raises:
            LaunchError: None was in flight.
        """
        if self._begun is None:
            raise LaunchError(f"{problem}\n{self.where}") from problem
        hung = type(problem) is MeasurementTimeout
        how = f"no end after {format_seconds(self._launch.timeout_s)}; the ranks were ended"
        return Measurement(
            launch=self._launch.index,
            point=self._begun.point,
            block=self._begun.block,
            cells=(self._begun.cell,),
            times_us=(None,),
            statuses=(Status.TIMEOUT,),
            wrong=(0,),
            spent_s=self._launch.timeout_s if hung else min(self._launch.timeout_s, time.monotonic() - self._since),
            warmup=self._begun.warmup,
            message=how if hung else str(problem).partition("; their last output")[0].partition("; they printed")[0],
            mishap=not hung,
        )

    @property
    def where(self) -> str:
        """Return what was in flight, for a message."""
        if self._begun is None:
            return f"No sample of launch {self._launch.index} was in flight."
        point, cell = self._begun.point, self._begun.cell
        place = f"{point.collective} {point.dtype} {format_size(point.size_bytes)}"
        return f"In flight was {cell.label} at {place}; leave it out, or measure again."
