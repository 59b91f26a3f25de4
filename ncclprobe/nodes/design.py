"""Group values as arrays: which observation has which nodes, link and rail in it.

Letters of shapes: ``K`` observations, ``C`` components (nodes, then rails, then links), ``P`` places of a component in
an observation (sorted by component), ``E`` epochs (rounds or times), ``G`` classes (group sizes with a level each),
``J`` kinds (node, rail, link).
"""

# ruff: noqa: N815 (a shape's letters end an array's name)
from __future__ import annotations

import dataclasses
import datetime
import enum
import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

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


class Component(NamedTuple):
    """A node, a rail or the link between two nodes."""

    kind: Kind
    """What it is."""
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
    size_K: Ints
    """Number of its nodes."""
    group_K: Ints
    """Equal where the nodes are."""
    components: tuple[Component, ...]
    """Shape ``C``."""
    kind_C: Ints
    """Each component's kind."""
    number_J: Ints
    """How many nodes, rails and links there are, counting those of which this is a part."""
    observation_P: Ints
    """Index into the observations."""
    component_P: Ints
    """Index into the components, ascending."""
    start_C: Ints
    """First place of each component; every component has one or more."""
    count_C: Ints
    """In how many observations each component is."""

    def places(self, component: int) -> slice:
        """Return where a component's places are."""
        start = int(self.start_C[component])
        return slice(start, start + int(self.count_C[component]))


def make_design(values: Iterable[GroupValue], order: Sequence[str]) -> Design:
    """Return the arrays of one unit's values that were measured.

    Args:
        values: All of one unit; one or more has the status ``ok``.
        order: Names of nodes; components and the ends of links follow it.
    """
    measured = tuple(value for value in values if value.status == "ok")
    size_K = np.array([len(value.nodes) for value in measured], dtype=np.int64)
    place = {name: number for number, name in enumerate(order)}
    node_M = np.array([place[name] for value in measured for name in value.nodes], dtype=np.int64)
    families = [_nodes(node_M, size_K, order), _rails(measured), _links(node_M, size_K, order)]
    components = tuple(itertools.chain.from_iterable(family.components for family in families))
    before = np.cumsum([0, *(len(family.components) for family in families)])
    observation = np.concatenate([family.observation for family in families])
    component = np.concatenate([family.component + n for family, n in zip(families, before, strict=False)])
    by_component = np.lexsort((observation, component))
    count_C = np.bincount(component, minlength=len(components)).astype(np.int64)
    return Design(
        values=measured,
        log_K=np.log([value.value for value in measured]),
        class_K=np.unique(size_K, return_inverse=True)[1].astype(np.int64),
        epoch_K=_epochs(measured),
        size_K=size_K,
        group_K=_groups(measured),
        components=components,
        kind_C=np.repeat(np.arange(3), np.diff(before)).astype(np.int64),
        number_J=np.diff(before).astype(np.int64),
        observation_P=observation[by_component],
        component_P=component[by_component],
        start_C=np.cumsum(count_C) - count_C,
        count_C=count_C,
    )


class _Places(NamedTuple):
    """Components of one kind, numbered from 0, and the observations that they are in."""

    components: list[Component]
    observation: Ints
    component: Ints


def _nodes(node_M: Ints, size_K: Ints, order: Sequence[str]) -> _Places:
    """Return the places of nodes, ``M`` being the members of all groups in turn."""
    present, component = np.unique(node_M, return_inverse=True)
    components = [Component(Kind.NODE, (order[node],)) for node in present]
    return _Places(components, np.repeat(np.arange(len(size_K)), size_K), component.astype(np.int64))


def _rails(measured: Sequence[GroupValue]) -> _Places:
    """Return the places of rails where there are two or more; with one there is nothing to compare it with."""
    names = sorted({value.rail for value in measured if value.rail is not None})
    number = {name: place for place, name in enumerate(names)} if len(names) > 1 else {}
    places = [(k, number[value.rail]) for k, value in enumerate(measured) if value.rail in number]
    where = np.array(places, dtype=np.int64).reshape(-1, 2)
    return _Places([Component(Kind.RAIL, (name,)) for name in number], where[:, 0], where[:, 1])


def _links(node_M: Ints, size_K: Ints, order: Sequence[str]) -> _Places:
    """Return the places of links: of pairs, as larger groups have many."""
    pair_K = np.flatnonzero(size_K == 2)
    first = (np.cumsum(size_K) - size_K)[pair_K]
    ends = np.sort(np.stack([node_M[first], node_M[first + 1]], axis=1), axis=1) if len(pair_K) else np.zeros((0, 2))
    codes, component = np.unique(ends[:, 0] * len(order) + ends[:, 1], return_inverse=True)
    pairs = [divmod(int(code), len(order)) for code in codes]
    components = [Component(Kind.LINK, (order[a], order[b])) for a, b in pairs]
    return _Places(components, pair_K.astype(np.int64), component.astype(np.int64))


def _groups(measured: Iterable[GroupValue]) -> Ints:
    """Return a number for each value's set of nodes."""
    seen: dict[frozenset[str], int] = {}
    return np.array([seen.setdefault(frozenset(value.nodes), len(seen)) for value in measured], dtype=np.int64)


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
