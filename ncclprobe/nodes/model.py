"""The model: a group is as fast as its slowest node, link or rail; what slows it is sparse, and noise has outliers.

The logarithm of a group's value is ``level + drift + min(effects of its components, 0) + noise``. The noise is normal
with a share of outliers that can be anywhere. Components get an effect one after the other, the best explanation
first, as long as each gains more likelihood than a chance finding would. docs/performance.md has the formulas.

Letters of shapes: see design.py.
"""

# ruff: noqa: N815 (a shape's letters end an array's name)
from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from ncclprobe.nodes.design import Bools, Design, Floats
from ncclprobe.nodes.drift import smooth
from ncclprobe.stats import normal_quantile

BACKGROUND = 0.02
"""Density of an outlier's logarithm, the same everywhere: a value some 4.7 standard deviations off counts as one."""

FAST = 1e-6
"""Outliers on the fast side are so much rarer: what slows a group comes and goes, but nothing makes it faster."""

LEAST_SIGMA = 0.002
"""Noise of a group's value is never taken for less: 0.2 %, the scatter within a launch (docs/performance.md)."""

STARTS = ((0.5, 0.5), (0.8, 0.3), (0.65, 0.4))
"""Where healthy groups are looked for: a quantile of the values, and the share of them in the narrowest interval that
sigma starts from. Up to two thirds of the groups may be slow."""

MANY = 1000
"""From so many values on two starts do: each of them sees the healthy ones clearly."""

MOST_STEPS = 60
"""A bound on entering and leaving; some five steps are usual."""

KEEP = 0.7
"""An effect is dropped again when it gains less than this share of what it needs to enter."""


@dataclasses.dataclass(frozen=True)
class State:
    """What is known in the course of a fit."""

    effect_C: Floats
    """Logarithm of the share of a healthy component's speed; 0 where none is taken to be slow."""
    level_G: Floats
    """Of healthy groups of a size."""
    drift_E: Floats
    """Common to all groups at a time."""
    drift_variance_E: Floats
    """Of that estimate."""
    weight_K: Floats
    """Probability that the value is no outlier."""
    sigma: float
    """Standard deviation of a value that is no outlier."""
    rate: float
    """Share of outliers."""
    df: float
    """Degrees of freedom that sigma rests on."""


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
    objective: float
    """Log-likelihood less the price of the effects."""

    def log_likelihood(self, effect_C: Floats) -> Floats:
        """Return each component's log-likelihood at these effects, the others being as they are."""
        error = self.seen_P - np.minimum(effect_C[self.design.component_P], self.limit_P)
        density = log_density(error, self.spread_P, self.state.rate)
        return np.asarray(np.bincount(self.design.component_P, density, len(effect_C)), dtype=float)


def log_density(error: Floats, spread: Floats | float, rate: float) -> Floats:
    """Return the log-density of a value's noise: normal, or an outlier with probability ``rate``."""
    outlier = math.log(rate) + np.where(error < 0, math.log(BACKGROUND), math.log(BACKGROUND * FAST))
    return np.logaddexp(_log_normal(error, spread, rate), outlier)


def _log_normal(error: Floats, spread: Floats | float, rate: float) -> Floats:
    normal = math.log1p(-rate) - 0.5 * (error / spread) ** 2 - np.log(spread) - 0.5 * math.log(2 * math.pi)
    return np.asarray(normal)


def price(design: Design) -> Floats:
    """Return what an effect must gain to enter: the log of how many of its kind there are, and a margin, shape ``C``.

    A link costs more than a node, so that a node is the explanation where both fit equally well. What is in a single
    observation never enters: it cannot be told from an outlier, and would hide how many of those there are.

    Source: the risk inflation criterion; Foster & George, Ann. Statist. 22 (1994) 1947.
    """
    kind_C = design.kind_C
    number = np.bincount(kind_C, minlength=3)
    margin = np.array([2.0, 2.5, 3.0])
    return np.where(design.count_C > 1, (margin + np.log(np.maximum(number, 1)))[kind_C], np.inf)


def fit(design: Design) -> Fit:
    """Return the best explanation found from several starting levels."""
    price_C = price(design)
    starts = [_start(design, *start) for start in (STARTS if len(design.log_K) < MANY else STARTS[:2])]
    found = [_grown(design, _grown(design, start, price_C, scale=False), price_C) for start in starts]
    found += [_grown(design, starts[0], price_C)] if len(design.log_K) < MANY else []
    return max((_fit(design, state, price_C) for state in found), key=lambda fit: fit.objective)


def _grown(design: Design, state: State, price_C: Floats, *, scale: bool = True) -> State:
    """Return the state after components entered and left until none does.

    Args:
        design: The observations.
        state: Where to start from.
        price_C: What an effect must gain.
        scale: Whether sigma is estimated on the way. While it is not, a few slow groups can't hide in a large one.
    """
    for _ in range(MOST_STEPS):
        state = _refine(design, state, rounds=3, scale=scale)
        effect_C, gain_C = best_effects(_fit(design, state, price_C), most=0.0)
        active_C = state.effect_C < 0
        entering = _winners(design, np.where(active_C, -1.0, gain_C - price_C))
        leaving = active_C & (gain_C < KEEP * price_C)
        if not entering.any() and not leaving.any():
            break
        changed = np.where(entering, effect_C, np.where(leaving, 0.0, state.effect_C))
        state = dataclasses.replace(state, effect_C=changed)
    return _refine(design, state, rounds=10, scale=scale)


def _start(design: Design, quantile: float, share: float) -> State:
    """Return the state before anything is explained: levels at a quantile, sigma from the narrowest interval."""
    groups, epochs = int(design.class_K.max()) + 1, int(design.epoch_K.max()) + 1
    level_G = np.array([np.quantile(design.log_K[design.class_K == g], quantile) for g in range(groups)])
    rest_K = design.log_K - level_G[design.class_K]
    drift_E = np.zeros(epochs)
    count_E = np.bincount(design.epoch_K, minlength=epochs)
    for epoch in np.flatnonzero(count_E >= 4) if epochs > 1 else ():
        drift_E[epoch] = np.quantile(rest_K[design.epoch_K == epoch], quantile)
    rest_K = rest_K - drift_E[design.epoch_K]
    return State(
        effect_C=np.zeros(len(design.components)),
        level_G=level_G,
        drift_E=drift_E,
        drift_variance_E=np.zeros(epochs),
        weight_K=np.ones(len(rest_K)),
        sigma=max(_narrowest(rest_K, share), LEAST_SIGMA),
        rate=0.02,
        df=1.0,
    )


def _narrowest(values: Floats, share: float) -> float:
    """Return a standard deviation from the shortest interval that holds a share of the values.

    Source: the shorth; Rousseeuw & Leroy, Robust Regression and Outlier Detection (1987), section 4.4; its length over
    that of the normal distribution's central interval with this share.
    """
    ordered = np.sort(values)
    held = min(max(int(share * len(ordered)) + 1, 3), len(ordered))
    length = float(np.min(ordered[held - 1 :] - ordered[: len(ordered) - held + 1]))
    return length / (2 * normal_quantile((1 + share) / 2))


def _refine(design: Design, state: State, *, rounds: int, scale: bool) -> State:
    """Return the state after some rounds of estimating weights, levels, drift, effects and perhaps sigma in turn."""
    for _ in range(rounds):
        limit_P, expected_K = limits(design, state.effect_C)
        rest_K = design.log_K - expected_K
        state = _weighted(design, state, rest_K)
        state = _levelled(design, state, rest_K)
        state = _scaled(design, state, rest_K) if scale else state
        if np.any(state.effect_C < 0):
            state = dataclasses.replace(state, effect_C=_stepped(design, state, limit_P, expected_K))
    return state


def limits(design: Design, effect_C: Floats) -> tuple[Floats, Floats]:
    """Return the slowest other effect at each place (infinite if none), and each observation's expected effect."""
    slow_P = np.flatnonzero(effect_C[design.component_P] < 0)
    observation, effect = design.observation_P[slow_P], effect_C[design.component_P[slow_P]]
    order = np.argsort(effect, kind="stable")
    first_K = np.full(len(design.log_K), np.inf)
    second_K, owner_K = first_K.copy(), np.full(len(first_K), -1)
    np.minimum.at(first_K, observation, effect)
    owner_K[observation[order[::-1]]] = slow_P[order[::-1]]
    others = owner_K[observation] != slow_P
    np.minimum.at(second_K, observation[others], effect[others])
    own_P = owner_K[design.observation_P] == np.arange(len(design.component_P))
    limit_P = np.where(own_P, second_K[design.observation_P], first_K[design.observation_P])
    return limit_P, np.where(np.isfinite(first_K), first_K, 0.0)


def _weighted(design: Design, state: State, rest_K: Floats) -> State:
    """Return the state with each value's probability of being no outlier, and their share."""
    error = rest_K - state.level_G[design.class_K] - state.drift_E[design.epoch_K]
    weight_K = _probability(error, state.sigma, state.rate)
    rate = (float(np.sum(1 - weight_K)) + 0.4) / (len(weight_K) + 20)
    return dataclasses.replace(state, weight_K=weight_K, rate=min(rate, 0.3))


def _probability(error: Floats, spread: Floats | float, rate: float) -> Floats:
    """Return the probability that a value with this error is no outlier."""
    return np.exp(_log_normal(error, spread, rate) - log_density(error, spread, rate))


def _levelled(design: Design, state: State, rest_K: Floats) -> State:
    """Return the state with the levels of the group sizes and the drift."""
    weight, groups = state.weight_K, len(state.level_G)
    undrifted = rest_K - state.drift_E[design.epoch_K]
    total = np.bincount(design.class_K, weight, groups)
    level_G = np.bincount(design.class_K, weight * undrifted, groups) / np.maximum(total, 1e-12)
    level_G = np.where(total > 1e-6, level_G, state.level_G)
    epochs = len(state.drift_E)
    if epochs == 1:
        return dataclasses.replace(state, level_G=level_G)
    total_E = np.bincount(design.epoch_K, weight, epochs)
    mean_E = np.bincount(design.epoch_K, weight * (rest_K - level_G[design.class_K]), epochs) / np.maximum(
        total_E, 1e-9
    )
    drift_E, variance_E = smooth(mean_E, np.asarray(total_E, dtype=float), state.sigma)
    return dataclasses.replace(state, level_G=level_G, drift_E=drift_E, drift_variance_E=variance_E)


def _scaled(design: Design, state: State, rest_K: Floats) -> State:
    """Return the state with sigma from the weighted residuals and the degrees of freedom that are left."""
    error = rest_K - state.level_G[design.class_K] - state.drift_E[design.epoch_K]
    total_E = np.bincount(design.epoch_K, state.weight_K, len(state.drift_E))
    drift = float(np.sum(total_E * state.drift_variance_E)) / state.sigma**2
    spent = max(drift, 1.0) + len(state.level_G) - 1 + int(np.sum(state.effect_C < 0))
    df = max(float(np.sum(state.weight_K)) - spent, 1.0)
    sigma = math.sqrt(float(np.sum(state.weight_K * error**2)) / df)
    return dataclasses.replace(state, sigma=max(sigma, LEAST_SIGMA), df=df)


def _stepped(design: Design, state: State, limit_P: Floats, expected_K: Floats) -> Floats:
    """Return the effects after a weighted mean over the places where nothing else is slower."""
    seen_P, spread_P = _seen(design, state, expected_K)
    active_C = state.effect_C < 0
    effect = _mean_step(design, seen_P, spread_P, limit_P, state.effect_C, state.rate)
    return np.where(active_C, np.minimum(effect, -1e-4), 0.0)


def _mean_step(
    design: Design, seen_P: Floats, spread_P: Floats, limit_P: Floats, effect_C: Floats, rate: float
) -> Floats:
    """Return each component's mean of what is seen of it, outliers and places limited elsewhere left out."""
    effect_P, number = effect_C[design.component_P], len(effect_C)
    weight = _probability(seen_P - np.minimum(effect_P, limit_P), spread_P, rate) / spread_P**2
    weight = np.where(limit_P > effect_P, weight, 0.0)
    total = np.bincount(design.component_P, weight, number)
    mean = np.bincount(design.component_P, weight * seen_P, number) / np.maximum(total, 1e-300)
    return np.where(total > 1e-6 / LEAST_SIGMA**2 * 1e-3, mean, effect_C)


def _seen(design: Design, state: State, expected_K: Floats) -> tuple[Floats, Floats]:
    """Return each place's value less the level that rows without the component show, and its standard deviation.

    The level's error is common to the component's rows; each row's variance is raised so that their mean has the right
    one. docs/performance.md derives it.
    """
    level_K = state.level_G[design.class_K] + state.drift_E[design.epoch_K]
    error_K = design.log_K - expected_K - level_K
    seen_P = (design.log_K - level_K)[design.observation_P]
    variance_P = np.full(len(seen_P), state.sigma**2)
    for worth_K, share_P in _levels(design, state):
        rows_P = np.maximum(1.0, share_P * (worth_K[design.observation_P] + 1))
        left_P = np.maximum(worth_K[design.observation_P] - rows_P + 1, 1e-6)
        own_P, mean_P = _errors(design, state.weight_K, error_K)
        seen_P = seen_P + np.where(left_P > 0.5, (own_P + (rows_P - 1) * mean_P) / left_P, 0.0)
        variance_P = variance_P + state.sigma**2 * rows_P / left_P
    return seen_P, np.sqrt(variance_P)


def _levels(design: Design, state: State) -> Iterator[tuple[Floats, Floats]]:
    """Yield how many other rows a level is worth, and the component's share of such rows: for class and drift."""
    if len(state.level_G) > 1 or len(state.drift_E) == 1:
        total_G = np.bincount(design.class_K, state.weight_K, len(state.level_G))
        number_G = np.bincount(design.class_K, minlength=len(state.level_G))
        class_P = design.class_K[design.observation_P]
        key_P = design.component_P * len(number_G) + class_P
        yield total_G[design.class_K] - state.weight_K, np.bincount(key_P)[key_P] / number_G[class_P]
    if len(state.drift_E) > 1:
        worth_E = state.sigma**2 / np.maximum(state.drift_variance_E, 1e-12)
        yield worth_E[design.epoch_K] - state.weight_K, design.count_C[design.component_P] / len(design.log_K)


def _errors(design: Design, weight_K: Floats, error_K: Floats) -> tuple[Floats, Floats]:
    """Return each place's error, and the mean error of its component's rows, outliers weighing less."""
    weight_P, number = weight_K[design.observation_P], len(design.components)
    own_P = weight_P * error_K[design.observation_P]
    total_C = np.bincount(design.component_P, weight_P, number)
    mean_C = np.bincount(design.component_P, own_P, number) / np.maximum(total_C, 1e-9)
    return own_P, mean_C[design.component_P]


def _fit(design: Design, state: State, price_C: Floats) -> Fit:
    limit_P, expected_K = limits(design, state.effect_C)
    seen_P, spread_P = _seen(design, state, expected_K)
    error = design.log_K - expected_K - state.level_G[design.class_K] - state.drift_E[design.epoch_K]
    objective = float(np.sum(log_density(error, state.sigma, state.rate)) - np.sum(price_C[state.effect_C < 0]))
    return Fit(design=design, state=state, seen_P=seen_P, spread_P=spread_P, limit_P=limit_P, objective=objective)


def best_effects(found: Fit, *, most: float) -> tuple[Floats, Floats]:
    """Return each component's most likely effect up to ``most``, and what it gains over no effect at all."""
    design = found.design
    number = len(design.components)
    none_C = found.log_likelihood(np.zeros(number))
    best_C, top_C = np.zeros(number), none_C.copy()
    order = np.lexsort((found.seen_P, design.component_P))
    for quantile in (0.25, 0.5, 0.75):
        place_C = design.start_C + np.floor(quantile * (design.count_C - 1) + 0.5).astype(np.int64)
        effect_C = np.minimum(found.seen_P[order[place_C]], most)
        for _ in range(4):
            effect_C = np.minimum(
                _mean_step(design, found.seen_P, found.spread_P, found.limit_P, effect_C, found.state.rate), most
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
