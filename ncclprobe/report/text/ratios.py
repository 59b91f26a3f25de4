"""Ratios of a cell to the default as text."""

from __future__ import annotations

from ncclprobe.records.sweep import WIDEST, Ratio

_REACHED = 1 + 1e-9


def is_open(ratio: Ratio) -> tuple[bool, bool]:
    """Return whether the interval's low and high end were never reached, for want of launches."""
    return ratio.low <= _REACHED / WIDEST, ratio.high * _REACHED >= WIDEST


def ends(ratio: Ratio) -> tuple[str, str]:
    """Return the ends of an interval; one that was never reached is open: ``<0.001``, ``>1000``."""
    below, above = is_open(ratio)
    return f"<{1 / WIDEST:g}" if below else f"{ratio.low:.3f}", f">{WIDEST:g}" if above else f"{ratio.high:.3f}"
