"""Rounds that an earlier process measured are read from its journal; what is left of a round is measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from ncclprobe.nodes.active import Measure
from ncclprobe.records.nodes import GroupValue, Round


def replayed(values: Iterable[GroupValue], measure: Measure, keep: Callable[[GroupValue], None]) -> Measure:
    """Return what yields earlier values where there are some, measures the groups without one, and keeps new values.

    The same seed and values give the same rounds, so that each value meets the round that it was measured in.

    Args:
        values: Of the journal, in its order.
        measure: For what is left.
        keep: Takes each new value before it is judged.
    """
    known: dict[int | None, list[GroupValue]] = defaultdict(list)
    for value in values:
        known[value.round].append(value)

    def measured(planned: Round) -> Iterator[GroupValue]:
        earlier = known.pop(planned.index, [])
        yield from earlier
        left = _left(planned, earlier)
        for value in measure(left) if left.groups else ():
            keep(value)
            yield value

    return measured


def _left(planned: Round, earlier: Iterable[GroupValue]) -> Round:
    """Return a round without the groups that have a value, or a node that is known to be gone."""
    earlier = tuple(earlier)
    done = {(value.nodes, value.rail) for value in earlier}
    gone = {value.nodes[0] for value in earlier if len(value.nodes) == 1 and value.status != "ok"}
    groups = (group for group in planned.groups if (group.nodes, group.rail) not in done)
    return planned.with_(groups=tuple(group for group in groups if not gone & set(group.nodes)))
