"""What the tuner plugin recorded in a real run: from the mapped file's bytes to records.

A process may be killed at any moment: what it had counted until then is in the file, and an entry that it had begun
and not counted yet is left out. Under CUDA graphs NCCL asks when a graph is captured and never when it is replayed,
so counts are of captured operations there.

Source: ncclprobe/tuner/plugin.h (``record_header``, ``record_entry``)
"""

from __future__ import annotations

import datetime
import struct
from collections.abc import Sequence
from typing import TypeVar

from ncclprobe.errors import ParseError
from ncclprobe.findings import Finding, warning
from ncclprobe.names import Algo, Proto
from ncclprobe.records.tuner import TUNED_COLLECTIVES, AnswerSource, Recorded, RecordedAnswer, Refusal
from ncclprobe.units import format_size

MAGIC = b"ncclprb\n"
VERSION = 1
HEADER = struct.Struct("<8s4Iq3Q64s")
ENTRY = struct.Struct("<3Q10i")

_T = TypeVar("_T")


def is_record(content: bytes) -> bool:
    """Return whether a file is such a record."""
    return content.startswith(MAGIC)


def read_record(content: bytes, source: str) -> Recorded:
    """Return what a record file holds.

    Raises:
        ParseError: It is none, is of another version, or was cut or overwritten.
    """
    if not is_record(content) or len(content) < HEADER.size:
        raise ParseError("no record of the tuner plugin; NCCLPROBE_TUNER_RECORD writes one", source=source)
    _, version, header_bytes, entry_bytes, room, pid, started_ns, asked, overflow, host = HEADER.unpack_from(content)
    if (version, header_bytes, entry_bytes) != (VERSION, HEADER.size, ENTRY.size):
        raise ParseError(f"a record of version {version}, but this ncclprobe reads {VERSION}", source=source)
    if len(content) != HEADER.size + room * ENTRY.size:
        raise ParseError(f"{len(content)} bytes do not hold {room} entries; the file was cut", source=source)
    answers = [_answer(entry, source) for entry in ENTRY.iter_unpack(content[HEADER.size :]) if entry[0]]
    return Recorded(
        source=source,
        host=host.rstrip(b"\0").decode("utf-8", "replace"),
        pid=pid,
        started=_utc(started_ns),
        asked=asked,
        overflow=overflow,
        answers=tuple(sorted(answers, key=lambda answer: (-answer.count, answer.size_bytes))),
    )


def _answer(entry: tuple[int, ...], source: str) -> RecordedAnswer:
    count, operations, size, collective, algo, proto, channels, origin, refused, nranks, nnodes, api, _ = entry
    kind = _at(list(AnswerSource), origin)
    if kind is None or not 0 <= refused <= len(Refusal):
        raise ParseError(f"an entry with the source {origin} and the refusal {refused}; overwritten?", source=source)
    return RecordedAnswer(
        count=count,
        operations=operations,
        collective=_at(TUNED_COLLECTIVES, collective),
        size_bytes=size,
        nranks=nranks,
        nnodes=nnodes,
        source=kind,
        refused=_at(list(Refusal), refused - 1),
        algo=_at([name.value for name in Algo], algo),
        proto=_at([name.value for name in Proto], proto),
        nchannels=channels or None,
        api=api,
    )


def _at(known: Sequence[_T], number: int) -> _T | None:
    return known[number] if 0 <= number < len(known) else None


def _utc(nanoseconds: int) -> str:
    return datetime.datetime.fromtimestamp(nanoseconds // 10**9, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def doubts(recorded: Recorded) -> tuple[Finding, ...]:
    """Return what a record leaves out, and where NCCL did not run what it was told to."""
    found = []
    if recorded.overflow:
        message = f"{recorded.overflow} of {recorded.asked} questions had no room left and are not counted by size."
        hint = "Record a shorter part of the run, or one with fewer distinct message sizes."
        found.append(warning("record-overflow", recorded.source, message, hint))
    refused = [answer for answer in recorded.answers if answer.refused is not None]
    if refused:
        worst = refused[0]
        message = (
            f"{sum(answer.count for answer in refused)} of {recorded.asked} questions had an answer that NCCL cannot "
            f"run ({worst.refused}), so its own choice stood; most often {worst.collective or 'an unknown collective'} "
            f"of {format_size(worst.size_bytes)} on {worst.nranks} ranks and {worst.nnodes} nodes."
        )
        hint = "Sweep again with this NCCL and this number of ranks and nodes, and load the table that follows."
        found.append(warning("tuner-refused", recorded.source, message, hint))
    return tuple(found)
