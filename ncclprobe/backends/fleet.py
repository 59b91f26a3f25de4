"""The rank side of a fleet: what a backend does on each rank, so that groups can be measured again and again."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Protocol

from ncclprobe.records.base import Record

WARMUPS = 2
"""All-reduces of a group before its samples; the first one connects."""
LEAST_SAMPLES, MOST_SAMPLES = 3, 64
"""Of a group in a round."""
CRAWL = 4.0
"""A group whose warm-up takes so many times the window takes a single sample: the others wait for it."""
CHECK_BYTES = 32 << 20
"""Copied within host memory at a time: more than a core's caches hold."""
CHECK_S = 0.1
"""A check takes samples for so long: a scheduler's time slices are then small beside it."""
COMPUTE_SIDE = 384
"""Of the matrices that a core multiplies: they stay in its second-level cache."""


class Outcome(Record, frozen=True, kw_only=True):
    """What a group measured."""

    times_s: tuple[float, ...] = ()
    """Of one all-reduce each: the slowest rank's."""
    status: str = "ok"
    """``ok``, ``failed`` or ``timeout``."""
    message: str = ""
    """Why it failed."""
    wrong: tuple[int, ...] = ()
    """Elements of all its sums that were wrong, on each of the group's ranks; empty where none were."""

    def judged(self) -> Outcome:
        """Return this outcome, as a failed one without times where sums were wrong."""
        if not any(self.wrong):
            return self.with_(wrong=())
        message = f"{sum(self.wrong)} elements of the sums were wrong"
        return Outcome(status="failed", message=message, wrong=self.wrong)


class OwnCheck(Record, frozen=True, kw_only=True):
    """One value of a rank's own checks."""

    check: str
    """As in ``records.nodes.Check``."""
    value: float
    """Larger is better."""
    unit: str
    """Of the value."""


class FleetRank(Protocol):
    """This process among all ranks of all nodes."""

    rank: int
    names: tuple[str, ...]
    """The node of each rank, as the scheduler or itself calls it."""
    library: str
    """What runs the all-reduce."""

    def abort(self) -> None:
        """End all ranks at once."""
        ...

    def finish(self) -> None:
        """Leave; it may end the process."""
        ...

    def share(self, content: bytes | None, patience_s: float) -> bytes:
        """Return rank 0's content on every rank; waiting for it takes no core from others.

        Raises:
            MeasurementTimeout: It did not come within so many seconds.
        """
        ...

    def collect(self, content: bytes, expected: int, limit_s: float) -> Iterator[bytes]:
        """Yield on rank 0 what ranks say that have something to say, as it comes; nothing elsewhere.

        Args:
            content: This rank's; empty for nothing.
            expected: How many ranks have something to say.
            limit_s: After which rank 0 waits no longer.
        """
        ...

    def measure(self, groups: tuple[tuple[int, ...], ...], window_s: float, timeout_s: float) -> Outcome | None:
        """Run the all-reduce in this rank's group while the others do so; return what came of it on a group's first.

        Args:
            groups: Disjoint, ascending ranks; every rank gets all of them.
            window_s: How long samples are taken.
            timeout_s: How long all of it may take.
        """
        ...

    def own_checks(self) -> tuple[OwnCheck, ...]:
        """Return what this rank measures without any other."""
        ...


def least_samples(window_s: float, warmup_s: float) -> int:
    """Return how many samples a group takes at the least whose warm-up took so long."""
    return LEAST_SAMPLES if warmup_s < CRAWL * window_s else 1


def samples_in(window_s: float, warmup_s: float) -> int:
    """Return how many samples a group takes where their number is settled after the warm-up."""
    wanted = MOST_SAMPLES if warmup_s <= 0 else math.ceil(window_s / warmup_s)
    return min(MOST_SAMPLES, max(least_samples(window_s, warmup_s), wanted))


def group_of(rank: int, groups: tuple[tuple[int, ...], ...]) -> tuple[int, ...] | None:
    """Return the group that a rank is in, None where it rests."""
    return next((group for group in groups if rank in group), None)
