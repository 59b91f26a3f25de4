"""Which elements each rank sends and receives in a collective, by nccl-tests' meaning of size.

Source: nccl-tests 2.19.6, doc/PERFORMANCE.md and src/*.cu (``*GetCollByteCount``)
"""

from __future__ import annotations

from ncclprobe.errors import UsageError
from ncclprobe.names import Collective
from ncclprobe.records.base import Record
from ncclprobe.records.sweep import Point
from ncclprobe.units import format_size

ITEM_BYTES = {"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2, "float8e4m3": 1, "float8e5m2": 1}
_SHARED = (Collective.ALL_GATHER, Collective.REDUCE_SCATTER, Collective.ALLTOALL)
"""Collectives whose larger buffer holds a part for each rank."""


class Span(Record, frozen=True, kw_only=True):
    """Consecutive elements of a buffer."""

    start: int
    """Index of the first one in the pattern that all ranks share."""
    count: int
    """Elements."""
    sources: tuple[int, ...]
    """The ranks whose contributions are summed in it."""


class Geometry(Record, frozen=True, kw_only=True):
    """One rank's buffers."""

    send: Span
    """What it contributes."""
    receive: tuple[Span, ...]
    """What it must hold afterwards, in order."""

    @property
    def received(self) -> int:
        """Return the receive buffer's elements."""
        return sum(span.count for span in self.receive)


def elements_per_rank(point: Point, nranks: int) -> int:
    """Return the elements of one rank's part: of the whole buffer, or of its share where the ranks share it.

    Raises:
        UsageError: The size holds none.
    """
    part = part_bytes(Collective(point.collective), point.dtype, nranks)
    count = point.size_bytes // part
    if count < 1:
        raise UsageError(
            f"{format_size(point.size_bytes)} bytes hold no {point.dtype} element for each of {nranks} ranks in"
            f" {point.collective}; sizes must be {part} or more"
        )
    return count


def part_bytes(collective: Collective, dtype: str, nranks: int) -> int:
    """Return the bytes of the smallest size: an element, for each rank where the ranks share the buffer."""
    return ITEM_BYTES.get(dtype, 1) * (nranks if collective in _SHARED else 1)


def geometry(point: Point, rank: int, nranks: int) -> Geometry:
    """Return what a rank sends and must receive; broadcasts start at rank 0, sendrecv shifts one rank up.

    Raises:
        UsageError: The size holds no element for each rank.
    """
    collective, count = Collective(point.collective), elements_per_rank(point, nranks)
    everyone = tuple(range(nranks))
    whole = Span(start=0, count=count * (nranks if collective in _SHARED else 1), sources=(rank,))
    if collective is Collective.ALL_REDUCE:
        return Geometry(send=whole, receive=(whole.with_(sources=everyone),))
    if collective is Collective.BROADCAST:
        return Geometry(send=whole, receive=(whole.with_(sources=(0,)),))
    if collective is Collective.SENDRECV:
        return Geometry(send=whole, receive=(whole.with_(sources=((rank - 1) % nranks,)),))
    own = Span(start=rank * count, count=count, sources=(rank,))
    if collective is Collective.REDUCE_SCATTER:
        return Geometry(send=whole, receive=(own.with_(sources=everyone),))
    if collective is Collective.ALL_GATHER:
        return Geometry(send=own, receive=tuple(Span(start=r * count, count=count, sources=(r,)) for r in everyone))
    if collective is Collective.ALLTOALL:
        return Geometry(send=whole, receive=tuple(own.with_(sources=(r,)) for r in everyone))
    raise UsageError(
        f"{collective} is not measured; choose all_reduce, all_gather, reduce_scatter, broadcast, alltoall or sendrecv"
    )
