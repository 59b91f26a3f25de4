"""Group values as arrays: which observation has which nodes, link and rail in it.

Letters of shapes: ``K`` observations, ``C`` components (nodes, then rails, then links), ``P`` places of a component in
an observation (sorted by component), ``E`` epochs (rounds or times), ``G`` classes (group sizes with a level each).
"""

# ruff: noqa: N815 (a shape's letters end an array's name)
from __future__ import annotations

import dataclasses
import datetime
import enum
import itertools
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from ncclprobe.records.nodes import GroupValue

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MOST_EPOCHS = 400
"""Times are joined into at most so many epochs; more would only cost time."""


class Kind(enum.IntEnum):
    """What can limit a group."""

    NODE = 0
    RAIL = 1
    LINK = 2


@dataclasses.dataclass(frozen=True, order=True)
class Component:
    """A node, a rail or the link between two nodes."""

    kind: Kind
    names: tuple[str, ...]
    """One name; a link's two nodes in order."""

    @property
    def label(self) -> str:
        """Return a name for people: ``dgx001–dgx002`` for a link."""
        return "–".join(self.names)


@dataclasses.dataclass(frozen=True)
class Design:
    """The observations of one unit."""

    values: tuple[GroupValue, ...]
    """Their sources, shape ``K``."""
    log_K: Floats
    """Logarithm of the value."""
    class_K: Ints
    """Which level it has."""
    epoch_K: Ints
    """When it was taken, from 0 without gaps."""
    components: tuple[Component, ...]
    """Shape ``C``."""
    observation_P: Ints
    """Index into the observations."""
    component_P: Ints
    """Index into the components, ascending."""
    start_C: Ints
    """First place of each component; every component has one or more."""

    @property
    def kind_C(self) -> Ints:  # noqa: N802
        """Return each component's kind."""
        return np.array([component.kind for component in self.components], dtype=np.int64)

    @property
    def count_C(self) -> Ints:  # noqa: N802
        """Return in how many observations each component is."""
        return np.bincount(self.component_P, minlength=len(self.components)).astype(np.int64)

    def places(self, component: int) -> slice:
        """Return where a component's places are."""
        ends = self.start_C[component + 1] if component + 1 < len(self.components) else len(self.component_P)
        return slice(int(self.start_C[component]), int(ends))


def make_design(values: Iterable[GroupValue], order: Sequence[str]) -> Design:
    """Return the arrays of one unit's values that were measured.

    Args:
        values: All of one unit; one or more has the status ``ok``.
        order: Names of nodes; components and the ends of links follow it.
    """
    measured = tuple(value for value in values if value.status == "ok")
    place = {name: number for number, name in enumerate(order)}
    rails = {value.rail for value in measured} - {None}
    members = [_components(value, place, with_rails=len(rails) > 1) for value in measured]
    components = tuple(sorted(set(itertools.chain.from_iterable(members)), key=lambda c: _sort_key(c, place)))
    index = {component: number for number, component in enumerate(components)}
    observation = np.repeat(np.arange(len(measured)), [len(row) for row in members])
    component = np.array([index[c] for row in members for c in row], dtype=np.int64)
    by_component = np.argsort(component, kind="stable")
    component = component[by_component]
    sizes = {size: number for number, size in enumerate(sorted({len(value.nodes) for value in measured}))}
    return Design(
        values=measured,
        log_K=np.log([value.value for value in measured]),
        class_K=np.array([sizes[len(value.nodes)] for value in measured], dtype=np.int64),
        epoch_K=_epochs(measured),
        components=components,
        observation_P=observation[by_component].astype(np.int64),
        component_P=component,
        start_C=np.searchsorted(component, np.arange(len(components))).astype(np.int64),
    )


def _components(value: GroupValue, place: dict[str, int], *, with_rails: bool) -> list[Component]:
    """Return what can limit a group: its nodes, its rail, and the link where it is a pair."""
    nodes = sorted(value.nodes, key=place.__getitem__)
    found = [Component(Kind.NODE, (node,)) for node in nodes]
    if with_rails and value.rail is not None:
        found.append(Component(Kind.RAIL, (value.rail,)))
    if len(nodes) == 2:
        found.append(Component(Kind.LINK, tuple(nodes)))
    return found


def _sort_key(component: Component, place: dict[str, int]) -> tuple[int, tuple[int, ...], tuple[str, ...]]:
    return component.kind, tuple(place.get(name, 0) for name in component.names), component.names


def _epochs(values: Sequence[GroupValue]) -> Ints:
    """Return each value's epoch: its round, or the rank of its time where all have one."""
    if all(value.round is not None for value in values):
        when: list[float] = [float(value.round or 0) for value in values]
    elif all(value.time is not None for value in values) and len(values) >= 8:
        when = [parse_time(value.time or "") for value in values]
    else:
        return np.zeros(len(values), dtype=np.int64)
    rank = np.unique(when, return_inverse=True)[1]
    joined = rank * min(1.0, MOST_EPOCHS / (int(rank.max()) + 1))
    return np.unique(joined.astype(np.int64), return_inverse=True)[1].astype(np.int64)


def parse_time(text: str) -> float:
    """Return seconds since the epoch of an ISO 8601 time, or the number that the text is; NaN for neither."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        moment = datetime.datetime.fromisoformat(text.strip())
    except ValueError:
        return float("nan")
    return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()
