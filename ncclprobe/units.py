"""Bytes, seconds and GB/s: their types, and how people write them.

Sizes take binary suffixes as nccl-tests does (``8M`` is 8·2²⁰ bytes); rates are decimal (1 GB/s is 10⁹ bytes/s).

Source: nccl-tests 2.19.6, src/common.cu (``parsesize``).
"""

from __future__ import annotations

import re
from typing import NewType

from ncclprobe.errors import UsageError

Bytes = NewType("Bytes", int)
Seconds = NewType("Seconds", float)
GBps = NewType("GBps", float)

_DURATIONS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST = 1e12
"""Seconds that are written as minutes; more, and what is infinite, is nobody's time."""
_SUFFIXES = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}


def parse_size(text: str) -> Bytes:
    """Return the bytes that ``8``, ``64K``, ``8M`` or ``1G`` means.

    Raises:
        UsageError: The text is no size.
    """
    match = re.fullmatch(r"\s*(\d+)\s*([KMGT]?)(?:i?B)?\s*", text, re.IGNORECASE)
    if not match:
        raise UsageError(f"{text!r} is no size; write bytes with an optional K, M or G, such as 8M")
    return Bytes(int(match[1]) << _SUFFIXES[match[2].upper()])


def parse_sizes(text: str) -> tuple[Bytes, ...]:
    """Return the sizes that ``8:1G:8`` (from, to, factor) or ``8,64K,1M`` means, ascending and each once.

    Raises:
        UsageError: A part is no size, the range is empty or the factor is under 2.
    """
    if ":" not in text:
        return tuple(sorted({parse_size(part) for part in text.split(",")}))
    parts = text.split(":")
    if len(parts) not in (2, 3) or (len(parts) == 3 and not parts[2].strip().isdigit()):
        raise UsageError(f"{text!r} is no range of sizes; write FROM:TO:FACTOR, such as 8:1G:8")
    low, high, factor = parse_size(parts[0]), parse_size(parts[1]), int(parts[2]) if len(parts) == 3 else 2
    if not 0 < low <= high or factor < 2:
        raise UsageError(
            f"the range of sizes {text!r} is empty; FROM must be 1 or more and at most TO, FACTOR 2 or more"
        )
    sizes = [low]
    while sizes[-1] * factor <= high:
        sizes.append(Bytes(sizes[-1] * factor))
    return tuple(sizes)


def parse_seconds(text: str) -> Seconds:
    """Return the duration that ``90s``, ``15m``, ``1.5h`` or ``1d`` means; a number alone is seconds.

    Raises:
        UsageError: The text is no duration over 0.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*", text)
    if not match or not float(match[1]):
        raise UsageError(f"{text!r} is no duration; write a number with s, m, h or d, such as 15m")
    return Seconds(float(match[1]) * _DURATIONS[match[2]])


def format_size(size: int) -> str:
    """Return ``8M`` for 8388608, the plain number where no suffix fits."""
    for suffix, shift in reversed(_SUFFIXES.items()):
        if shift and size >= 1 << shift and size % (1 << shift) == 0:
            return f"{size >> shift}{suffix}"
    return str(size)


def format_seconds(seconds: float) -> str:
    """Return a duration with the unit that suits it: ``12.3 µs``, ``4.56 ms``, ``7.8 s``, ``3 min 20 s``."""
    for unit, scale in (("ns", 1e-9), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)):
        if seconds < 999.5 * scale and (unit != "s" or seconds < 120):
            return f"{seconds / scale:.3g} {unit}"
    if seconds > _LONGEST:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"
