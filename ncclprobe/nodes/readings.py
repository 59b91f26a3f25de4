"""What one run says of each node: how fast it was beside the healthy ones of that run.

The readings follow from the run's values alone, so those of earlier runs can be kept under a digest of these values.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from ncclprobe.nodes.design import Kind, make_design
from ncclprobe.nodes.intervals import estimates
from ncclprobe.nodes.model import fit
from ncclprobe.records.nodes import GroupValue

LEAST_VALUES = 3
"""A run says something of a node from so many values on."""


class Reading(NamedTuple):
    """What one run's values of one unit say of one node."""

    node: str
    """Its name."""
    unit: str | None
    """Of the values."""
    effect: float
    """Logarithm of its share of a healthy node's speed."""
    deviation: float
    """Standard deviation of that."""
    df: float
    """Degrees of freedom that the deviation rests on."""


def readings(values: Iterable[GroupValue]) -> Iterator[Reading]:
    """Yield what one run's values say of each node, unit by unit."""
    of_units: dict[str | None, list[GroupValue]] = defaultdict(list)
    for value in values:
        of_units[value.unit].append(value)
    for unit in sorted(of_units, key=str):
        yield from _of_unit(unit, of_units[unit])


def _of_unit(unit: str | None, values: Sequence[GroupValue]) -> Iterator[Reading]:
    if sum(value.status == "ok" for value in values) < LEAST_VALUES:
        return
    found = fit(make_design(values, sorted({node for value in values for node in value.nodes})))
    nodes = np.flatnonzero(found.design.kind_C == Kind.NODE)
    effects, _ = estimates(found, nodes)
    for node, effect in zip(nodes.tolist(), effects.tolist(), strict=True):
        here = found.design.places(node)
        spread = found.spread_P[here][found.limit_P[here] > effect]
        if len(spread) >= LEAST_VALUES:
            deviation = float(1 / math.sqrt(np.sum(spread**-2)))
            yield Reading(found.design.components[node].names[0], unit, effect, deviation, found.state.df)


def digest(values: Iterable[GroupValue]) -> str:
    """Return the same text for the same values in the same order, as far as readings depend on them."""
    told = [(v.nodes, v.value, v.unit, v.rail, v.time, v.round, v.status) for v in values]
    return hashlib.sha256(msgspec.json.encode(told)).hexdigest()
