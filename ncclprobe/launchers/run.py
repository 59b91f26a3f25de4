"""Starts ranks, watches them, streams what rank 0 sends, and ends every one of them."""

from __future__ import annotations

import collections
import contextlib
import os
import secrets
import selectors
import time
from collections.abc import Callable, Generator, Iterator
from types import TracebackType
from typing import IO, Self

from ncclprobe import processes
from ncclprobe.errors import LaunchError, MeasurementTimeout, ProbeError, RankLostError
from ncclprobe.launchers.base import Job, Launcher
from ncclprobe.launchers.channel import CHUNK_BYTES, unframe
from ncclprobe.launchers.endings import describe_end, telling
from ncclprobe.launchers.scratch import Scratch
from ncclprobe.launchers.slurm import canceller
from ncclprobe.launchers.stopped import gone_ranks, marked, stopped_ranks
from ncclprobe.nodesets import fold
from ncclprobe.units import format_seconds

START_TIMEOUT_S = 120.0
"""What ranks may take until their first record: an interpreter's start on a cold network file system."""
_TAIL_LINES = 200
_GLANCE_S = 0.25
"""The longest single wait for a record: of the time that this process is stopped, silence counts no more."""
HERE = "local"
"""Name of the launchers whose ranks are all on this host."""


def run_ranks(
    job: Job,
    launcher: Launcher,
    *,
    request: bytes = b"",
    timeout_s: float | Callable[[], float],
    start_timeout_s: float = START_TIMEOUT_S,
    waiting: Waiting | None = None,
) -> Generator[bytes, None, None]:
    """Start a job's ranks and yield the JSON texts that rank 0 sends through its ``Channel``, as they come.

    However the iteration ends (at the end of the ranks, by an error, by ``close()``, by Ctrl-C), no rank is left.

    Args:
        job: What to run; ``python_job`` makes one.
        launcher: From ``make_launcher``.
        request: One line of JSON for rank 0's ``Channel.receive``, without its newline.
        timeout_s: The longest silence between two records, or what says so after each record.
        start_timeout_s: The longest silence before the first.
        waiting: The job's ranks, started ahead.

    Raises:
        MeasurementTimeout: The silence lasted too long; all ranks were ended.
        LaunchError: The ranks could not be started, died, or ended with an error.
        MissingDependencyError: The launcher's program is absent.
    """
    ranks = waiting.ranks if waiting is not None else _Ranks(job, launcher)
    ranks.send(request)
    try:
        limit_s = start_timeout_s
        while True:
            lines = ranks.read(limit_s)
            if lines is None:
                break
            yield from lines
            limit_s = timeout_s() if callable(timeout_s) else timeout_s
        ranks.finish()
    finally:
        ranks.end()


class Waiting:
    """Ranks that were started ahead and wait for their request, with all that does not depend on it done.

    Attributes:
        job: What they run.
        since: When they were started, on the monotonic clock.
    """

    def __init__(self, job: Job, launcher: Launcher) -> None:
        """Start them.

        Raises:
            LaunchError: They could not be started.
            MissingDependencyError: The launcher's program is absent.
        """
        self.job, self.since = job, time.monotonic()
        self.ranks = _Ranks(job, launcher)

    @property
    def alive(self) -> bool:
        """Return whether none of them has ended."""
        return self.ranks.alive

    def end(self) -> None:
        """Leave none of them."""
        self.ranks.end()


class Session:
    """Started ranks that serve one request after another; rank 0 takes them from ``Channel.requests``.

    Close it, or use it with ``with``: no rank is left then.
    """

    def __init__(self, job: Job, launcher: Launcher) -> None:
        """Start the ranks.

        Raises:
            LaunchError: They could not be started.
            MissingDependencyError: The launcher's program is absent.
        """
        self._ranks = _Ranks(job, launcher)
        self._records: collections.deque[bytes] = collections.deque()

    def send(self, request: bytes) -> None:
        """Send one line of JSON, without its newline; the one before it must have been answered."""
        self._ranks.send(request)

    def receive(self, limit_s: float) -> bytes:
        """Return the next JSON text that rank 0 sends.

        Raises:
            MeasurementTimeout: None came within ``limit_s`` seconds; all ranks were ended.
            LaunchError: The ranks ended.
        """
        while not self._records:
            try:
                lines = self._ranks.read(limit_s)
            except MeasurementTimeout:
                self.close()
                raise
            if lines is None:
                self._ranks.finish()
                raise LaunchError("the ranks ended before their answer")
            self._records.extend(lines)
        return self._records.popleft()

    def stopped(self) -> list[str]:
        """Return the ranks that a signal has stopped, with their hosts."""
        return self._ranks.stopped()

    def finish(self, request: bytes, limit_s: float) -> None:
        """Send a last request, wait for the ranks' own end, and end what is left."""
        self.send(request)
        with contextlib.suppress(MeasurementTimeout, LaunchError):
            while self._ranks.read(limit_s) is not None:
                pass
            self._ranks.finish()
        self.close()

    def close(self) -> None:
        """End what still runs."""
        self._ranks.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Ranks:
    """A started job."""

    def __init__(self, job: Job, launcher: Launcher) -> None:
        self._job, self._launcher = job, launcher
        self._pending, self._asked, self._heard = b"", False, False
        self._mark, self._scratch = secrets.token_hex(8), contextlib.ExitStack()
        environment = {**os.environ, **launcher.environment(job), **dict(job.inherited), **self._own()}
        try:
            own = marked(job, self._mark)
            on_kill = canceller(launcher.name, own.name)
            command = launcher.command(own)
            self._process = processes.start(command, env=environment, stdin=processes.PIPE, on_kill=on_kill)
        except ProbeError:
            self._scratch.close()
            raise
        self._tail: collections.deque[str] = collections.deque(maxlen=_TAIL_LINES)
        self._partial = {"stdout": b"", "stderr": b""}
        self._selector = selectors.DefaultSelector()
        self._selector.register(_pipe(self._process.stdout), selectors.EVENT_READ, "stdout")
        self._selector.register(_pipe(self._process.stderr), selectors.EVENT_READ, "stderr")

    def _own(self) -> dict[str, str]:
        """Return variables that tell these ranks from others, and give those of this host a folder for temporary files.

        Launchers and ranks that are killed cannot remove theirs.
        """
        own = {processes.MARK: self._mark}
        if self._launcher.name == HERE:
            own["TMPDIR"] = str(self._scratch.enter_context(Scratch()).path)
        return own

    def read(self, limit_s: float) -> list[bytes] | None:
        """Return the records that came, one or more; None at the end of stdout and stderr.

        The time for which this process is stopped (Ctrl-Z, a job that Slurm suspends) is no silence: ranks may have
        been stopped with it, and what they said before waits in the pipe.

        Raises:
            MeasurementTimeout: None came within ``limit_s`` seconds.
        """
        left_s = limit_s
        while self._selector.get_map():
            glance_s, began = max(0.0, min(left_s, _GLANCE_S)), time.monotonic()
            events = self._selector.select(glance_s) or self._selector.select(0)  # after a stop it took no last look
            received = [record for key, _ in events for record in self._serve(key)]
            self._heard |= bool(received)
            if b"" in received:
                self._asked = True
                self._send_chunk()
            if records := list(filter(None, received)):
                return records
            left_s -= min(time.monotonic() - began, glance_s)
            if left_s <= 0:
                raise self._silent(limit_s)
        return None

    def _silent(self, limit_s: float) -> MeasurementTimeout:
        """Return what silence means: ranks that were stopped or are gone are named."""
        for names, fate in self._fates():
            if names:
                verb = "are" if len(names) > 1 else "is"
                return RankLostError(f"{', '.join(names)} {verb} {fate}; {self._what} were ended")
        return MeasurementTimeout(
            f"{self._what} were silent for {format_seconds(limit_s)} and were ended; {self._said}"
        )

    def _fates(self) -> Iterator[tuple[list[str], str]]:
        """Yield the ranks that cannot speak, with why; other hosts are asked only if a rank ever spoke."""
        is_here = self._launcher.name == HERE
        if self._heard or is_here:
            yield self.stopped(), "stopped by a signal"
        if self._heard and is_here:
            yield gone_ranks(self._mark, self._job.nranks), "gone, which the launcher did not notice"

    def stopped(self) -> list[str]:
        """Return the ranks that a signal has stopped."""
        return stopped_ranks(self._mark, self._job, self._launcher)

    def finish(self) -> None:
        """Wait for the command's end after its output ended.

        Raises:
            LaunchError: It ended with an error.
        """
        try:
            status = self._process.wait(10)
        except processes.TimedOut as problem:
            raise LaunchError(f"{self._what} closed their output but did not end; {self._said}") from problem
        if status:
            raise LaunchError(f"{self._what} ended early: {describe_end(status, self._tail)}; {self._said}")

    @property
    def alive(self) -> bool:
        """Return whether the command runs, which ends with the first rank that fails."""
        return self._process.poll() is None

    def end(self) -> None:
        """Leave no rank and no open pipe behind."""
        clean = self._process.poll() == 0
        if self._process.poll() is None:
            processes.end_tree(self._process)
        processes.give_back(self._process)
        if not clean:  # a launcher that was killed, or gave up, may have left ranks to nobody
            processes.end_marked(self._mark)
        self._selector.close()
        self._scratch.close()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            _pipe(pipe).close()

    def _serve(self, key: selectors.SelectorKey) -> list[bytes]:
        """Move bytes through one pipe and return the records among them."""
        received = os.read(key.fd, 1 << 16)
        if not received:
            self._selector.unregister(key.fileobj)
        *lines, self._partial[key.data] = (self._partial[key.data] + received).split(b"\n")
        return [record for line in lines if (record := self._sort(line, key.data)) is not None]

    def _sort(self, line: bytes, stream: str) -> bytes | None:
        record = unframe(line) if stream == "stdout" else None
        if record is None:
            self._tail.append(line.decode("utf-8", "replace").rstrip())
        return record

    def send(self, request: bytes) -> None:
        """Have a request sent as rank 0 asks for it."""
        self._pending += request + b"\n"
        self._send_chunk()

    def _send_chunk(self) -> None:
        """Send what rank 0 asked for. The pipe stays open afterwards: its end tells the ranks to end."""
        if not self._asked or not self._pending:
            return
        self._asked = False
        try:
            sent = os.write(_pipe(self._process.stdin).fileno(), self._pending[:CHUNK_BYTES])
        except BrokenPipeError:
            return
        self._pending = self._pending[sent:]

    @property
    def _what(self) -> str:
        where = f" on {fold(self._job.hosts)}" if self._job.hosts else ""
        return f"{self._job.nranks} rank{'s' * (self._job.nranks > 1)} started by {self._launcher.name}{where}"

    @property
    def _said(self) -> str:
        """Return the last lines of their output, for a message."""
        lines = telling(self._tail)
        return "their last output:\n  " + "\n  ".join(lines) if lines else "they printed nothing"


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise LaunchError("a started process has no pipe")
    return pipe
