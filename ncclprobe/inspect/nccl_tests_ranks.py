"""The number of ranks that a table's bandwidths imply.

busbw/algbw is 2(n-1)/n for all-reduce and (n-1)/n for all-gather, reduce-scatter and all-to-all, each rounded as it is
printed; so each row holds n in an interval, and where one whole number lies in all of them, that is n.

Source: nccl-tests 2.19.6, doc/PERFORMANCE.md.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import NamedTuple

from ncclprobe.bandwidth import busbw_factor
from ncclprobe.names import Collective

_LEAST = 0.05
"""GB/s; smaller bandwidths have no digits to tell from."""
_SLACK = 1.02
"""On half a printed digit, since algbw and busbw come from one rounded time in some versions."""


class Bandwidths(NamedTuple):
    """What is printed of one half of a row, in GB/s."""

    algbw: float
    busbw: float
    algbw_halfwidth: float
    busbw_halfwidth: float


def halfwidth(word: str) -> float:
    """Return half of a printed number's last digit: 0.005 for ``12.34``."""
    digits, _, exponent = word.lower().partition("e")
    decimals = len(digits.partition(".")[2])
    scale = int(exponent) if re.fullmatch(r"[+-]?[0-9]{1,3}", exponent) else 0
    return float(f"0.5e{scale - decimals}")


def ranks_of(bandwidths: Iterable[Bandwidths], program: str | None) -> int | None:
    """Return the number of ranks, None where the bandwidths leave several open."""
    low, high = 0.0, math.inf
    for each in bandwidths:
        if each.algbw >= _LEAST and each.busbw >= 0:
            least, most = _ratio(each)
            low, high = max(low, least), min(high, most)
    if math.isinf(high) or low > high:
        return None
    factor = _factor(program, low, high)
    return None if factor is None else _whole(low, high, factor)


def _ratio(each: Bandwidths) -> tuple[float, float]:
    """Return the interval of busbw/algbw that rounding leaves."""
    by_algbw, by_busbw = each.algbw_halfwidth * _SLACK, each.busbw_halfwidth * _SLACK
    return (each.busbw - by_busbw) / (each.algbw + by_algbw), (each.busbw + by_busbw) / (each.algbw - by_algbw)


def _factor(program: str | None, low: float, high: float) -> Collective | None:
    """Return a collective whose factor depends on n as this table's does, None where it tells nothing of n."""
    if program is not None:
        known = Collective.parse(program)
        return known if known and busbw_factor(known, 2) != busbw_factor(known, 3) else None
    if low > 1:
        return Collective.ALL_REDUCE
    return Collective.ALL_GATHER if high < 1 else None


def _whole(low: float, high: float, collective: Collective) -> int | None:
    """Return the one n whose factor lies in the interval, None where none or several do."""
    limit = 2.0 if collective is Collective.ALL_REDUCE else 1.0
    if high >= limit:
        return None
    first, last = math.ceil(1 / (1 - low / limit) - 1e-9), math.floor(1 / (1 - high / limit) + 1e-9)
    return first if first == last and first >= 1 else None
