"""Operations captured in CUDA graphs and how often these were replayed: what ran, and what of it is inferred.

NCCL logs, and asks its tuner for, an operation when it is captured and never when it is replayed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ncclprobe.names import Collective
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


def token_bytes(messages: Sequence[Message], batches: Sequence[int]) -> int | None:
    """Return what a token takes in all-reduces, None where no size fits all captured batches, or several do.

    Of the sizes that have a message for every batch, the one with the most operations; of one batch alone any may fit.

    Args:
        messages: As seen.
        batches: Batch sizes that were captured.
    """
    counts: dict[int, int] = {}
    for message in messages:
        if message.collective == Collective.ALL_REDUCE:
            counts[message.size_bytes] = counts.get(message.size_bytes, 0) + message.seen
    largest = max(batches, default=0)
    fits = [size // largest for size in counts if largest and size % largest == 0]
    fits = [token for token in fits if all(token * batch in counts for batch in batches)]
    operations = {token: sum(counts[token * batch] for batch in batches) for token in fits}
    best = [token for token in fits if operations[token] == max(operations.values())]
    return best[0] if len(best) == 1 else None


def replayed_batches(
    messages: Sequence[Message], batches: Sequence[int], replays: Mapping[int, int]
) -> tuple[Message, ...] | None:
    """Return messages with SGLang's decode steps in place of what its start captured; None where no size fits.

    Args:
        messages: As seen, each captured size PASSES times.
        batches: Batch sizes that were captured.
        replays: Batch size -> replays of its graph.
    """
    token = token_bytes(messages, batches)
    if token is None:
        return None
    sizes = {token * batch: replays.get(batch, 0) for batch in batches}
    found = []
    for message in messages:
        if message.collective != Collective.ALL_REDUCE or message.size_bytes not in sizes:
            found.append(message)
            continue
        count = round(message.seen / PASSES * sizes[message.size_bytes])
        if count:
            found.append(message.with_(count=count, basis=Basis.INFERRED))
    return tuple(found)


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
