"""Data that a wrong collective cannot pass: integers in floats, by element, rank and sample.

Element g of rank r is ``base[(g + shift) mod P] * weight[r]``; base is the same on every rank, shift and the weights
are drawn anew for every sample. All sums are exact, whatever their order. A missing or doubled rank changes a sum's
weight, a chunk from another place its base, a buffer of an earlier sample both; P is a prime, so that no chunk's length
is a multiple of it. docs/performance.md has the bounds.

Source: IEEE 754 binary32 holds every integer up to 2**24
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ncclprobe.backends.geometry import Span

Array = npt.NDArray[Any]

PERIOD = 65521
_LARGEST_BASE = 251
_EXACT = 1 << 24


class Pattern:
    """The data of one dtype and number of ranks; ``salt`` changes them from sample to sample."""

    def __init__(self, dtype: str, nranks: int) -> None:
        self._base = np.random.default_rng(PERIOD).integers(1, _LARGEST_BASE + 1, PERIOD).astype(dtype)
        self._nranks = nranks
        self.salt(0)

    def salt(self, number: int) -> None:
        """Draw shift and weights of a sample; the same number gives the same on every rank."""
        rng = np.random.default_rng(number)
        largest = max(1, min(4096, _EXACT // (_LARGEST_BASE * self._nranks)))
        self._shift = int(rng.integers(PERIOD))
        self._weights = rng.choice(largest, self._nranks, replace=largest < self._nranks) + 1

    def write(self, out: Array, span: Span) -> None:
        """Put a span's elements into a buffer of its length, or into each of several (elements are the last axis)."""
        for place, values in self._pieces(span):
            out[..., place : place + len(values)] = values * self._weight(span)

    def count_wrong(self, out: Array, spans: tuple[Span, ...]) -> int:
        """Return how many elements of a buffer, or of several, are not what the spans, one after the other, say."""
        wrong = begin = 0
        for span in spans:
            for place, values in self._pieces(span):
                got = out[..., begin + place : begin + place + len(values)]
                wrong += int(np.count_nonzero(got != values * self._weight(span)))
            begin += span.count
        return wrong

    def _weight(self, span: Span) -> Any:
        return self._base.dtype.type(self._weights[list(span.sources)].sum())

    def _pieces(self, span: Span) -> Iterator[tuple[int, Array]]:
        """Yield places within a span and the base's values from there on, up to the base's end."""
        place = 0
        while place < span.count:
            begin = (span.start + self._shift + place) % PERIOD
            values = self._base[begin : begin + span.count - place]
            yield place, values
            place += len(values)
