"""One rank of a fleet on MPI: groups are communicators of their own, and no wait is without an end.

Waiting for orders sleeps between two looks, so that a core is free for whoever measures. Operations within a group are
started and looked at until they end or the time is over: a call that blocks could not be left when a host is gone.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from mpi4py import MPI

from ncclprobe import segments
from ncclprobe.backends.fleet import MOST_SAMPLES, WARMUPS, Outcome, OwnCheck, group_of, least_samples
from ncclprobe.backends.host_checks import HostChecks
from ncclprobe.errors import BackendError, MeasurementTimeout

PAUSE_S = 5e-4
"""Between two looks while nothing is measured."""
_RESULT, _HERE, _GO, _CREATE = 1, 2, 3, 4
_NAME_VARIABLE = "SLURMD_NODENAME"


class MpiFleetRank:
    """This process among all ranks."""

    def __init__(self, size_bytes: int) -> None:
        self._world = MPI.COMM_WORLD
        self.rank = self._world.rank
        self.names = tuple(self._world.allgather(os.environ.get(_NAME_VARIABLE) or platform.node()))
        segments.unname()  # all ranks are there: they have said their names
        self.library = " ".join(MPI.Get_library_version().split("\n")[0].split()).replace("MPICH Version:", "MPICH")
        self._send = np.ones(max(1, size_bytes // 4), np.float32)
        self._receive = np.zeros_like(self._send)
        self._groups: dict[tuple[int, ...], MPI.Intracomm] = {}
        self._deadline = math.inf
        self._checks = HostChecks()

    def abort(self) -> None:
        """End all ranks at once."""
        self._world.Abort(1)

    def finish(self) -> None:
        """Leave; the MPI library ends with the interpreter."""

    def share(self, content: bytes | None, patience_s: float) -> bytes:
        """Return rank 0's content on every rank.

        Raises:
            MeasurementTimeout: It did not come in time.
        """
        size = np.array([len(content or b"")], np.int64)
        with self._within(patience_s):
            self._patiently(self._world.Ibcast(size, 0))
            shared = np.frombuffer(content or b"", np.uint8).copy() if self.rank == 0 else np.empty(size[0], np.uint8)
            self._patiently(self._world.Ibcast(shared, 0))
        return shared.tobytes()

    def collect(self, content: bytes, expected: int, limit_s: float) -> Iterator[bytes]:
        """Yield on rank 0 what the ranks say, as it comes."""
        if self.rank:
            if content:
                self._patiently(self._world.Isend([bytearray(content), MPI.BYTE], 0, _RESULT))
            return
        if content:
            yield content
        left, deadline = expected - bool(content), time.monotonic() + limit_s
        while left > 0 and time.monotonic() < deadline:
            status = MPI.Status()
            message = self._world.Improbe(MPI.ANY_SOURCE, _RESULT, status)
            if message is None:
                time.sleep(PAUSE_S)
                continue
            said = bytearray(status.Get_count(MPI.BYTE))
            message.Recv([said, MPI.BYTE])
            yield bytes(said)
            left -= 1

    def measure(self, groups: tuple[tuple[int, ...], ...], window_s: float, timeout_s: float) -> Outcome | None:
        """Run the all-reduce in this rank's group while the others do so; return what came of it on a group's first."""
        group = group_of(self.rank, groups)
        if group is None:
            return None
        with self._within(timeout_s):
            outcome = self._outcome(group, window_s)
        return outcome if self.rank == group[0] else None

    def own_checks(self) -> tuple[OwnCheck, ...]:
        """Return what this rank measures without any other."""
        return self._checks.run()

    def _outcome(self, group: tuple[int, ...], window_s: float) -> Outcome:
        self._wrong = 0
        try:
            comm = self._communicator(group)
            times = self._times(comm, window_s)
            wrong = self._largest(comm, *(float(self._wrong * (rank == self.rank)) for rank in group))
        except MeasurementTimeout as problem:
            return Outcome(status="timeout", message=str(problem))
        except (BackendError, MPI.Exception) as problem:
            return Outcome(status="failed", message=str(problem))
        return Outcome(times_s=times, wrong=tuple(map(int, wrong))).judged()

    def _times(self, comm: MPI.Intracomm, window_s: float) -> tuple[float, ...]:
        """Return the slowest rank's time of each sample; a second warm-up only where the first was short."""
        warmup = self._largest(comm, self._run(comm))[0]
        for _ in range(WARMUPS - 1 if warmup < window_s else 0):
            self._run(comm)
        self._largest(comm)
        times: list[float] = []
        end, over = time.perf_counter() + window_s, 0.0
        least = least_samples(window_s, warmup)
        while len(times) < least or (not over and len(times) < MOST_SAMPLES):
            seconds = self._run(comm)
            slowest, over = self._largest(comm, seconds, float(time.perf_counter() > end))
            times.append(slowest)
        return tuple(times)

    def _run(self, comm: MPI.Intracomm) -> float:
        """Return this rank's seconds for one all-reduce; what ran before has aligned the ranks.

        Each result is looked at, outside of the time, and cleared, so that none hides behind the one after it.
        """
        begin = time.perf_counter()
        self._briskly(comm.Iallreduce(self._send, self._receive, MPI.SUM))
        seconds = time.perf_counter() - begin
        self._wrong += int(np.count_nonzero(self._receive != comm.Get_size()))
        self._receive.fill(0)
        return seconds

    def _largest(self, comm: MPI.Intracomm, *values: float) -> list[float]:
        """Return the maximum over the group's ranks of each value; it aligns them, too."""
        own = np.array([*values, 0.0])
        most = np.empty_like(own)
        self._briskly(comm.Iallreduce(own, most, MPI.MAX))
        return [float(value) for value in most[: len(values)]]

    # ---- communicators

    def _communicator(self, group: tuple[int, ...]) -> MPI.Intracomm:
        """Return the group's communicator. All say first that they are there: without a member it would block."""
        if group not in self._groups:
            self._meet(group)
            members = self._world.Get_group().Incl(list(group))
            self._groups[group] = self._world.Create_group(members, _CREATE)
        return self._groups[group]

    def _meet(self, group: tuple[int, ...]) -> None:
        first, token = group[0], np.zeros(1)
        if self.rank != first:
            sent = self._world.Isend(token, first, _HERE)
            self._patiently(self._world.Irecv(np.zeros(1), first, _GO))
            self._patiently(sent)
            return
        others = group[1:]
        for request in [self._world.Irecv(np.zeros(1), other, _HERE) for other in others]:
            self._patiently(request)
        for request in [self._world.Isend(token, other, _GO) for other in others]:
            self._patiently(request)

    # ---- waiting

    @contextlib.contextmanager
    def _within(self, seconds: float) -> Iterator[None]:
        self._deadline = time.monotonic() + seconds
        try:
            yield
        finally:
            self._deadline = math.inf

    def _patiently(self, request: Any) -> None:
        """Wait for an operation, asleep between two looks.

        Raises:
            MeasurementTimeout: The time for it is over.
        """
        self._wait(request, lambda: time.sleep(PAUSE_S))

    def _briskly(self, request: Any) -> None:
        """Wait for an operation that is timed; the core goes to another process that wants it."""
        self._wait(request, os.sched_yield)

    def _wait(self, request: Any, between: Callable[[], object]) -> None:
        while not request.Test():
            if time.monotonic() > self._deadline:
                raise MeasurementTimeout("it did not end in time")
            between()
