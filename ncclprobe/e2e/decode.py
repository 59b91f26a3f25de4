"""A DeepSeek-shaped tensor-parallel decode step: per layer two projections into a rank's shard and back.

What is kept of DeepSeek-V3: the order of compute and all-reduce in a layer, their number (two a layer), the size of
the messages (tokens × hidden × 4 bytes), and the floating-point operations of a token relative to the hidden size. What
is not: experts are one block as wide as the active ones together, there is no KV cache, and values are float32.

Letters of shapes: ``B`` tokens of a step, ``H`` hidden size, ``A`` a rank's share of the attention's width, ``F`` of
the feed-forward's width.

Source: DeepSeek-V3's config.json (hidden_size 7168, num_attention_heads 128 of v_head_dim 128, moe_intermediate_size
2048, num_experts_per_tok 8, n_shared_experts 1); Megatron-LM (Shoeybi et al. 2019, section 3) for the sharding.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ncclprobe.records.base import Record
from ncclprobe.records.e2e import ProxyShape

Floats = npt.NDArray[np.float32]
Reduce = Callable[[Floats], Floats]

ATTENTION_WIDTH = 128 * 128 / 7168
"""Heads × head dimension, in hidden sizes."""
FEED_FORWARD_WIDTH = (8 + 1) * 2048 / 7168
"""Active and shared experts' intermediate size, in hidden sizes."""
ALL_REDUCES = 2
"""A layer: after attention and after the feed-forward."""


class Layer(Record, frozen=True, kw_only=True):
    """One rank's weights of one layer."""

    into: Floats
    """Attention's projections before it, shape ``HA``."""
    out_of: Floats
    """Attention's output projection, shape ``AH``."""
    gate: Floats
    """The feed-forward's gate, shape ``HF``."""
    up: Floats
    """Its other input, shape ``HF``."""
    down: Floats
    """Its output, shape ``FH``."""


def message_bytes(shape: ProxyShape) -> int:
    """Return the size of each all-reduce: one step's tokens × hidden, float32."""
    return shape.batch * shape.hidden * 4


def share(width: float, rank: int, nranks: int) -> range:
    """Return a rank's columns of a width in hidden units, as even as can be."""
    columns = round(width)
    return range(columns * rank // nranks, columns * (rank + 1) // nranks)


def make_layers(shape: ProxyShape, rank: int) -> list[Layer]:
    """Return a rank's shards; together they are the same model for every number of ranks."""
    attention = share(ATTENTION_WIDTH * shape.hidden, rank, shape.nranks)
    feed_forward = share(FEED_FORWARD_WIDTH * shape.hidden, rank, shape.nranks)
    return [_layer(shape.hidden, number, attention, feed_forward) for number in range(shape.layers)]


def _layer(hidden: int, number: int, attention: range, feed_forward: range) -> Layer:
    widths = (ATTENTION_WIDTH * hidden, FEED_FORWARD_WIDTH * hidden)
    return Layer(
        into=_weights(hidden, attention, hidden, (number, 0)).T,
        out_of=_weights(hidden, attention, widths[0], (number, 1)),
        gate=_weights(hidden, feed_forward, hidden, (number, 2)).T,
        up=_weights(hidden, feed_forward, hidden, (number, 3)).T,
        down=_weights(hidden, feed_forward, widths[1], (number, 4)),
    )


def _weights(hidden: int, columns: range, fan_in: float, key: tuple[int, int]) -> Floats:
    """Return uniform weights, shape (columns, hidden), that keep the variance; each column follows from its number."""
    draw = np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))
    draw.bit_generator.advance(columns.start * hidden)  # type: ignore[attr-defined]
    values = draw.random((len(columns), hidden)) - 0.5
    return np.asarray(values * math.sqrt(12 / fan_in), dtype=np.float32)


def tokens(shape: ProxyShape, step: int) -> Floats:
    """Return a step's input, shape ``BH``, the same on every rank."""
    draw = np.random.default_rng((step, 5))
    return np.asarray(draw.standard_normal((shape.batch, shape.hidden)), dtype=np.float32)


def decode(x_BH: Floats, layers: list[Layer], reduce: Reduce) -> Floats:
    """Return a step's output, shape ``BH``.

    Args:
        x_BH: The step's input.
        layers: This rank's shards.
        reduce: Returns the sum over ranks.
    """
    for layer in layers:
        x_BH = x_BH + reduce(np.tanh(_normed(x_BH) @ layer.into) @ layer.out_of)
        h_BH = _normed(x_BH)
        x_BH = x_BH + reduce((_silu(h_BH @ layer.gate) * (h_BH @ layer.up)) @ layer.down)
    return x_BH


def _normed(x_BH: Floats) -> Floats:
    return np.asarray(x_BH / np.sqrt(np.mean(x_BH * x_BH, axis=1, keepdims=True) + 1e-6))


def _silu(x: Floats) -> Floats:
    return np.asarray(x / (1 + np.exp(-x)))


def checksum(x_BH: Floats) -> float:
    """Return a number near 1 that a lost, doubled or misplaced term changes: a weighted mean of absolute values."""
    weights = 1 + np.sin(np.arange(x_BH.size, dtype=np.float64)) / 2
    return float(np.sum(weights * np.abs(x_BH).reshape(-1)) / np.sum(weights))
