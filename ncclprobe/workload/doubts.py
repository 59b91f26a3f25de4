"""What a profile leaves out or had to assume."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ncclprobe.findings import Finding, info, warning
from ncclprobe.records.profile import Basis, Message, ProfileKind, ProfileSource
from ncclprobe.units import format_size
from ncclprobe.workload.streams import Streams
from ncclprobe.workload.tally import SHARED

INSPECTED_FROM = 8192
"""Bytes; Inspector leaves smaller messages out (NCCL_INSPECTOR_DUMP_MIN_SIZE_BYTES)."""
_LOG_HINT = "Record it with NCCL_DEBUG=INFO NCCL_DEBUG_SUBSYS=COLL, or NCCLPROBE_TUNER_RECORD and the tuner plugin."


def of_tally(sources: Sequence[ProfileSource], *, rounded: bool) -> Iterator[Finding]:
    """Yield what one rank's profile leaves out of the source that it is from."""
    used = next(source for source in sources if source.used)
    silent = {ProfileKind.NSYS, ProfileKind.SGLANG} | (
        {ProfileKind.NCCL_TUNING} if used.kind is ProfileKind.NCCL_LOG else set()
    )  # a log's two kinds of lines are of the same operations
    others = [one for one in sources if not one.used and one.kind not in silent]
    for other in others:
        yield info(
            "messages-once", other.source,
            f"{other.kind} tells of {other.operations} operations too; they are not added to those of {used.kind}",
            "Nothing, if both are of the same run; else profile the files one by one.",
        )  # fmt: skip
    if used.alike is False:
        yield info(
            "ranks-differ", used.source,
            f"the {used.ranks} ranks had different operations; the profile is that of {used.rank}, which moves the "
            "most bytes",
            "With pipeline or expert parallelism this is so; profile another rank's file alone to see it.",
        )  # fmt: skip
    if rounded:
        yield info(
            "sizes-rounded", used.source,
            "there are too many distinct sizes to keep apart: they were rounded up, by at most an eighth",
            "Nothing for tuning; profile a shorter part of the run to see exact sizes.",
        )  # fmt: skip


def of_log(source: str, cut: int) -> Iterator[Finding]:
    """Yield that lines of calls were cut."""
    if cut:
        yield warning(
            "cut-lines", source,
            f"{cut} lines of calls cannot be read: they were cut, wrapped, or mixed with others",
            "Write a log for each rank: NCCL_DEBUG_FILE=nccl.%h.%p",
        )  # fmt: skip


def of_sizes(used: ProfileKind | None, messages: Sequence[Message], streams: Streams) -> Iterator[Finding]:
    """Yield that a source has no small messages, or one rank's part alone of shared buffers."""
    source = next(iter(streams.sources.get(used, ())), "") if used else ""
    if used is ProfileKind.NCCL_INSPECTOR and min((one.size_bytes for one in messages), default=0) >= INSPECTED_FROM:
        yield info(
            "small-messages-unseen", source,
            f"Inspector leaves out messages under {format_size(INSPECTED_FROM)} unless it is told otherwise",
            "Set NCCL_INSPECTOR_DUMP_MIN_SIZE_BYTES=0 to see them.",
        )  # fmt: skip
    parts = [one for one in messages if one.nranks is None and one.collective in SHARED]
    if used is ProfileKind.NCCL_PROFILER and parts:
        yield info(
            "part-sizes", source,
            f"sizes of {parts[0].collective} are one rank's part: the trace doesn't say how many ranks there are",
            "Profile the traces of all ranks together.",
        )  # fmt: skip


def of_replays(
    used: ProfileKind | None, messages: Sequence[Message], streams: Streams, *, reached: bool
) -> Iterator[Finding]:
    """Yield that graphs were captured and it is not known how often they were replayed."""
    captured = bool(streams.sglang.captured or streams.trace.captured)
    inferred = any(one.basis is Basis.INFERRED for one in messages)
    if used is None or inferred or not (captured or streams.sglang.steps):
        return
    source = next(iter(streams.sources.get(ProfileKind.SGLANG, ()) or streams.sources.get(used, ())), "")
    if streams.sglang.replays and not reached:
        message = "no message has a size for each of SGLang's batch sizes, so its decode steps cannot be added"
    else:
        message = "operations were captured in CUDA graphs, and nothing says how often these were replayed"
    hint = (
        "Name it: --replays N, or --replays SIZE=N,... ; or add SGLang's log with its decode steps, or an nsys export."
    )
    yield warning("replays-unknown", source, f"{message}: the counts are those of the capture", hint)


def of_silence(sources: Sequence[ProfileSource], streams: Streams) -> Iterator[Finding]:
    """Yield that nothing told of messages."""
    first = next((source.source for source in sources), next(iter(streams.logs), ""))
    what = "kernels have no message sizes" if any(one.kind is ProfileKind.NSYS for one in sources) else (
        "no line tells of a collective's size")  # fmt: skip
    yield warning("no-messages", first, f"nothing read tells of messages: {what}", _LOG_HINT)
