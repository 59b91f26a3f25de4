"""Operations captured in CUDA graphs and how often these were replayed: what ran, and what of it is inferred.

NCCL logs, and asks its tuner for, an operation when it is captured and never when it is replayed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ncclprobe.records.base import Record
from ncclprobe.records.profile import Basis, CommKernel, Message
from ncclprobe.workload.steps import PASSES


class Replays(Record, frozen=True, kw_only=True):
    """What was said of replays."""

    everywhere: int | None = None
    """Of every operation that was captured; None where not said."""
    by_size: dict[int, int] = {}
    """Of those of a size in bytes."""


def told(messages: Sequence[Message], replays: Replays, captured: frozenset[tuple[str, str | None, int]] | None
         ) -> tuple[Message, ...]:  # fmt: skip
    """Return messages with the counts that follow from what the user says.

    Args:
        messages: As seen.
        replays: The user's word.
        captured: Collective, type and one rank's bytes of what was captured; None where the source doesn't tell, which
            takes all for captured.
    """
    return tuple(_told(message, replays, captured) for message in messages)


def _told(message: Message, replays: Replays, captured: frozenset[tuple[str, str | None, int]] | None) -> Message:
    times = replays.by_size.get(message.size_bytes, replays.everywhere)
    parts = {message.size_bytes, message.size_bytes // (message.nranks or 1)}
    is_captured = captured is None or any((message.collective, message.dtype, part) in captured for part in parts)
    if times is None or not is_captured:
        return message
    return message.with_(count=message.seen * times, basis=Basis.INFERRED)


def token_bytes(messages: Sequence[Message], collective: str, batches: Sequence[int]) -> int | None:
    """Return what a token takes in a collective, None where no size fits all captured batches, or several do.

    Of the sizes that have a message for every batch, the one with the most operations; of one batch alone any may fit.

    Args:
        messages: As seen.
        collective: Whose.
        batches: Batch sizes that were captured.
    """
    counts = _seen(messages, collective)
    largest = max(batches, default=0)
    fits = [size // largest for size in counts if largest and size % largest == 0]
    fits = [token for token in fits if all(token * batch in counts for batch in batches)]
    operations = {token: sum(counts[token * batch] for batch in batches) for token in fits}
    best = [token for token in fits if operations[token] == max(operations.values())]
    return best[0] if len(best) == 1 else None


def _seen(messages: Sequence[Message], collective: str) -> dict[int, int]:
    counts: dict[int, int] = {}
    for message in messages:
        if message.collective == collective:
            counts[message.size_bytes] = counts.get(message.size_bytes, 0) + message.seen
    return counts


def replayed_batches(
    messages: Sequence[Message], batches: Sequence[int], replays: Mapping[int, int]
) -> tuple[Message, ...] | None:
    """Return messages with SGLang's decode steps in place of what its start captured; None where no size fits.

    A step has as many operations of a collective whatever its batch, so the size with the fewest tells how many:
    further ones are warm-ups and prefills that happened to be as large.

    Args:
        messages: As seen, each captured size PASSES times.
        batches: Batch sizes that were captured.
        replays: Batch size -> replays of its graph.
    """
    found = list(messages)
    reached = False
    for collective in dict.fromkeys(message.collective for message in messages):
        token = token_bytes(messages, collective, batches)
        if token is not None:
            counts = _seen(messages, collective)
            each = min(counts[token * batch] for batch in batches) / PASSES
            times = {token * batch: replays.get(batch, 0) * each for batch in batches}
            found = [_replaced(message, collective, counts, times) for message in found]
            reached = True
    return tuple(message for message in found if message.count) if reached else None


def _replaced(message: Message, collective: str, counts: Mapping[int, int], times: Mapping[int, float]) -> Message:
    """Return a captured message with the operations of its replays: its type's part, where there are several types."""
    if message.collective != collective or message.size_bytes not in times:
        return message
    part = message.seen / counts[message.size_bytes]
    return message.with_(count=round(times[message.size_bytes] * part), basis=Basis.INFERRED)


def scaled_to_kernels(messages: Sequence[Message], kernels: Sequence[CommKernel]) -> tuple[Message, ...]:
    """Return messages so many times over as nsys saw kernels of their collective, where it saw more.

    Args:
        messages: As seen.
        kernels: One device's, nsys's.
    """
    ran: dict[str, int] = {}
    for kernel in kernels:
        ran[kernel.collective] = ran.get(kernel.collective, 0) + kernel.count
    seen: dict[str, int] = {}
    for message in messages:
        seen[message.collective] = seen.get(message.collective, 0) + message.seen
    factors = {name: ran[name] / count for name, count in seen.items() if count and ran.get(name, 0) > count}
    return tuple(
        message.with_(count=round(message.seen * factors[message.collective]), basis=Basis.INFERRED)
        if message.collective in factors
        else message
        for message in messages
    )
