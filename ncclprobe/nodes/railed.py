"""A fleet of real hosts with several rails: each has ranks of its own, since libraries choose devices at start."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Self

from ncclprobe.nodes.fleet import HostFleet, Kept
from ncclprobe.nodes.hosts import FleetOptions
from ncclprobe.nodes.rails import by_rail
from ncclprobe.records.nodes import GroupValue, Round


class RailedFleet:
    """Measures groups of hosts, rail after rail within a round. Use it with ``with``: no rank is left behind."""

    def __init__(
        self,
        options: FleetOptions,
        rails: Sequence[str],
        *,
        keep: Callable[[Kept], None],
        note: Callable[[str], None],
    ) -> None:
        """Plan it; nothing runs before the first round.

        Args:
            options: What to measure on which hosts.
            rails: HCAs or interfaces; none leaves the choice to the library.
            keep: As HostFleet's; what does not depend on the rail is kept once.
            note: Takes a line for people now and then.
        """
        self._rails = tuple(rails)
        self._fleets = {
            rail: HostFleet(options.with_(rail=rail), keep=keep, note=note, checks=number == 0)
            for number, rail in enumerate(self._rails or (None,))
        }
        self._exits = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as exits:
            for fleet in self._fleets.values():
                exits.enter_context(fleet)
            self._exits = exits.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.__exit__(kind, problem, trace)

    @property
    def ngpus(self) -> int:
        """Return how many GPUs of each node are held."""
        return self._first.ngpus

    @property
    def description(self) -> str:
        """Return what was measured, for people."""
        rails = f", over {', '.join(self._rails)}" if self._rails else ""
        return f"{self._first.description}{rails}"

    def measure(self, planned: Round) -> Iterator[GroupValue]:
        """Yield a value for each group of a round as it comes, and one for each host that turned out to be gone.

        Raises:
            LaunchError: No ranks can be started though all hosts answer.
        """
        for rail, fleet in self._fleets.items():
            groups = tuple(group for group in planned.groups if by_rail(self._rails, group.rail) == rail)
            if groups:
                yield from fleet.measure(planned.with_(groups=groups))

    @property
    def _first(self) -> HostFleet:
        return next(iter(self._fleets.values()))
