"""NCCL's own log, in pieces: calls (NCCL_DEBUG_SUBSYS=COLL) and what was chosen for them (TUNING).

A log of millions of lines has a few distinct calls, so a piece is searched for the literal start of what a call's line
ends with, by one regular expression, and everything dear is done once a distinct line.

Source: NCCL 2.18.6 to 2.30, src/enqueue.cc (``opCount``, ``-> Algo``), src/debug.cc (the prefix)
"""

from __future__ import annotations

import collections
import re
from typing import NamedTuple

from ncclprobe.names import Algo, Dtype, Proto
from ncclprobe.workload.tally import Tally, operation_of

MARK = b": opCount "
_CALL = re.compile(
    rb": opCount [0-9a-f]+ sendbuff [^ \n]+ recvbuff [^ \n]+ (count \d{1,18} datatype \d{1,3} op \d+ root -?\d+ "
    rb"comm [^ \n]+ \[nranks=\d{1,9}\])"
)
_WHAT = re.compile(rb"count (\d+) datatype (\d+) op \d+ root -?\d+ comm (\S+) \[nranks=(\d+)\]")
CHOSEN = b" Bytes -> Algo "
_CHOICE = re.compile(
    rb" Bytes -> Algo (\w{1,20}) proto (\w{1,20})(?:[^\n]{0,80}?channel\{Lo\.\.Hi\}=\{(\d{1,4})\.\.(\d{1,4})\})?"
)
MADE = b" nranks "
_COMMUNICATOR = re.compile(rb"comm \w{1,40} rank \d{1,9} nranks (\d{1,9}) ")
"""A communicator that is begun; TUNING lines don't say how many ranks theirs has.

Source: NCCL 2.18.6 to 2.30, src/init.cc (``Init START``)
"""
_PREFIX = 400
"""Bytes before a call in its line that are looked at: a host's name has 255 at most."""
_WHO = re.compile(
    rb"(?P<host>[\w.-]{1,255}):(?P<pid>\d{1,10})(?::\d{1,10})? ?\[(?P<device>-?\d{1,4})\] NCCL INFO (?:\[-?\d+\] )?"
    rb"(?P<rest>[^\n]*)\Z"
)
_WORD = re.compile(rb"(\w{1,60}) ?\Z")
_SIZED = re.compile(rb"(?:(\w{1,60}) ?: ?)?(\d{1,18})\Z")
_DTYPES = list(Dtype)
RANK_0 = "rank 0"
"""Whose lines those are that name no process."""


class Chosen(NamedTuple):
    """What NCCL chose for operations."""

    collective: str
    algo: str
    proto: str


class NcclLines:
    """Feed it a log in pieces of whole lines."""

    def __init__(self) -> None:
        self.calls, self.sized = Tally(), Tally()
        """By COLL lines, and by TUNING lines, which rank 0 of each communicator alone has."""
        self.choices: dict[str, collections.Counter[Chosen]] = {}
        """By rank."""
        self._nranks: dict[str, set[int]] = {}
        """Of each rank's communicators."""
        self.cut = 0
        """Lines of calls that cannot be read."""
        self.taken = self.chosen = 0
        """Lines of calls, and of choices, so far."""

    def feed(self, piece: bytes) -> None:
        """Take in whole lines."""
        if MADE in piece:
            self._feed_communicators(piece)
        if MARK in piece:
            self._feed_calls(piece)
        if CHOSEN in piece:
            self._feed_choices(piece)

    def _feed_calls(self, piece: bytes) -> None:
        distinct: dict[tuple[bytes, bytes], int] = {}
        find, get = piece.rfind, distinct.get
        read = 0
        for match in _CALL.finditer(piece):
            start = match.start()
            low = start - _PREFIX if start > _PREFIX else 0
            key = piece[max(low, find(b"\n", low, start) + 1) : start], match[1]
            distinct[key] = get(key, 0) + 1
            read += 1
        self.cut += piece.count(MARK) - read
        self.taken += read
        for (prefix, what), count in distinct.items():
            if found := _WHAT.fullmatch(what):
                self._call(prefix, found.groups(), count)
            else:
                self.cut += count

    def _call(self, prefix: bytes, groups: tuple[bytes, ...], count: int) -> None:
        elements, number, comm, nranks = groups
        rank, rest = _who(prefix)
        word = _WORD.search(rest)
        dtype = _DTYPES[int(number)] if int(number) < len(_DTYPES) else None
        if word is None or dtype is None:
            self.cut += count
            return
        size = int(elements) * dtype.item_bytes
        operation = operation_of(word[1].decode("ascii", "replace"), dtype, size, int(nranks))
        if operation is not None:
            self.calls.add(rank or f"comm {comm.decode('ascii', 'replace')[:40]}", operation, count)

    def _feed_communicators(self, piece: bytes) -> None:
        for match in _COMMUNICATOR.finditer(piece):
            rank, _ = _who(_line_before(piece, match.start()))
            self._nranks.setdefault(rank or RANK_0, set()).add(int(match[1]))

    def _feed_choices(self, piece: bytes) -> None:
        distinct: collections.Counter[tuple[bytes, bytes, bytes]] = collections.Counter()
        for match in _CHOICE.finditer(piece):
            distinct[_line_before(piece, match.start()), match[1], match[2]] += 1
        for (prefix, algo, proto), count in distinct.items():
            self._choice(prefix, algo.decode("ascii", "replace"), proto.decode("ascii", "replace"), count)

    def _choice(self, prefix: bytes, algo: str, proto: str, count: int) -> None:
        rank, rest = _who(prefix)
        sized, who = _SIZED.search(rest), rank or RANK_0
        operation = sized and operation_of(
            (sized[1] or b"unknown").decode("ascii", "replace"), None, int(sized[2]), self._only_nranks(who)
        )
        if not operation:
            return
        self.chosen += count
        self.sized.add(who, operation, count)
        chosen = Chosen(operation.collective, _spelled(Algo, algo), _spelled(Proto, proto))
        self.choices.setdefault(who, collections.Counter())[chosen] += count

    def _only_nranks(self, rank: str) -> int | None:
        """Return how many ranks a rank's communicators have, None where they differ or were not seen."""
        seen = self._nranks.get(rank, set())
        return next(iter(seen)) if len(seen) == 1 else None


def _line_before(piece: bytes, start: int) -> bytes:
    """Return what stands before a place in its line, as far as it is looked at."""
    low = max(0, start - _PREFIX)
    return piece[max(low, piece.rfind(b"\n", low, start) + 1) : start]


def _who(prefix: bytes) -> tuple[str | None, bytes]:
    """Return the rank that a line's start names, and what follows NCCL's prefix."""
    found = _WHO.search(prefix)
    while found and (later := _WHO.search(prefix, found.start("rest"))):
        found = later  # two ranks wrote into one line
    if found is None:
        return None, prefix
    host = found["host"].decode("ascii", "replace")
    return f"{host}:{int(found['pid'])}[{int(found['device'])}]", found["rest"]


def _spelled(kind: type[Algo] | type[Proto], word: str) -> str:
    """Return NCCL's spelling of a name that is logged as a word or as its number."""
    if word.isdecimal():
        members = list(kind)
        return members[int(word)].value if int(word) < len(members) else word
    known = kind.parse(word)
    return known.value if known else word
