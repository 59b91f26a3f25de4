"""The model: a group is as fast as its slowest node, link or rail; what slows it is sparse, and noise has outliers.

The logarithm of a group's value is ``level + drift + min(effects of its components, 0) + noise``. The noise is normal
with a share of outliers that can be anywhere. Components get an effect one after the other, the best explanation
first, as long as each gains more likelihood than a chance finding would; until then a node is slow with a probability,
so that many slow nodes shift neither the level nor the drift. docs/performance.md has the formulas.

Letters of shapes: see design.py.
"""

# ruff: noqa: N815 (a shape's letters end an array's name)
from __future__ import annotations

import dataclasses

import numpy as np
from scipy import special

from ncclprobe.nodes.design import Bools, Design, Floats, Ints, Kind
from ncclprobe.nodes.noise import log_density
from ncclprobe.nodes.state import State, expected, limits, mean_step, refine, seen, start

STARTS = ((0.5, 0.5), (0.8, 0.3), (0.65, 0.4))
"""Where healthy groups are looked for: a quantile of the values, and the share of them in the narrowest interval that
sigma starts from. Up to two thirds of the groups may be slow."""

MANY = 1000
"""From so many values on two starts do: each of them sees the healthy ones clearly."""

MOST_STEPS = 60
"""A bound on entering and leaving; some five steps are usual."""

NEAR = 0.05
"""Starts whose levels differ by less than this share of sigma lead to the same explanation; one of them is enough."""

SETTLED_CHANCE = 0.02
"""Nothing more is to be found when the probabilities of being slow move by less than this share of their sum."""

LIKELY = 0.5
"""A link has to explain what a node with a larger probability of being slow does not."""

KEEP = 0.7
"""An effect is dropped again when it gains less than this share of what it needs to enter."""

MARGINS = np.array([2.0, 2.5, 3.0])
"""What a node, rail or link must gain beside the price of its choice: a node is the explanation where all fit alike."""


NONE_J = np.zeros(3)
"""No slow node, rail or link."""


@dataclasses.dataclass(frozen=True)
class Fit:
    """The explanation found, and what each component's effect can be judged by."""

    design: Design
    state: State
    seen_P: Floats
    """Value less the level of the other healthy groups: what the component's effect would be seen as."""
    spread_P: Floats
    """Standard deviation of that."""
    limit_P: Floats
    """The slowest other component's effect; infinite where no other is slow."""

    def log_likelihood(self, effect_C: Floats) -> Floats:
        """Return each component's log-likelihood at these effects, the others being as they are."""
        error = self.seen_P - np.minimum(effect_C[self.design.component_P], self.limit_P)
        density = log_density(error, self.spread_P, self.state.rate)
        return np.asarray(np.bincount(self.design.component_P, density, len(effect_C)), dtype=float)


def fit(design: Design) -> Fit:
    """Return the best explanation found from several starting levels."""
    lasting = np.flatnonzero(design.count_C > 1)
    part = only(design, lasting)[0] if len(lasting) else design
    found = [_grown(part, state) for state in _starts(part)]
    best = max(found, key=lambda state: _objective(part, state))
    return _fit(design, _on_all(best, lasting, len(design.components)) if len(lasting) else best)


def _starts(design: Design) -> list[State]:
    """Return the states to search from, those that lead to different levels first being grown with sigma held."""
    few = len(design.log_K) < MANY
    drawn = [start(design, *where) for where in (STARTS if few else STARTS[:2])]
    different: list[State] = []
    for state in (refine(design, state, rounds=10, scale=False) for state in drawn):
        if few or all(_apart(state, other) for other in different):
            different.append(state)
    return [_grown(design, state, scale=False) for state in different] + (drawn[:1] if few else [])


def _apart(state: State, other: State) -> bool:
    level, drift = state.level_G - other.level_G, state.drift_E - other.drift_E
    return float(np.max(np.abs(level)) + np.max(np.abs(drift))) > NEAR * state.sigma


def only(design: Design, chosen_S: Ints) -> tuple[Design, Ints]:
    """Return the design with some components only, numbered in this (ascending) order, and their places in the whole.

    What is in a single observation never enters: it cannot be told from an outlier, and would hide how many there are.
    """
    new_C = np.full(len(design.components), -1)
    new_C[chosen_S] = np.arange(len(chosen_S))
    here_P = np.flatnonzero(new_C[design.component_P] >= 0)
    count_C = design.count_C[chosen_S]
    part = dataclasses.replace(
        design,
        components=tuple(design.components[c] for c in chosen_S),
        kind_C=design.kind_C[chosen_S],
        component_P=new_C[design.component_P[here_P]],
        observation_P=design.observation_P[here_P],
        start_C=np.cumsum(count_C) - count_C,
        count_C=count_C,
    )
    return part, here_P


def _on_all(state: State, chosen_S: Ints, number: int) -> State:
    """Return the state of some components as that of all."""

    def spread(values_S: Floats) -> Floats:
        values_C = np.zeros(number)
        values_C[chosen_S] = values_S
        return values_C

    return dataclasses.replace(
        state, effect_C=spread(state.effect_C), chance_C=spread(state.chance_C), hint_C=spread(state.hint_C)
    )


def _grown(design: Design, state: State, *, scale: bool = True) -> State:
    """Return the state after components entered and left until none does.

    Args:
        design: The observations.
        state: Where to start from.
        scale: Whether sigma is estimated on the way. While it is not, a few slow groups can't hide in a large one.
    """
    price_C, doubting = _price(design, NONE_J), False
    for _ in range(MOST_STEPS):
        state = refine(design, state, rounds=3, scale=scale)
        effect_C, gain_C = best_effects(_fit(design, state), most=0.0)
        active_C = state.effect_C < 0
        entering = _winners(design, np.where(active_C, -1.0, gain_C - price_C))
        leaving = active_C & (gain_C < KEEP * price_C)
        settled = not entering.any() and not leaving.any()
        doubting = doubting or (scale and settled)
        changed = np.where(entering, effect_C, np.where(leaving, 0.0, state.effect_C))
        chance_C = _chances(design, gain_C, changed < 0) if doubting else state.chance_C
        moved = float(np.sum(np.abs(chance_C - state.chance_C)) / (1 + np.sum(chance_C)))
        state = dataclasses.replace(state, effect_C=changed, chance_C=chance_C, hint_C=effect_C)
        if settled and moved < SETTLED_CHANCE:
            break
    return refine(design, state, rounds=10, scale=scale)


def _price(design: Design, slow_J: Floats) -> Floats:
    """Return what an effect must gain to enter: the log-odds of being healthy among its kind, and a margin.

    Source: the risk inflation criterion; Foster & George, Ann. Statist. 22 (1994) 1947; with the share of slow ones
    found so far in place of one, as in empirical Bayes selection; George & Foster, Biometrika 87 (2000) 731.
    """
    price = MARGINS + np.log(np.maximum(design.number_J, 1) / np.maximum(slow_J, 1))
    return np.asarray(np.where(design.count_C > 1, price[design.kind_C], np.inf))


def _chances(design: Design, gain_C: Floats, entered_C: Bools) -> Floats:
    """Return the probability that each node is slow, from its gain and the share of slow nodes, which it also finds.

    Source: the two-groups model; Efron, Large-Scale Inference (2010), section 2.2; its share by EM, here ten steps.
    """
    nodes_C = (design.kind_C == Kind.NODE) & (design.count_C > 1) & ~entered_C
    already = float(np.sum(design.kind_C[entered_C] == Kind.NODE))
    chance_C = np.zeros(len(gain_C))
    for _ in range(10):
        price_C = _price(design, np.array([already + np.sum(chance_C), 0.0, 0.0]))
        chance_C[nodes_C] = special.expit(gain_C[nodes_C] - price_C[nodes_C])
    return chance_C


def _objective(design: Design, state: State) -> float:
    """Return the log-likelihood less the price of the effects, that of a likely one in proportion."""
    error = design.log_K - expected(design, state) - state.level_G[design.class_K] - state.drift_E[design.epoch_K]
    chance_C = np.where(state.effect_C < 0, 1.0, state.chance_C)
    likely_C = chance_C > 0
    paid = float(np.sum(chance_C[likely_C] * _price(design, NONE_J)[likely_C]))
    return float(np.sum(log_density(error, state.sigma, state.rate))) - paid


def _fit(design: Design, state: State) -> Fit:
    seen_P, spread_P = seen(design, state, expected(design, state))
    limit_P = limits(design, state.effect_C)
    likely_C = state.chance_C > LIKELY
    if likely_C.any():
        links_P = design.kind_C[design.component_P] == Kind.LINK
        limit_P = np.where(links_P, limits(design, np.where(likely_C, state.hint_C, state.effect_C)), limit_P)
    return Fit(design=design, state=state, seen_P=seen_P, spread_P=spread_P, limit_P=limit_P)


def best_effects(found: Fit, *, most: float, steps: int = 2) -> tuple[Floats, Floats]:
    """Return each component's most likely effect up to ``most``, and what it gains over no effect at all.

    Args:
        found: The other components' effects.
        most: The fastest to try.
        steps: From each quartile of what is seen of a component.
    """
    design = found.design
    number = len(design.components)
    none_C = found.log_likelihood(np.zeros(number))
    best_C, top_C = np.zeros(number), none_C.copy()
    order = np.lexsort((found.seen_P, design.component_P))
    for quantile in (0.25, 0.5, 0.75):
        place_C = design.start_C + np.floor(quantile * (design.count_C - 1) + 0.5).astype(np.int64)
        effect_C = np.minimum(found.seen_P[order[place_C]], most)
        for _ in range(steps):
            effect_C = np.minimum(
                mean_step(design, found.seen_P, found.spread_P, found.limit_P, effect_C, found.state.rate), most
            )
        likelihood_C = found.log_likelihood(effect_C)
        better = likelihood_C > top_C
        best_C, top_C = np.where(better, effect_C, best_C), np.where(better, likelihood_C, top_C)
    return best_C, top_C - none_C


def _winners(design: Design, score_C: Floats) -> Bools:
    """Return the components with a positive score that are the best explanation of every observation they are in."""
    ranked_C = score_C - 1e-9 * np.arange(len(score_C))
    best_K = np.full(len(design.log_K), -np.inf)
    np.maximum.at(best_K, design.observation_P, ranked_C[design.component_P])
    beaten_C = np.bincount(
        design.component_P, best_K[design.observation_P] > ranked_C[design.component_P], len(score_C)
    )
    return np.asarray((score_C > 0) & (beaten_C == 0))
