"""Operations counted by rank, in bounded memory."""

from __future__ import annotations

import collections
from collections.abc import Mapping
from typing import NamedTuple

from ncclprobe.names import Collective, Dtype

MOST_KEYS = 200_000
"""Distinct operations on all ranks that are kept apart; each takes some 250 bytes."""
KEPT_BITS = 4
"""Leading bits of a size that are kept where there are more: sizes are rounded up by at most an eighth."""
SHARED = (Collective.ALL_GATHER, Collective.REDUCE_SCATTER, Collective.ALLTOALL)
"""NCCL counts one rank's part of these, nccl-tests the whole buffer. Source: nccl-tests 2.19.6, doc/PERFORMANCE.md"""


class Operation(NamedTuple):
    """What is counted."""

    collective: str
    """In ncclprobe's spelling where it has one."""
    dtype: str | None
    """None where unknown."""
    size: int
    """Bytes, as nccl-tests counts."""
    nranks: int | None
    """Of the communicator."""


class Tally:
    """How often each rank ran what."""

    def __init__(self) -> None:
        self.ranks: dict[str, collections.Counter[Operation]] = {}
        self.rounded = False
        """Whether sizes were rounded, because there were too many of them."""
        self._keys, self._most = 0, MOST_KEYS

    def add(self, rank: str, operation: Operation, count: int) -> None:
        """Count operations of a rank."""
        counts = self.ranks.setdefault(rank, collections.Counter())
        if self.rounded:
            operation = _rounded(operation)
        self._keys += operation not in counts
        counts[operation] += count
        if self._keys > self._most:
            self._fold()

    def _fold(self) -> None:
        """Round all sizes, from here on too; the limit grows where even that leaves as many."""
        self.rounded, self._keys = True, 0
        for rank, counts in self.ranks.items():
            folded: collections.Counter[Operation] = collections.Counter()
            for operation, count in counts.items():
                folded[_rounded(operation)] += count
            self.ranks[rank] = folded
            self._keys += len(folded)
        self._most = max(self._most, 2 * self._keys)

    @property
    def operations(self) -> int:
        """Return the operations of all ranks."""
        return sum(counts.total() for counts in self.ranks.values())

    @property
    def busiest(self) -> str | None:
        """Return the rank that moves the most bytes, the first by name of several; None without ranks."""
        return min(self.ranks, key=lambda rank: (-_load(self.ranks[rank])[0], -_load(self.ranks[rank])[1], rank),
                   default=None)  # fmt: skip

    @property
    def alike(self) -> bool | None:
        """Return whether all ranks had the same operations, None with fewer than two."""
        first, *rest = self.ranks.values() or [None]
        return all(counts == first for counts in rest) if rest else None


def _load(counts: Mapping[Operation, int]) -> tuple[int, int]:
    return sum(op.size * count for op, count in counts.items()), sum(counts.values())


def _rounded(operation: Operation) -> Operation:
    shift = max(0, operation.size.bit_length() - KEPT_BITS)
    return operation._replace(size=-(-operation.size >> shift) << shift)


def operation_of(word: str, dtype: Dtype | None, size: int, nranks: int | None) -> Operation | None:
    """Return an operation as NCCL tells of it, None for the receiving half of a send.

    Args:
        word: NCCL's name of it: ``AllReduce``.
        dtype: None where unknown.
        size: Bytes of the count that the caller gave: one rank's part where ranks share the buffer.
        nranks: Of the communicator; None leaves the size as it is.
    """
    known = Collective.SENDRECV if word in ("Send", "SendRecv") else Collective.parse(word)
    if word == "Recv":
        return None
    whole = size * nranks if known in SHARED and nranks else size
    return Operation(known.value if known else word.lower(), dtype.value if dtype else None, whole, nranks)
