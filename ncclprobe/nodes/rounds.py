"""Which groups to measure in a round: disjoint pairs of the whole fleet, then suspects with nodes that passed.

Source of the survey's pairs: the circle method, by which n nodes meet in n - 1 rounds of disjoint pairs; Kirkman, in
Anderson, Combinatorial Designs and Tournaments (1997), section 1.1.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

from ncclprobe.nodes.design import Component, Kind
from ncclprobe.records.nodes import Group, Round

Thing = TypeVar("Thing")

CONTROLS = 2
"""Pairs of passed nodes in a round of confirmation: they show what is common to all groups at that time."""

PARTNERS = 64
"""Passed nodes, in random order, of which a suspect gets the one that it met least."""

RAIL_PAIRS = 2
"""Pairs in which a suspected rail is measured at a time."""


def survey(nodes: Sequence[str], rails: Sequence[str], rng: np.random.Generator) -> Iterator[Round]:
    """Yield rounds of disjoint pairs of all nodes for ever; no pair comes again before all others came.

    Args:
        nodes: Two or more; with an odd number a different one sits out in each round.
        rails: Spread evenly over each round's pairs where there are two or more.
        rng: Order of nodes and rails.
    """
    index = itertools.count()
    while True:
        for pairs in _tournament(nodes, rng):
            yield Round(index=next(index), stage="survey", groups=_on_rails(pairs, rails, rng))


def _tournament(nodes: Sequence[str], rng: np.random.Generator) -> Iterator[list[tuple[str, str]]]:
    """Yield the rounds in which every node meets every other once."""
    circle: list[str | None] = [nodes[place] for place in rng.permutation(len(nodes))]
    circle += [None] * (len(circle) % 2)
    for _ in range(len(circle) - 1):
        half = len(circle) // 2
        pairs = zip(circle[:half], reversed(circle[half:]), strict=True)
        yield [(a, b) for a, b in pairs if a is not None and b is not None]
        circle = [circle[0], circle[-1], *circle[1:-1]]


def _on_rails(pairs: Sequence[tuple[str, str]], rails: Sequence[str], rng: np.random.Generator) -> tuple[Group, ...]:
    if len(rails) < 2:
        return tuple(Group(nodes=pair) for pair in pairs)
    places = rng.permutation(len(pairs)) + int(rng.integers(len(rails)))
    return tuple(
        Group(nodes=pair, rail=rails[int(place) % len(rails)]) for pair, place in zip(pairs, places, strict=True)
    )


def without(planned: Round, gone: Collection[str], rng: np.random.Generator) -> Round:
    """Return a round without some nodes; those who lose their partner are paired with each other."""
    if not gone:
        return planned
    kept = [group for group in planned.groups if not set(group.nodes) & set(gone)]
    broken = [group for group in planned.groups if set(group.nodes) & set(gone)]
    lonely = [(node, group.rail) for group in broken for node in group.nodes if node not in gone]
    order = [lonely[place] for place in rng.permutation(len(lonely))]
    kept += [Group(nodes=(a, b), rail=rail) for (a, rail), (b, _) in zip(order[::2], order[1::2], strict=False)]
    return planned.with_(groups=tuple(kept))


def confirmation(
    index: int,
    unclear: Sequence[Component],
    passed: Collection[str],
    met: Mapping[frozenset[str], int],
    rails: Sequence[str],
    rng: np.random.Generator,
) -> Round | None:
    """Return a round for suspects: nodes with passed partners they met least, links and rails again, and controls.

    Args:
        index: The round's.
        unclear: What is to be measured, as far as the passed nodes suffice; the most urgent first.
        passed: Nodes known to be healthy.
        met: How often two nodes were measured together.
        rails: All of them.
        rng: Order of everything.

    Returns:
        The round; None where nothing suspect can be measured.
    """
    rails = rails if len(rails) > 1 else ()
    suspects = {name for component in unclear if component.kind is Kind.NODE for name in component.names}
    free = dict.fromkeys(_shuffled(sorted(set(passed) - suspects), rng))
    groups: list[Group] = []
    busy: set[str] = set()
    for component in unclear:
        for group in _groups_for(component, free, busy, met, rails, rng):
            groups.append(group)
            busy.update(group.nodes)
            for node in group.nodes:
                free.pop(node, None)
    if not groups:
        return None
    rest = list(free)[: 2 * CONTROLS]
    healthy = [rail for rail in rails if Component(Kind.RAIL, (rail,)) not in unclear] or rails
    controls = list(zip(rest[::2], rest[1::2], strict=False))
    groups += [Group(nodes=pair, rail=_any_rail(healthy, rng)) for pair in controls]
    return Round(index=index, stage="confirm", groups=tuple(groups))


def _groups_for(
    component: Component,
    free: Mapping[str, None],
    busy: Collection[str],
    met: Mapping[frozenset[str], int],
    rails: Sequence[str],
    rng: np.random.Generator,
) -> list[Group]:
    """Return the groups that tell more of one component, of nodes that are still free."""
    if component.kind is Kind.LINK:
        pair = (component.names[0], component.names[1])
        return [] if set(pair) & set(busy) else [Group(nodes=pair, rail=_any_rail(rails, rng))]
    if component.kind is Kind.RAIL:
        nodes = list(free)[: 2 * RAIL_PAIRS]
        pairs = zip(nodes[::2], nodes[1::2], strict=False)
        return [Group(nodes=pair, rail=component.names[0]) for pair in pairs]
    node = component.names[0]
    if node in busy or not free:
        return []
    partner = min(itertools.islice(free, PARTNERS), key=lambda other: met.get(frozenset((node, other)), 0))
    return [Group(nodes=(node, partner), rail=_any_rail(rails, rng))]


def _any_rail(rails: Sequence[str], rng: np.random.Generator) -> str | None:
    return rails[int(rng.integers(len(rails)))] if rails else None


def _shuffled(things: Sequence[Thing], rng: np.random.Generator) -> list[Thing]:
    return [things[place] for place in rng.permutation(len(things))]
