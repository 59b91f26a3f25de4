"""What NCCL's profiler plugins wrote: Inspector's JSON and the example plugin's trace events, in pieces.

Both write one JSON object after the other, of which a few fields matter; they are found one by one, so that a piece may
end anywhere between two lines and a file of gigabytes is never one document.

Source: NCCL 2.30 (master of June 2026), plugins/profiler/inspector/inspector_json.cc (output format v4.0) and
plugins/profiler/example/print_event.cc
"""

from __future__ import annotations

import collections
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

from ncclprobe.names import Algo, Dtype, Proto
from ncclprobe.workload.tally import Operation, Tally, operation_of

_DIGITS = re.compile(r"\d{1,18}")


class Member(NamedTuple):
    """A communicator's rank in a process."""

    process: str
    comm: str
    rank: int


_Counted = TypeVar("_Counted")


def rank_names(members: Iterable[Member]) -> dict[Member, str]:
    """Return what each member's rank is called: its process, and its rank where a process has several of one group."""
    found = set(members)
    groups = collections.Counter((member.process, member.comm) for member in found)
    several = {process for (process, _), count in groups.items() if count > 1}
    return {one: f"{one.process}[{one.rank}]" if one.process in several else one.process for one in found}


# ---- Inspector


class InspectorEvents:
    """Feed it Inspector's output in pieces of whole lines."""

    MARK = b"_msg_size_bytes"
    _TOKEN = re.compile(
        rb'"(id|rank|n_ranks|hostname|pid|coll|p2p|coll_msg_size_bytes|p2p_msg_size_bytes|coll_exec_time_us|'
        rb'p2p_exec_time_us)"\s{0,20}:\s{0,20}"?([^",{}\s]{1,255})'
    )

    def __init__(self) -> None:
        self.taken = 0
        """Operations so far."""
        self._fields: dict[bytes, bytes] = {}
        self._counts: dict[Member, collections.Counter[Operation]] = {}
        self._times: dict[Member, dict[str, tuple[float, int]]] = {}

    def feed(self, piece: bytes) -> None:
        """Take in whole lines."""
        for match in self._TOKEN.finditer(piece):
            name, value = match.groups()
            if name == b"id":
                self._fields.clear()
            self._fields[name] = value
            if name.endswith(b"_exec_time_us"):
                self._take(name[: name.index(b"_")])

    def _take(self, kind: bytes) -> None:
        """Count the operation whose time was just read."""
        word, size = self._text(kind), self._number(kind + b"_msg_size_bytes")
        time_us = self._number(kind + b"_exec_time_us")
        if not word or size is None or time_us is None:
            return
        operation = operation_of(word, None, size, self._number(b"n_ranks"))
        if operation is None:
            return
        self.taken += 1
        process = f"{self._text(b'hostname') or 'host'}:{self._number(b'pid') or 0}"
        member = Member(process, self._text(b"id"), self._number(b"rank") or 0)
        self._counts.setdefault(member, collections.Counter())[operation] += 1
        times = self._times.setdefault(member, {})
        total, count = times.get(operation.collective, (0.0, 0))
        times[operation.collective] = total + time_us, count + 1

    def _text(self, name: bytes) -> str:
        return self._fields.get(name, b"").decode("utf-8", "replace")

    def _number(self, name: bytes) -> int | None:
        text = self._text(name)
        return int(text) if _DIGITS.fullmatch(text) else None

    @property
    def tally(self) -> Tally:
        """Return what was counted."""
        return _tallied(self._counts)

    def times(self, rank: str | None) -> dict[str, tuple[float, int]]:
        """Return a rank's time in µs and its operations by collective."""
        total: dict[str, tuple[float, int]] = {}
        for member, name in rank_names(self._times).items():
            for collective, (time_us, count) in self._times[member].items() if name == rank else ():
                before = total.get(collective, (0.0, 0))
                total[collective] = before[0] + time_us, before[1] + count
        return total


def _tallied(counts: dict[Member, collections.Counter[Operation]]) -> Tally:
    tally = Tally()
    for member, name in sorted(rank_names(counts).items()):
        for operation, count in counts[member].items():
            tally.add(name, operation, count)
    return tally


# ---- the example plugin's trace


class Call(NamedTuple):
    """What an event says of an operation."""

    word: str
    elements: int
    dtype: str


class TraceEvents:
    """Feed it the example profiler plugin's trace in pieces of whole lines."""

    MARKS = (b'"cat": "COLL', b'"cat": "P2P')
    _EVENT = re.compile(
        rb'"name": ?"(\w{1,40})", ?"cat": ?"(COLL|COLL_API|P2P|P2P_API)", ?"ph": ?"b", ?"id": ?\d+, ?"pid": ?(\d{1,10})'
        rb'[^{}\n]{0,200}"args": ?\{([^{}\n]{0,1000})\}'
    )
    _FIELD = re.compile(rb'"(\w+)": ?"?([^",}]+)')

    def __init__(self) -> None:
        self.taken = 0
        """Events so far."""
        self._calls: dict[Member, collections.Counter[Call]] = {}
        self._api: dict[str, collections.Counter[tuple[Call, bool]]] = {}
        self.choices: collections.Counter[tuple[str, str, str, str, str]] = collections.Counter()
        """By process, collective, algorithm, protocol and type; of each rank."""

    def feed(self, piece: bytes) -> None:
        """Take in whole lines."""
        for match in self._EVENT.finditer(piece):
            word, category, pid, args = (group.decode("utf-8", "replace") for group in match.groups())
            fields = {name.decode().lower(): value.decode("utf-8", "replace") for name, value in
                      self._FIELD.findall(args.encode())}  # fmt: skip
            count = fields.get("count", "")
            if _DIGITS.fullmatch(count):
                self._take(Call(word, int(count), fields.get("datatype", "")), category, f"pid {pid}", fields)

    def _take(self, call: Call, category: str, process: str, fields: dict[str, str]) -> None:
        self.taken += 1
        if category.endswith("_API"):
            captured = fields.get("graphcaptured", "0") == "1"
            self._api.setdefault(process, collections.Counter())[call, captured] += 1
            return
        rank = fields.get("rank", "0")
        member = Member(process, fields.get("commhash", ""), int(rank) if _DIGITS.fullmatch(rank) else 0)
        self._calls.setdefault(member, collections.Counter())[call] += 1
        if algo := Algo.parse(fields.get("algorithm", "")):
            proto = Proto.parse(fields.get("protocol", ""))
            dtype = _dtype(call.dtype)
            one = operation_of(call.word, None, 0, None)
            name = one.collective if one else call.word.lower()
            self.choices[process, name, algo.value, proto.value if proto else "", dtype or ""] += 1

    def nranks(self, comm: str) -> int | None:
        """Return a communicator's size where all its ranks were seen, None otherwise: no event says it."""
        ranks = {member.rank for member in self._calls if member.comm == comm}
        return len(ranks) if len(ranks) > 1 and ranks == set(range(len(ranks))) else None

    @property
    def tally(self) -> Tally:
        """Return what was counted: by tasks, or where the plugin was told to leave these out, by calls."""
        if not self._calls:
            api = {Member(process, "", 0): calls for process, calls in self._api.items()}
            return _tallied({member: collections.Counter(dict(self._api_operations(calls))) for member, calls in
                             api.items()})  # fmt: skip
        return _tallied({
            member: collections.Counter(dict(_operations(calls, self.nranks(member.comm))))
            for member, calls in self._calls.items()
        })  # fmt: skip

    def _api_operations(self, calls: collections.Counter[tuple[Call, bool]]) -> Iterator[tuple[Operation, int]]:
        merged: collections.Counter[Call] = collections.Counter()
        for (call, _), count in calls.items():
            merged[call] += count
        yield from _operations(merged, None)

    @property
    def captured(self) -> frozenset[tuple[str, str | None, int]] | None:
        """Return collective, type and one rank's bytes of the calls that a graph captured; None where none is told."""
        if not self._api:
            return None
        calls = {call for counts in self._api.values() for call, captured in counts if captured}
        found = (operation_of(call.word, _dtype(call.dtype), _bytes(call), None) for call in calls)
        return frozenset((one.collective, one.dtype, one.size) for one in found if one)


def _operations(calls: collections.Counter[Call], nranks: int | None) -> Iterator[tuple[Operation, int]]:
    for call, count in calls.items():
        operation = operation_of(call.word, _dtype(call.dtype), _bytes(call), nranks)
        if operation is not None:
            yield operation, count


def _dtype(word: str) -> Dtype | None:
    return Dtype.parse(word.removeprefix("nccl"))


def _bytes(call: Call) -> int:
    dtype = _dtype(call.dtype)
    return call.elements * (dtype.item_bytes if dtype else 1)
