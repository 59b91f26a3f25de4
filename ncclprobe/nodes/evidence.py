"""What the values of one unit say of every node, rail and link: figures and a status, no words yet.

docs/performance.md states each rule with its formula.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ncclprobe.nodes.design import Bools, Component, Floats, Ints, Kind, make_design
from ncclprobe.nodes.intervals import bounds, estimates, excluded, narrowed, ratio_threshold
from ncclprobe.nodes.model import Fit, fit
from ncclprobe.records.base import Interval
from ncclprobe.records.nodes import GroupValue, NodeStatus
from ncclprobe.stats import normal_quantile

COVERAGE_ALPHA = 0.05
"""All intervals of a document hold together with 95 %."""

NAMING_ALPHA = 0.005
"""A healthy fleet has a component named in at most 0.5 % of runs."""

SUSPICION_ALPHA = 0.2
"""A healthy fleet has a component suspected in at most 20 % of runs."""

NAMED_FROM, SUSPECTED_FROM = 0.65, 0.5
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
    """Different sets of other nodes in them; none is one, too."""
    alone: bool
    """Whether it was the only node in one of them, which needs no partner."""
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
    known: frozenset[Component] = frozenset()
    """What an earlier look named: it stays named while values still speak for it."""


def weigh(values: Sequence[GroupValue], order: Sequence[str], limits: Limits) -> tuple[Evidence, ...]:
    """Return the evidence on every component in the values of one unit; none where fewer than three were measured."""
    if sum(value.status == "ok" for value in values) < LEAST_ROWS:
        return ()
    found = fit(make_design(values, order))
    links = found.design.kind_C == Kind.LINK
    families = [np.flatnonzero(~links), np.flatnonzero(links)]
    share = limits.share / (2 if len(families[1]) else 1)
    return tuple(
        evidence
        for family in families
        if len(family)
        for evidence in _weigh_family(found, family, dataclasses.replace(limits, share=share))
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


class _Counts(NamedTuple):
    """What a family's values are counted by, shape ``S`` each."""

    rows: Ints
    """Values in which nothing else was slower."""
    slower: Ints
    """Those of them nearer to the component's effect than to healthy."""
    partners: Ints
    """Different sets of other nodes in them; none is one, too."""
    alone: Bools
    """Whether it was the only node in one of them."""
    pairs_only: Bools
    """Whether all its groups are pairs."""


def _weigh_family(found: Fit, chosen: Ints, limits: Limits) -> list[Evidence]:
    """Return the evidence on components that share an error budget; of many links only on those that stand out."""
    df, number = found.state.df, len(chosen)
    best, gain = estimates(found, chosen)
    depth = (1 - np.exp(best)) / limits.threshold
    needed = ratio_threshold(NAMING_ALPHA * limits.share / number, df)
    known = np.array([found.design.components[c] in limits.known for c in chosen]) if limits.known else False
    named = (depth >= NAMED_FROM) & (gain > np.where(known, CLEAR_RATIO, needed))
    suspicion = ratio_threshold(min(SUSPICION_ALPHA * limits.share / number, 0.05), df)
    clear = _clear(found, chosen, best, gain, limits)
    suspicious = named | ((depth >= SUSPECTED_FROM) & (gain > suspicion) & ~clear)
    links = found.design.components[chosen[0]].kind is Kind.LINK
    shown = np.flatnonzero(suspicious | ~clear) if links and number > MOST_LINKS else np.arange(number)
    low, high = bounds(found, chosen[shown], best[shown], COVERAGE_ALPHA * limits.share / number)
    family = _Family(
        found, chosen[shown], best[shown], gain[shown], low, high, named[shown], suspicious[shown], clear[shown]
    )
    counts, by_row = _counted(family), _ByRow(found)
    return [_evidence(family, counts, by_row, place) for place in range(len(shown))]


def _clear(found: Fit, chosen: Ints, best: Floats, gain: Floats, limits: Limits) -> Bools:
    """Return which components need no more measurements even though they aren't named."""
    if found.design.components[chosen[0]].kind is Kind.LINK:
        deviations = min(max(normal_quantile(1 - 0.5 / len(chosen)), LINK_DEVIATIONS[0]), LINK_DEVIATIONS[1])
        return np.asarray((1 - np.exp(best) < SUSPECTED_FROM * limits.threshold) | (gain < deviations**2 / 2))
    return np.asarray(excluded(found, chosen, best, math.log1p(-0.9 * limits.threshold)) > CLEAR_RATIO)


def _counted(family: _Family) -> _Counts:
    """Return the numbers of values and partners behind each component."""
    part, number = narrowed(family.found, family.chosen), len(family.chosen)
    component_P, observation_P = part.design.component_P, part.design.observation_P
    free_P = part.limit_P > family.best[component_P]
    slower_P = free_P & (part.seen_P < family.best[component_P] / 2)
    met = np.unique(np.stack([component_P, part.design.group_K[observation_P]])[:, free_P], axis=1)[0]
    size_P = part.design.size_K[observation_P]
    return _Counts(
        rows=np.bincount(component_P[free_P], minlength=number),
        slower=np.bincount(component_P[slower_P], minlength=number),
        partners=np.bincount(met, minlength=number),
        alone=np.bincount(component_P[free_P & (size_P == 1)], minlength=number) > 0,
        pairs_only=np.bincount(component_P[size_P != 2], minlength=number) == 0,
    )


def _evidence(family: _Family, counts: _Counts, by_row: _ByRow, place: int) -> Evidence:
    design, number = family.found.design, int(family.chosen[place])
    component, best = design.components[number], float(family.best[place])
    named, suspicious = bool(family.named[place]), bool(family.suspicious[place])
    rivals = by_row.rivals(number, best) if suspicious else ()
    partners, rows, alone = int(counts.partners[place]), int(counts.rows[place]), bool(counts.alone[place])
    enough = rows >= LEAST_ROWS and (component.kind is not Kind.NODE or alone or partners >= LEAST_PARTNERS)
    slow = named and enough and not rivals
    doubtful = rivals or (suspicious and not enough)
    high = math.inf if doubtful else float(family.high[place])
    return Evidence(
        component=component,
        status=NodeStatus.SLOW if slow else NodeStatus.SUSPECT if suspicious else NodeStatus.OK,
        slowdown=slowdown(best, float(family.low[place]), high),
        rows=rows,
        slower=int(counts.slower[place]),
        partners=partners,
        alone=alone,
        all_rows=int(design.count_C[number]),
        pairs_only=bool(counts.pairs_only[place]),
        rivals=rivals,
        gain=float(family.gain[place]),
        clear=slow or not (rivals or suspicious or not family.clear[place]),
        unit=design.values[0].unit,
    )


def slowdown(best: float, low: float, high: float) -> Interval:
    """Return a slowdown from an effect and its interval's slower and faster ends; no bound becomes 1 and 0."""
    estimate = 1 - math.exp(best)
    fastest = min(0.0, estimate) if math.isinf(high) else 1 - math.exp(high)
    return Interval(estimate=estimate, low=fastest, high=1 - math.exp(low))


class _ByRow:
    """Finds what shares its values with a component."""

    def __init__(self, found: Fit) -> None:
        self._found = found
        self._order = np.argsort(found.design.observation_P, kind="stable")
        self._start_K = np.searchsorted(found.design.observation_P[self._order], np.arange(len(found.design.log_K) + 1))

    def rivals(self, number: int, effect: float) -> tuple[Component, ...]:
        """Return what would explain as well a component: it is in the same telling values, no others."""
        telling = self._telling(number, effect)
        shared = set.intersection(*(self._members(k) for k in telling)) - {number} if telling else set()
        return tuple(
            self._found.design.components[other]
            for other in sorted(shared)
            if self._found.state.effect_C[other] == 0 and not self._telling(other, effect) - telling
        )

    def _members(self, observation: int) -> set[int]:
        here = self._order[self._start_K[observation] : self._start_K[observation + 1]]
        return set(self._found.design.component_P[here].tolist())

    def _telling(self, number: int, effect: float) -> set[int]:
        """Return the observations that would show such an effect of a component: nothing else in them is slower."""
        here = self._found.design.places(number)
        return set(self._found.design.observation_P[here][self._found.limit_P[here] > effect].tolist())
