"""From everything that was read to one rank's profile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ncclprobe.findings import Finding
from ncclprobe.records.profile import (
    CommKernel,
    Message,
    ProfileDocument,
    ProfileKind,
    ProfileSource,
)
from ncclprobe.records.tuner import Recorded
from ncclprobe.workload import doubts, replays
from ncclprobe.workload.nsys_rows import KernelTable
from ncclprobe.workload.replays import Replays
from ncclprobe.workload.streams import Streams
from ncclprobe.workload.tally import Operation, Tally


class Gathered(NamedTuple):
    """All that was read."""

    streams: Streams
    records: tuple[Recorded, ...] = ()
    """The tuner plugin's, one a process."""
    tables: tuple[KernelTable, ...] = ()
    """Nsight Systems'."""
    profiles: tuple[tuple[str, ProfileDocument], ...] = ()
    """Earlier profiles, by file."""


def profile_of(read: Gathered, said: Replays) -> ProfileDocument:
    """Return the messages of the rank that moves the most bytes, by the kind of source that tells most.

    Args:
        read: What was read.
        said: What the user says of replays.
    """
    if read.profiles:
        return _earlier(read, said)
    tallies = {kind: tally for kind, tally in _tallies(read).items() if tally.ranks}
    kind = next(iter(tallies), None)
    seen = _messages(tallies[kind]) if kind is not None else ()
    messages, reached = _replayed(read, said, seen)
    return ProfileDocument(
        sources=tuple(_sources(read, tallies, kind)),
        rank=tallies[kind].busiest if kind is not None else None,
        messages=_sorted(messages),
        kernels=_kernels(read, tallies),
        comm_share=next((table.comm_share for table in read.tables if table.comm_share is not None), None),
        steps=read.streams.sglang.steps or None,
        findings=tuple(_findings(read, tallies, kind, messages, reached=reached)),
    )


def _earlier(read: Gathered, said: Replays) -> ProfileDocument:
    """Return an earlier profile, with what other files add to it: kernels' share, and replays."""
    name, first = read.profiles[0]
    messages, _ = _replayed(read, said, first.messages) if said != Replays() else (first.messages, True)
    share = next((table.comm_share for table in read.tables if table.comm_share is not None), None)
    operations = sum(message.count for message in messages)
    source = ProfileSource(
        source=name, kind=ProfileKind.PROFILE, operations=operations, ranks=1, rank=first.rank, used=True
    )
    return ProfileDocument(
        sources=(source, *_sources(read, {kind: tally for kind, tally in _tallies(read).items() if tally.ranks}, None)),
        rank=first.rank,
        messages=_sorted(messages),
        kernels=(*first.kernels, *(kernel for table in read.tables for kernel in table.kernels)),
        comm_share=first.comm_share if first.comm_share is not None else share,
        steps=first.steps,
        findings=first.findings,
    )


# ---- messages


def _tallies(read: Gathered) -> dict[ProfileKind, Tally]:
    """Return what each kind of source counted, the most telling first."""
    streams = read.streams
    return {
        ProfileKind.NCCL_LOG: streams.nccl.calls,
        ProfileKind.NCCL_PROFILER: streams.trace.tally,
        ProfileKind.TUNER_RECORD: _recorded(read.records),
        ProfileKind.NCCL_INSPECTOR: streams.inspector.tally,
        ProfileKind.NCCL_TUNING: streams.nccl.sized,
    }


def _recorded(records: Sequence[Recorded]) -> Tally:
    tally = Tally()
    for record in records:
        for answer in record.answers:
            size = answer.size_bytes * answer.count // max(1, answer.operations)  # a group is one question
            operation = Operation(answer.collective or "unknown", None, size, answer.nranks)
            tally.add(_process(record), operation, answer.operations)
    return tally


def _process(record: Recorded) -> str:
    return f"{record.host}:{record.pid}"


def _messages(tally: Tally) -> tuple[Message, ...]:
    counts = tally.ranks[tally.busiest or ""]
    return tuple(
        Message(collective=op.collective, dtype=op.dtype, size_bytes=op.size, count=count, seen=count, nranks=op.nranks)
        for op, count in counts.items()
        if op.size > 0
    )


def _sorted(messages: Sequence[Message]) -> tuple[Message, ...]:
    def key(one: Message) -> tuple[int, str, str, int]:
        return -one.size_bytes * one.count, one.collective, one.dtype or "", one.size_bytes

    return tuple(sorted(messages, key=key))


def _replayed(read: Gathered, said: Replays, seen: tuple[Message, ...]) -> tuple[tuple[Message, ...], bool]:
    """Return the messages with what is known of replays, and whether that reached them."""
    sglang = read.streams.sglang
    if said != Replays():
        messages = replays.told(seen, said, read.streams.trace.captured)
        return messages, messages != seen
    if sglang.replays:
        found = replays.replayed_batches(seen, sglang.captured or tuple(sorted(sglang.replays)), sglang.replays)
        return (seen, False) if found is None else (found, True)
    kernels = [kernel for table in read.tables[:1] for kernel in table.kernels]
    return replays.scaled_to_kernels(seen, kernels), bool(kernels)


# ---- kernels


def _kernels(read: Gathered, tallies: dict[ProfileKind, Tally]) -> tuple[CommKernel, ...]:
    found = [
        *(kernel for table in read.tables for kernel in table.kernels),
        *_timed(read, tallies),
        *_traced(read.streams),
        *_told_by_record(read, tallies),
        *_chosen(read.streams),
    ]
    return tuple(sorted(found, key=lambda one: (-(one.time_us or 0.0), -one.count, one.collective)))


def _first(streams: Streams, *kinds: ProfileKind) -> str:
    return next((name for kind in kinds for name in streams.sources.get(kind, ())), "")


def _timed(read: Gathered, tallies: dict[ProfileKind, Tally]) -> Iterator[CommKernel]:
    tally = tallies.get(ProfileKind.NCCL_INSPECTOR)
    source = _first(read.streams, ProfileKind.NCCL_INSPECTOR)
    for collective, (time_us, count) in read.streams.inspector.times(tally.busiest).items() if tally else ():
        yield CommKernel(collective=collective, time_us=time_us, count=count, source=source)


def _traced(streams: Streams) -> Iterator[CommKernel]:
    """Yield what the first process of a trace ran."""
    source, process = _first(streams, ProfileKind.NCCL_PROFILER), min(streams.trace.choices, default=("",))[0]
    for (who, collective, algo, proto, dtype), count in streams.trace.choices.items():
        if who == process:
            yield CommKernel(
                collective=collective, algo=algo, proto=proto or None, dtype=dtype or None, count=count, source=source
            )


def _told_by_record(read: Gathered, tallies: dict[ProfileKind, Tally]) -> Iterator[CommKernel]:
    busiest = tallies[ProfileKind.TUNER_RECORD].busiest if ProfileKind.TUNER_RECORD in tallies else None
    sums: dict[tuple[str, str | None, str | None, str], int] = {}
    for record in read.records:
        for answer in record.answers if _process(record) == busiest else ():
            key = answer.collective or "unknown", answer.algo, answer.proto, record.source
            sums[key] = sums.get(key, 0) + answer.operations
    for (collective, algo, proto, source), count in sums.items():
        yield CommKernel(collective=collective, algo=algo, proto=proto, count=count, source=source)


def _chosen(streams: Streams) -> Iterator[CommKernel]:
    """Yield what NCCL's log says was chosen, by the rank that says most."""
    choices = max(streams.nccl.choices.values(), key=lambda counts: counts.total(), default=None)
    source = _first(streams, ProfileKind.NCCL_TUNING, ProfileKind.NCCL_LOG)
    for one, count in choices.items() if choices else ():
        yield CommKernel(collective=one.collective, algo=one.algo, proto=one.proto, count=count, source=source)


# ---- sources and findings


def _sources(read: Gathered, tallies: dict[ProfileKind, Tally], used: ProfileKind | None) -> Iterator[ProfileSource]:
    names = {kind: list(files) for kind, files in read.streams.sources.items()}
    names[ProfileKind.TUNER_RECORD] = [record.source for record in read.records]
    for kind, tally in tallies.items():
        yield ProfileSource(
            source=next(iter(names.get(kind, ())), _first(read.streams, ProfileKind.NCCL_LOG)),
            files=max(1, len(names.get(kind, ()))),
            kind=kind,
            operations=tally.operations,
            ranks=len(tally.ranks),
            rank=tally.busiest,
            alike=tally.alike,
            used=kind is used,
        )
    if read.streams.sglang.told:
        source = _first(read.streams, ProfileKind.SGLANG)
        yield ProfileSource(source=source, kind=ProfileKind.SGLANG, operations=read.streams.sglang.steps)
    for table in read.tables:
        yield ProfileSource(
            source=table.source,
            kind=ProfileKind.NSYS,
            operations=sum(kernel.count for kernel in table.kernels),
            ranks=table.devices,
            rank=None if table.device is None else f"device {table.device}",
        )


def _findings(
    read: Gathered,
    tallies: dict[ProfileKind, Tally],
    used: ProfileKind | None,
    messages: Sequence[Message],
    *,
    reached: bool,
) -> Iterator[Finding]:
    sources = list(_sources(read, tallies, used))
    if used is not None:
        yield from doubts.of_tally(sources, rounded=tallies[used].rounded)
    yield from doubts.of_log(_first(read.streams, ProfileKind.NCCL_LOG), read.streams.nccl.cut)
    yield from doubts.of_sizes(used, messages, read.streams)
    yield from doubts.of_replays(used, messages, read.streams, reached=reached)
    if not messages:
        yield from doubts.of_silence(sources, read.streams)
