"""What people read of ``normal``: shares of the limit, what the limit follows from, and published figures."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from ncclprobe.records.normal import Normality, SizeNormality
from ncclprobe.report.text.findings import WIDTH
from ncclprobe.units import format_size


def shares(normal: Normality | None) -> dict[int, str]:
    """Return each size's share of the limit, ``73%``; nothing where no limit is known."""
    sizes = normal.sizes if normal is not None else ()
    return {size.size_bytes: _percent(size.share) for size in sizes if size.share is not None}


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else "<1%"


def normal_text(normal: Normality | None) -> str:
    """Return the limit and the published figure of the largest size that has one, a line each."""
    lines = [textwrap.fill(line, WIDTH, break_on_hyphens=False, break_long_words=False) for line in _lines(normal)]
    return "\n".join(lines)


def _lines(normal: Normality | None) -> Iterator[str]:
    if normal is None:
        return
    if normal.limit is not None:
        yield f"Limit: {normal.limit.busbw_gbps:.4g} GB/s of bus bandwidth ({normal.limit.basis})."
    compared = [size for size in normal.sizes if size.published is not None]
    if compared:
        yield _published(max(compared, key=lambda size: size.size_bytes))


def _published(size: SizeNormality) -> str:
    figure = size.published
    if figure is None:
        return ""
    return (
        f"Published: {figure.busbw_gbps:.4g} GB/s at {format_size(figure.size_bytes)} by {figure.platform},"
        f" {figure.gpus} x {figure.gpu}; here {size.busbw_gbps.estimate:.4g} GB/s at {format_size(size.size_bytes)}."
    )
