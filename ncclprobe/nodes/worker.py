"""One rank of a fleet: ``python -m ncclprobe.nodes.worker BACKEND SETTINGS``; ``probe`` alone says that it runs.

Rank 0 takes requests and shares them; every rank does its part, and rank 0 tells what came of it as it comes.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable

import msgspec

from ncclprobe.backends.fleet import FleetRank, OwnCheck
from ncclprobe.backends.nccl_library import gpu_count
from ncclprobe.bandwidth import busbw
from ncclprobe.launchers.channel import Channel
from ncclprobe.names import Collective
from ncclprobe.nodes.messages import (
    Answered,
    Checked,
    CheckInside,
    Done,
    FleetSettings,
    Grouped,
    Measure,
    Ready,
    Stop,
    Wait,
    encode,
    request_in,
)
from ncclprobe.records.base import Record
from ncclprobe.records.nodes import Check
from ncclprobe.units import Bytes, Seconds

RANK_SIDES = {
    "mpi": "ncclprobe.backends.mpi_fleet:MpiFleetRank",
    "nccl": "ncclprobe.backends.nccl_fleet:NcclFleetRank",
}
"""Backend -> module and class of its rank side, made from the operation's size in bytes."""
GRACE_S = 2.0
"""How much longer than a group may take rank 0 waits for word of it."""
IDLE_S = 2.0
"""After which rank 0 lets the others know that there is nothing to do yet."""
NAME_VARIABLE = "SLURMD_NODENAME"
"""What Slurm calls the node; its hostname may be another."""

Tell = Callable[[Record], None]


def main() -> None:
    """Serve requests as one rank of many, or say that this host answers."""
    channel = Channel()
    backend, *rest = sys.argv[1:]
    if backend == "probe":
        channel.send(encode(answer()))
        return
    settings = msgspec.json.decode(rest[0], type=FleetSettings)
    side = _rank_side(backend, settings.size_bytes)
    channel.abort = side.abort
    requests = channel.requests(IDLE_S) if side.rank == 0 else None

    def tell(message: Record) -> None:
        if side.rank == 0:
            channel.send(encode(message))

    tell(Ready(names=side.names, library=side.library))
    while True:
        asked = (next(requests) or encode(Wait())) if requests is not None else None
        request = request_in(side.share(asked, settings.patience_s))
        if isinstance(request, Wait):
            continue
        if isinstance(request, Stop):
            break
        if isinstance(request, Measure):
            _measure(side, request, settings, tell)
        else:
            _check(side, request, settings, tell)
        tell(Done())
    side.finish()


def _rank_side(backend: str, size_bytes: int) -> FleetRank:
    module, _, class_name = RANK_SIDES[backend].partition(":")
    side: FleetRank = getattr(importlib.import_module(module), class_name)(size_bytes)
    return side


def answer() -> Answered:
    """Return who this host is, and how many GPUs it has for what is installed on it."""
    usable = all(importlib.util.find_spec(name) is not None for name in ("cupy", "nccl"))
    name = os.environ.get(NAME_VARIABLE) or platform.node()
    return Answered(name=name, ngpus=gpu_count() if usable else 0)


def _measure(side: FleetRank, request: Measure, settings: FleetSettings, tell: Tell) -> None:
    """Measure this rank's group; rank 0 tells what all groups measured."""
    began = time.perf_counter()
    outcome = side.measure(request.groups, settings.window_s, settings.timeout_s)
    content = b""
    if outcome is not None:
        group = next(number for number, members in enumerate(request.groups) if members[0] == side.rank)
        content = msgspec.msgpack.encode(Grouped(group=group, seconds=time.perf_counter() - began, outcome=outcome))
    for said in side.collect(content, len(request.groups), settings.timeout_s + GRACE_S):
        tell(msgspec.msgpack.decode(said, type=Grouped))


def _check(side: FleetRank, request: CheckInside, settings: FleetSettings, tell: Tell) -> None:
    """Run this rank's own checks, and the all-reduce between the ranks of each node that has several."""
    own = side.own_checks()
    inside = side.measure(request.groups, settings.window_s, settings.timeout_s) if request.groups else None
    if inside is not None and inside.times_s:
        number = next(len(group) for group in request.groups if group[0] == side.rank)
        time_s = Seconds(statistics.median(inside.times_s))
        rate = busbw(Collective.ALL_REDUCE, Bytes(settings.size_bytes), time_s, number)
        own = (*own, OwnCheck(check=Check.INTRA_NODE, value=rate, unit="GB/s"))
    content = msgspec.msgpack.encode(Checked(rank=side.rank, values=own, wrong=inside.wrong if inside else ()))
    for said in side.collect(content, len(side.names), settings.timeout_s + GRACE_S):
        tell(msgspec.msgpack.decode(said, type=Checked))


if __name__ == "__main__":
    main()
