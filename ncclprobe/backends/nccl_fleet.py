"""One rank of a fleet on NCCL: a communicator a group and round, made over the gang and freed after it."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator

import msgspec

from ncclprobe.backends.fleet import Outcome, OwnCheck, group_of, samples_in
from ncclprobe.backends.geometry import elements_per_rank, geometry
from ncclprobe.backends.gpu_checks import GpuChecks
from ncclprobe.backends.host_checks import HostChecks
from ncclprobe.backends.nccl_device import ALIGNMENT, Buffers, Gpu, Slots
from ncclprobe.backends.nccl_library import Communicator, Nccl, Watchdog
from ncclprobe.backends.nccl_settings import placement
from ncclprobe.errors import BackendError
from ncclprobe.launchers.gang import MEET_TIMEOUT_S, TROUBLE_S, Gang
from ncclprobe.names import Collective
from ncclprobe.records.base import Record
from ncclprobe.records.sweep import Point

_NAME_VARIABLE = "SLURMD_NODENAME"
SLOTS = 2
"""Of the all-reduce that is timed, and of the one before it: in a common buffer, the right results of that one would
stand where the timed one is to put its own."""


class Part(Record, frozen=True, kw_only=True):
    """What a rank says of its part in a group."""

    times_s: tuple[float, ...] = ()
    """Of one all-reduce each."""
    status: str = "ok"
    """As in ``Outcome``."""
    message: str = ""
    """Why it failed."""
    wrong: int = 0
    """Elements of all sums that were wrong on this rank."""


class NcclFleetRank:
    """This process among all ranks."""

    def __init__(self, size_bytes: int) -> None:
        self._gang = Gang(os.environ)
        self.rank = self._gang.rank
        self._gpu = Gpu(self._gang.local_rank)
        gpus = [address.decode() for address in self._gang.gather(self._gpu.bus_id.encode())]
        os.environ.update(placement(self.rank, self._gang.hosts, gpus, os.environ))
        own_name = os.environ.get(_NAME_VARIABLE) or platform.node()
        self.names = tuple(name.decode() for name in self._gang.gather(own_name.encode()))
        self._library = Nccl()
        self.library = self._library.name
        self._point = Point(collective=Collective.ALL_REDUCE, dtype="float32", size_bytes=size_bytes)
        stride = -(-size_bytes // ALIGNMENT) * ALIGNMENT
        self._slots = Slots(stride=stride, count=SLOTS)
        self._arenas = self._gpu.allocate(self._slots.bytes), self._gpu.allocate(self._slots.bytes)
        self._communicator: Communicator | None = None
        self._watchdog = Watchdog(self._abort)
        self._gpu.stuck = lambda: self._watchdog.passed
        self._checks, self._gpu_checks = HostChecks(), GpuChecks(self._gpu)
        self._salt, self._wrong = 0, 0

    def abort(self) -> None:
        """End all ranks: those that wait for this one hear that it is gone."""
        self._gang.close()

    def finish(self) -> None:
        """End the process at once: a stuck GPU holds nothing up."""
        self._gang.close()
        os._exit(0)

    def share(self, content: bytes | None, patience_s: float) -> bytes:
        """Return rank 0's content on every rank.

        Raises:
            MeasurementTimeout: It did not come in time.
        """
        self._gang.patience_s = patience_s
        return self._gang.share(content)

    def collect(self, content: bytes, expected: int, limit_s: float) -> Iterator[bytes]:
        """Yield on rank 0 what the ranks say, once all have spoken."""
        self._gang.patience_s = limit_s
        said = self._gang.gather(content)
        yield from (one for one in said if one and self.rank == 0)

    def measure(self, groups: tuple[tuple[int, ...], ...], window_s: float, timeout_s: float) -> Outcome | None:
        """Run the all-reduce in this rank's group while the others do so; return what came of it on a group's first."""
        group = group_of(self.rank, groups)
        first = group is not None and self.rank == group[0]
        self._gang.patience_s = max(timeout_s, MEET_TIMEOUT_S) + 2 * TROUBLE_S
        ids = self._gang.gather(self._library.unique_id() if first else b"")
        warmups = self._said(group, self._part(lambda: self._warmup(group, ids), timeout_s))
        if group is None or any(part.status != "ok" or part.wrong for part in warmups):
            parts = self._said(None, Part()) and warmups
        else:
            number = samples_in(window_s, max(part.times_s[0] for part in warmups))
            parts = self._said(group, self._part(lambda: self._samples(number), timeout_s))
        self._free()
        return merged(parts).judged() if first else None

    def own_checks(self) -> tuple[OwnCheck, ...]:
        """Return what this rank measures without any other."""
        return (*self._checks.run(), *self._gpu_checks.run())

    # ---- a round's steps

    def _said(self, group: tuple[int, ...] | None, part: Part) -> list[Part]:
        """Return what the ranks of this one's group say, of all where it has none; every rank has to ask."""
        everyone = [msgspec.msgpack.decode(one, type=Part) for one in self._gang.gather(msgspec.msgpack.encode(part))]
        return [everyone[rank] for rank in group] if group is not None else everyone

    def _part(self, work: Callable[[], tuple[float, ...]], timeout_s: float) -> Part:
        """Return this rank's times, or how it failed."""
        try:
            with self._watchdog.limit(timeout_s):
                self._wrong = 0
                return Part(times_s=work(), wrong=self._wrong)
        except BackendError as problem:
            hung = self._watchdog.passed
            return Part(status="timeout" if hung else "failed", message="" if hung else str(problem))

    def _warmup(self, group: tuple[int, ...] | None, ids: list[bytes]) -> tuple[float, ...]:
        """Connect the group and return the time of one all-reduce."""
        if group is None:
            return ()
        index, number = group.index(self.rank), len(group)
        self._communicator = self._library.communicator(ids[group[0]], index, number, min_channels=None)
        shape = geometry(self._point, index, number)
        self._buffers = Buffers(self._gpu, self._point, shape, self._slots, self._arenas, index, number, in_place=False)
        self._salt += 1
        self._buffers.fill(self._salt, SLOTS)
        stream, count = int(self._gpu.stream.ptr), elements_per_rank(self._point, number)
        self._timed, self._aligning = (
            self._communicator.operation(Collective.ALL_REDUCE, send, receive, count, self._point.dtype, stream)
            for send, receive in self._buffers.addresses()
        )
        return self._samples(1)

    def _samples(self, number: int) -> tuple[float, ...]:
        """Return the times of some all-reduces, each after one that aligns the ranks.

        Between two samples, outside of the times, the results of both are looked at and overwritten.

        Raises:
            BackendError: They failed, or did not end in time.
        """
        if self._communicator is None:
            raise BackendError("no communicator")
        times: list[float] = []
        for _ in range(number):
            with self._communicator.translated("the group's all-reduce"):
                times.append(self._gpu.timed(self._timed, self._aligning))
            if failure := self._communicator.failure():
                raise BackendError(failure)
            self._wrong += self._buffers.count_wrong()
            self._buffers.spoil()
        return tuple(times)

    def _abort(self) -> None:
        if self._communicator is not None:
            self._communicator.abort()

    def _free(self) -> None:
        """Free the communicator: those of all partners together would fill the GPU's memory."""
        communicator, self._communicator = self._communicator, None
        if self._watchdog.passed:
            self._watchdog = Watchdog(self._abort)
        elif communicator is not None:
            communicator.destroy()


def merged(parts: list[Part]) -> Outcome:
    """Return a group's outcome: the slowest rank's time of each sample, or how the first rank failed that did."""
    for status in ("failed", "timeout"):
        for part in parts:
            if part.status == status:
                return Outcome(status=status, message=part.message)
    times_s = tuple(max(times) for times in zip(*(part.times_s for part in parts), strict=True))
    return Outcome(times_s=times_s, wrong=tuple(part.wrong for part in parts))
