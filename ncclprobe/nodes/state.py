"""What is known in the course of a fit, and how each part of it is estimated from the others.

Letters of shapes: see design.py.
"""

# ruff: noqa: N815 (a shape's letters end an array's name)
from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from ncclprobe.nodes.design import Design, Floats, Ints
from ncclprobe.nodes.drift import smooth
from ncclprobe.nodes.noise import LEAST_SIGMA, probability
from ncclprobe.stats import normal_quantile

SETTLED = 1e-4
"""Estimating ends when level, drift and sigma move by less than this share of sigma."""

LEAST_CHANCE = 0.01
"""Who is slow with a smaller probability is taken to be healthy."""


@dataclasses.dataclass(frozen=True)
class State:
    """What is known in the course of a fit."""

    effect_C: Floats
    """Logarithm of the share of a healthy component's speed; 0 where none is taken to be slow."""
    chance_C: Floats
    """Probability that a component is slow whose effect has not entered; 0 for those that have."""
    hint_C: Floats
    """What their effect would be."""
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


def start(design: Design, quantile: float, share: float) -> State:
    """Return the state before anything is explained: levels at a quantile, sigma from the narrowest interval."""
    groups, epochs = int(design.class_K.max()) + 1, int(design.epoch_K.max()) + 1
    level_G = np.array([np.quantile(design.log_K[design.class_K == g], quantile) for g in range(groups)])
    rest_K = design.log_K - level_G[design.class_K]
    drift_E = np.zeros(epochs)
    count_E = np.bincount(design.epoch_K, minlength=epochs)
    for epoch in np.flatnonzero(count_E >= 4) if epochs > 1 else ():
        drift_E[epoch] = np.quantile(rest_K[design.epoch_K == epoch], quantile)
    rest_K = rest_K - drift_E[design.epoch_K]
    none_C = np.zeros(len(design.components))
    return State(
        effect_C=none_C,
        chance_C=none_C,
        hint_C=none_C,
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


def refine(design: Design, state: State, *, rounds: int, scale: bool) -> State:
    """Return the state after some rounds of estimating weights, levels, drift, effects and perhaps sigma in turn."""
    limit_P, turn_P = limits(design, state.effect_C), turns(design, state)
    for _ in range(rounds):
        before = state
        expected_K = expected(design, state, turn_P)
        rest_K = design.log_K - expected_K
        state = _weighted(design, state, rest_K)
        state = _levelled(design, state, rest_K)
        state = _scaled(design, state, rest_K) if scale else state
        if np.any(state.effect_C < 0):
            state = dataclasses.replace(state, effect_C=_stepped(design, state, limit_P, expected_K))
            limit_P = limits(design, state.effect_C)
        if _moved(before, state) < SETTLED * state.sigma:
            break
    return state


def _moved(before: State, after: State) -> float:
    moves = (before.level_G - after.level_G, before.drift_E - after.drift_E, before.effect_C - after.effect_C)
    return max(abs(before.sigma - after.sigma), *(float(np.max(np.abs(move))) for move in moves))


def limits(design: Design, effect_C: Floats) -> Floats:
    """Return the slowest other effect at each place, infinite where no other has entered."""
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
    return np.where(own_P, second_K[design.observation_P], first_K[design.observation_P])


def expected(design: Design, state: State, turn_P: Ints | None = None) -> Floats:
    """Return the mean of each observation's smallest effect, every component being slow with its probability.

    With an observation's effects in ascending order, a_1 to a_m, it is the sum of a_i p_i (1 - p_1) … (1 - p_(i-1)).

    Args:
        design: The observations.
        state: Effects and probabilities.
        turn_P: What ``turns`` returned for this state or for one that hardly differs.
    """
    chance_C, effect_C = _slow(state)
    turn_P = turns(design, state) if turn_P is None else turn_P
    observation, component = design.observation_P[turn_P], design.component_P[turn_P]
    spared = np.log1p(-np.minimum(chance_C, 1 - 1e-12))[component]
    before = np.cumsum(spared) - spared
    first = np.flatnonzero(np.diff(observation, prepend=-1))
    before -= np.repeat(before[first], np.diff(first, append=len(observation)))
    share = chance_C[component] * np.exp(before)
    return np.asarray(np.bincount(observation, share * effect_C[component], len(design.log_K)), dtype=float)


def turns(design: Design, state: State) -> Ints:
    """Return the places of what may be slow, observation by observation, the slowest first."""
    chance_C, effect_C = _slow(state)
    here_P = np.flatnonzero((chance_C > LEAST_CHANCE)[design.component_P])
    by_effect = np.argsort(effect_C[design.component_P[here_P]])
    by_row = np.argsort(design.observation_P[here_P[by_effect]], kind="stable")
    return here_P[by_effect[by_row]].astype(np.int64)


def _slow(state: State) -> tuple[Floats, Floats]:
    """Return each component's probability of being slow, and its effect if it is."""
    entered_C = state.effect_C < 0
    return np.where(entered_C, 1.0, state.chance_C), np.where(entered_C, state.effect_C, state.hint_C)


def _weighted(design: Design, state: State, rest_K: Floats) -> State:
    """Return the state with each value's probability of being no outlier, and their share."""
    error = rest_K - state.level_G[design.class_K] - state.drift_E[design.epoch_K]
    weight_K = probability(error, state.sigma, state.rate)
    rate = (float(np.sum(1 - weight_K)) + 0.4) / (len(weight_K) + 20)
    return dataclasses.replace(state, weight_K=weight_K, rate=min(rate, 0.3))


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
    effects = float(np.sum(state.effect_C < 0) + np.sum(state.chance_C))
    df = max(float(np.sum(state.weight_K)) - max(drift, 1.0) - (len(state.level_G) - 1) - effects, 1.0)
    sigma = math.sqrt(float(np.sum(state.weight_K * error**2)) / df)
    return dataclasses.replace(state, sigma=max(sigma, LEAST_SIGMA), df=df)


def _stepped(design: Design, state: State, limit_P: Floats, expected_K: Floats) -> Floats:
    """Return the effects after a weighted mean over the places where nothing else is slower."""
    seen_P, spread_P = seen(design, state, expected_K)
    effect = mean_step(design, seen_P, spread_P, limit_P, state.effect_C, state.rate)
    return np.where(state.effect_C < 0, np.minimum(effect, -1e-4), 0.0)


def mean_step(
    design: Design, seen_P: Floats, spread_P: Floats, limit_P: Floats, effect_C: Floats, rate: float
) -> Floats:
    """Return each component's mean of what is seen of it, outliers and places limited elsewhere left out."""
    effect_P, number = effect_C[design.component_P], len(effect_C)
    weight = probability(seen_P - np.minimum(effect_P, limit_P), spread_P, rate) / spread_P**2
    weight = np.where(limit_P > effect_P, weight, 0.0)
    total = np.bincount(design.component_P, weight, number)
    mean = np.bincount(design.component_P, weight * seen_P, number) / np.maximum(total, 1e-300)
    return np.where(total > 1e-6 / LEAST_SIGMA**2 * 1e-3, mean, effect_C)


def seen(design: Design, state: State, expected_K: Floats) -> tuple[Floats, Floats]:
    """Return each place's value less the level that rows without the component show, and its standard deviation.

    The level's error is common to the component's rows; each row's variance is raised so that their mean has the right
    one. docs/performance.md derives it.
    """
    level_K = state.level_G[design.class_K] + state.drift_E[design.epoch_K]
    error_K = design.log_K - expected_K - level_K
    seen_P = (design.log_K - level_K)[design.observation_P]
    variance_P = np.full(len(seen_P), state.sigma**2)
    own_P, mean_P = _errors(design, state.weight_K, error_K)
    for worth_K, share_P in _levels(design, state):
        worth_P = worth_K[design.observation_P]
        rows_P = np.maximum(1.0, share_P * (worth_P + 1))
        left_P = np.maximum(worth_P - rows_P + 1, 1e-6)
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
