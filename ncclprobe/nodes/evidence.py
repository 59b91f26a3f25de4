"""What the values of one unit say of every node, rail and link: figures and a status, no words yet.

docs/performance.md states each rule with its formula.
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from ncclprobe.nodes.design import Bools, Component, Floats, Ints, Kind, make_design
from ncclprobe.nodes.intervals import bounds, estimates, excluded, ratio_threshold
from ncclprobe.nodes.model import Fit, fit
from ncclprobe.records.base import Interval
from ncclprobe.records.nodes import GroupValue, NodeStatus
from ncclprobe.stats import normal_quantile

COVERAGE_ALPHA = 0.05
"""All intervals of a document hold together with 95 %."""

NAMING_ALPHA = 0.01
"""A healthy fleet has a component named in at most 1 % of runs."""

SUSPICION_ALPHA = 0.2
"""A healthy fleet has a component suspected in at most 20 % of runs."""

NAMED_FROM, SUSPECTED_FROM = 0.75, 0.5
"""Shares of the smallest slowdown of interest from which an estimate is named or suspected."""

LEAST_ROWS, LEAST_PARTNERS = 3, 2
"""Values, and different partners, without which nothing is named: an outlier or a link may be behind fewer."""

MOST_LINKS = 66
"""With more links than a fleet of twelve nodes has, only those that stand out are written about."""

CLEAR_RATIO = 2.58**2 / 2
"""Log-likelihood ratio of a one-sided test at 0.5 %: who passes it is clear of a slowdown of interest."""

LINK_DEVIATIONS = (1.5, 2.6)
"""A link so many standard deviations slow is looked at again: every second healthy fleet has one, within bounds."""


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What is known of one component."""

    component: Component
    """The node, rail or link."""
    status: NodeStatus
    """ok, slow or suspect."""
    slowdown: Interval
    """Against healthy ones."""
    rows: int
    """Values in which nothing else was slower."""
    slower: int
    """Those of them nearer to the slowdown than to healthy."""
    partners: int
    """Different sets of other nodes in them."""
    all_rows: int
    """Values in all."""
    pairs_only: bool
    """Whether all its groups are pairs."""
    rivals: tuple[Component, ...]
    """What explains the same values equally well."""
    clear: bool
    """Whether more measurements would change nothing that matters."""
    gain: float
    """Log-likelihood that its effect gains over none."""
    unit: str | None
    """Of the values."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """How strictly to judge."""

    threshold: float
    """The smallest slowdown of interest."""
    share: float
    """Share of the error budgets that this judgement may spend."""


def weigh(values: Sequence[GroupValue], order: Sequence[str], limits: Limits) -> tuple[Evidence, ...]:
    """Return the evidence on every component in the values of one unit; none where fewer than three were measured."""
    if sum(value.status == "ok" for value in values) < LEAST_ROWS:
        return ()
    found = fit(make_design(values, order))
    kind_C = found.design.kind_C
    links = kind_C == Kind.LINK
    families = [np.flatnonzero(~links), np.flatnonzero(links)]
    share = limits.share / (2 if len(families[1]) else 1)
    return tuple(
        evidence
        for family in families
        if len(family)
        for evidence in _weigh_family(found, family, Limits(threshold=limits.threshold, share=share))
    )


@dataclasses.dataclass(frozen=True)
class _Family:
    """Some components that share an error budget, shape ``S`` each."""

    found: Fit
    chosen: Ints
    best: Floats
    gain: Floats
    low: Floats
    high: Floats
    named: Bools
    suspicious: Bools
    clear: Bools


def _weigh_family(found: Fit, chosen: Ints, limits: Limits) -> list[Evidence]:
    """Return the evidence on components that share an error budget; of many links only on those that stand out."""
    df, number = found.state.df, len(chosen)
    best, gain = estimates(found, chosen)
    depth = (1 - np.exp(best)) / limits.threshold
    named = (depth >= NAMED_FROM) & (gain > ratio_threshold(NAMING_ALPHA * limits.share / number, df))
    suspicion = ratio_threshold(min(SUSPICION_ALPHA * limits.share / number, 0.05), df)
    clear = _clear(found, chosen, best, gain, limits)
    suspicious = named | ((depth >= SUSPECTED_FROM) & (gain > suspicion) & ~clear)
    links = found.design.components[chosen[0]].kind is Kind.LINK
    shown = np.flatnonzero(suspicious | ~clear) if links and number > MOST_LINKS else np.arange(number)
    low, high = bounds(found, chosen[shown], best[shown], COVERAGE_ALPHA * limits.share / number)
    family = _Family(
        found, chosen[shown], best[shown], gain[shown], low, high, named[shown], suspicious[shown], clear[shown]
    )
    return [_evidence(family, place) for place in range(len(shown))]


def _clear(found: Fit, chosen: Ints, best: Floats, gain: Floats, limits: Limits) -> Bools:
    """Return which components need no more measurements even though they aren't named."""
    if found.design.components[chosen[0]].kind is Kind.LINK:
        deviations = min(max(normal_quantile(1 - 0.5 / len(chosen)), LINK_DEVIATIONS[0]), LINK_DEVIATIONS[1])
        return np.asarray((1 - np.exp(best) < SUSPECTED_FROM * limits.threshold) | (gain < deviations**2 / 2))
    return np.asarray(excluded(found, chosen, best, math.log1p(-0.9 * limits.threshold)) > CLEAR_RATIO)


def _evidence(family: _Family, place: int) -> Evidence:
    found, number = family.found, int(family.chosen[place])
    component, best = found.design.components[number], float(family.best[place])
    rivals = _rivals(found, number, best) if family.suspicious[place] else ()
    here = found.design.places(number)
    alone = found.limit_P[here] > best
    rows = [found.design.values[k] for k in found.design.observation_P[here]]
    free = [row for row, free in zip(rows, alone, strict=True) if free]
    partners = _partners(component, free)
    enough = len(free) >= LEAST_ROWS and (component.kind is not Kind.NODE or partners >= LEAST_PARTNERS)
    slow = bool(family.named[place]) and enough and not rivals
    doubtful = rivals or (family.suspicious[place] and not enough)
    high = math.inf if doubtful else float(family.high[place])
    return Evidence(
        component=component,
        status=NodeStatus.SLOW if slow else NodeStatus.SUSPECT if family.suspicious[place] else NodeStatus.OK,
        slowdown=slowdown(best, float(family.low[place]), high),
        rows=len(free),
        slower=int(np.sum(found.seen_P[here][alone] < best / 2)),
        partners=partners,
        all_rows=len(rows),
        pairs_only=all(len(row.nodes) == 2 for row in rows),
        rivals=rivals,
        gain=float(family.gain[place]),
        clear=slow or not (rivals or family.suspicious[place] or not family.clear[place]),
        unit=rows[0].unit,
    )


def slowdown(best: float, low: float, high: float) -> Interval:
    """Return a slowdown from an effect and its interval's slower and faster ends; no bound becomes 1 and 0."""
    estimate = 1 - math.exp(best)
    fastest = min(0.0, estimate) if math.isinf(high) else 1 - math.exp(high)
    return Interval(estimate=estimate, low=fastest, high=1 - math.exp(low))


def _partners(component: Component, rows: Sequence[GroupValue]) -> int:
    """Return how many different sets of other nodes there are; a node measured alone needs none."""
    if component.kind is not Kind.NODE:
        return len({row.nodes for row in rows})
    others = {frozenset(row.nodes) - set(component.names) for row in rows}
    return max(len(others), LEAST_PARTNERS) if frozenset() in others else len(others)


def _rivals(found: Fit, number: int, effect: float) -> tuple[Component, ...]:
    """Return the components that would explain as well what this one explains: they are in the same telling values."""
    design = found.design
    here = design.places(number)
    telling = set(design.observation_P[here][found.limit_P[here] > effect].tolist())
    members = _members(found, telling)
    shared = set.intersection(*(set(members[k]) for k in telling)) - {number} if telling else set()
    return tuple(
        design.components[other]
        for other in sorted(shared)
        if found.state.effect_C[other] == 0 and not _telling(found, other, effect, telling)
    )


def _members(found: Fit, observations: set[int]) -> dict[int, list[int]]:
    """Return the components in each of some observations."""
    members: dict[int, list[int]] = defaultdict(list)
    for place in np.flatnonzero(np.isin(found.design.observation_P, sorted(observations))):
        members[int(found.design.observation_P[place])].append(int(found.design.component_P[place]))
    return members


def _telling(found: Fit, number: int, effect: float, known: set[int]) -> set[int]:
    """Return the observations that would show such an effect of a component: nothing else in them is slower."""
    here = found.design.places(number)
    observations = found.design.observation_P[here]
    return set(observations[found.limit_P[here] > effect].tolist()) - known
