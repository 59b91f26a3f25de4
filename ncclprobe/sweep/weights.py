"""From a workload's messages to the sizes that a sweep measures, and what each stands for.

How long a message takes is not known before it is measured, so which sizes matter is decided by an estimate, and how
much each matters by the measured time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from ncclprobe.errors import UsageError
from ncclprobe.names import Collective
from ncclprobe.records.base import Record
from ncclprobe.records.prediction import LeftOut, Weight, Workload
from ncclprobe.records.profile import Message, ProfileDocument

LATENCY_US, BYTES_PER_US = 10.0, 1e5
"""Of the estimate: 10 µs and 100 GB/s, between a host's GPUs and those of two (data/h200x2_202611); our choice."""
MOST_SIZES = 12
"""Sizes that are measured: the sweep's cost grows with each."""
TAIL = 0.01
"""Share of the estimated time that may be left out so that fewer sizes are measured."""
REACHES = (1.0, 1.1, 1.25, 1.5, 2.0)
"""Factors within which a size may stand for others: the smallest that leaves out at most ENOUGH."""
ENOUGH = 0.05
NEAREST = 3.0
"""Factor within which a fabric's only sizes stand for a workload's."""
OTHER_SIZES = "other sizes"
COUNTS = ("replays-unknown", "cut-lines", "small-messages-unseen")
"""Findings of a profile that concern its counts."""


class Sized(Record, frozen=True, kw_only=True):
    """All messages of a size, whatever their type."""

    size: int
    """Bytes."""
    count: int
    """Operations."""

    @property
    def load_us(self) -> float:
        """Return their time by the estimate."""
        return self.count * estimated_us(self.size)


def estimated_us(size: int) -> float:
    """Return the time that a message of a size is taken to need before it is measured."""
    return LATENCY_US + size / BYTES_PER_US


def workload_of(document: ProfileDocument, source: str, collective: str | None) -> Workload:
    """Return what a sweep measures of a profile.

    Args:
        document: A profile with messages.
        source: How it was named.
        collective: What to measure; None takes the one with the most estimated time.

    Raises:
        UsageError: The profile has no such messages.
    """
    known = [one for one in document.messages if Collective.parse(one.collective) and one.count > 0]
    loads = _loads(known, lambda one: one.collective)
    chosen = collective or max(loads, key=lambda name: loads[name], default=None)
    if chosen is None or chosen not in loads:
        there = ", ".join(loads) or "no collective that can be measured"
        raise UsageError(f"--profile {source} has no {chosen or 'message'}; it has {there}")
    mine = [one for one in known if one.collective == chosen]
    whole = sum(_loads(document.messages, lambda one: one.collective).values())
    weights, rest = thinned(_by_size(mine))
    types = _loads((one for one in mine if one.dtype), lambda one: one.dtype or "")
    return Workload(
        source=source,
        rank=document.rank,
        collective=chosen,
        dtype=max(types, key=lambda name: types[name], default=None),
        weights=weights,
        left_out=_left_out(document.messages, chosen, rest, whole),
        comm_share=document.comm_share,
        steps=document.steps,
        doubts=tuple(finding for finding in document.findings if finding.code in COUNTS),
    )


def _loads(messages: Iterable[Message], key: Callable[[Message], str]) -> dict[str, float]:
    loads: dict[str, float] = {}
    for one in messages:
        name = key(one)
        loads[name] = loads.get(name, 0.0) + one.count * estimated_us(one.size_bytes)
    return loads


def _by_size(messages: Iterable[Message]) -> list[Sized]:
    counts: dict[int, int] = {}
    for one in messages:
        counts[one.size_bytes] = counts.get(one.size_bytes, 0) + one.count
    return [Sized(size=size, count=count) for size, count in counts.items()]


def thinned(sizes: Sequence[Sized]) -> tuple[tuple[Weight, ...], list[Sized]]:
    """Return at most MOST_SIZES sizes that stand for the others near them, and what none stands for.

    The sizes with the most estimated time stand for those within a factor, the smallest of REACHES that leaves out at
    most ENOUGH. Of the rest, up to TAIL of the time is left out for fewer sizes.
    """
    order = sorted(sizes, key=lambda one: (-one.load_us, one.size))
    whole = sum(one.load_us for one in order)
    groups, rest = _grouped(order, REACHES[0], whole)
    for reach in REACHES[1:]:
        if sum(one.load_us for one in rest) <= ENOUGH * whole:
            break
        groups, rest = _grouped(order, reach, whole)
    return tuple(sorted((_weight(size, group) for size, group in groups.items()), key=lambda one: one.size_bytes)), rest


def _grouped(order: Sequence[Sized], reach: float, whole: float) -> tuple[dict[int, list[Sized]], list[Sized]]:
    groups: dict[int, list[Sized]] = {}
    rest: list[Sized] = []
    left = whole
    for one in order:
        near = _nearest(one.size, groups, reach)
        if near is not None:
            groups[near].append(one)
        elif len(groups) < MOST_SIZES and (left > TAIL * whole or not groups):
            groups[one.size] = [one]
        else:
            rest.append(one)
        left -= one.load_us
    return groups, rest


def _nearest(size: int, known: Iterable[int], reach: float) -> int | None:
    """Return the known size that is nearest by its ratio, None where none is within a factor."""
    best = min(known, key=lambda other: (abs(math.log(size / other)), other), default=None)
    return best if best is not None and max(size / best, best / size) <= reach else None


def _weight(size: int, group: Sequence[Sized]) -> Weight:
    return Weight(
        size_bytes=size,
        operations=sum(one.count for one in group),
        equivalent=sum(one.count * (estimated_us(one.size) / estimated_us(size)) for one in group),
        sizes=len(group),
        low_bytes=min(one.size for one in group),
        high_bytes=max(one.size for one in group),
    )


def _left_out(messages: Sequence[Message], chosen: str, rest: Sequence[Sized], whole: float) -> tuple[LeftOut, ...]:
    loads = _loads(messages, lambda one: one.collective)
    found = [
        LeftOut(what=name, operations=sum(one.count for one in messages if one.collective == name), share=load / whole)
        for name, load in loads.items()
        if name != chosen
    ]
    if rest:
        share = sum(one.load_us for one in rest) / whole
        found.append(LeftOut(what=OTHER_SIZES, operations=sum(one.count for one in rest), share=share))
    return tuple(sorted(found, key=lambda part: -part.share))


def placed(workload: Workload, offered: Sequence[int], unit: int) -> Workload:
    """Return a workload with sizes that a backend can measure.

    Args:
        workload: As the profile has it.
        offered: The only sizes that there are, of which one within NEAREST stands for each; empty where any is taken.
        unit: Sizes are rounded up to whole ones: an element for each rank.
    """
    found: dict[int, Weight] = {}
    lost: list[Weight] = []
    for one in workload.weights:
        size = _nearest(one.size_bytes, offered, NEAREST) if offered else -(-one.size_bytes // unit) * unit
        if size is None:
            lost.append(one)
            continue
        moved = one.with_(
            size_bytes=size,
            equivalent=one.equivalent * (estimated_us(one.size_bytes) / estimated_us(size)),
            low_bytes=min(one.low_bytes, size),
            high_bytes=max(one.high_bytes, size),
        )
        found[size] = _joined(found[size], moved) if size in found else moved
    kept = sum(one.equivalent * estimated_us(one.size_bytes) for one in workload.weights)
    share = sum(one.equivalent * estimated_us(one.size_bytes) for one in lost) / kept * workload.covered
    more = (LeftOut(what=OTHER_SIZES, operations=sum(one.operations for one in lost), share=share),) if lost else ()
    return workload.with_(
        weights=tuple(found[size] for size in sorted(found)), left_out=_merged((*workload.left_out, *more))
    )


def _joined(a: Weight, b: Weight) -> Weight:
    return a.with_(
        operations=a.operations + b.operations,
        equivalent=a.equivalent + b.equivalent,
        sizes=a.sizes + b.sizes,
        low_bytes=min(a.low_bytes, b.low_bytes),
        high_bytes=max(a.high_bytes, b.high_bytes),
    )


def _merged(parts: Iterable[LeftOut]) -> tuple[LeftOut, ...]:
    sums: dict[str, LeftOut] = {}
    for one in parts:
        before = sums.get(one.what)
        sums[one.what] = (
            one
            if before is None
            else one.with_(operations=one.operations + before.operations, share=one.share + before.share)
        )
    return tuple(sorted(sums.values(), key=lambda part: -part.share))


def extents(workload: Workload) -> dict[int, tuple[int, int]]:
    """Return the smallest and the largest size that each measured size stands for."""
    return {one.size_bytes: (one.low_bytes, one.high_bytes) for one in workload.weights}
