"""A sweep's plots: bus bandwidth, time and gain against size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ncclprobe.records.normal import Normality
from ncclprobe.records.sweep import CellResult, SweepDocument
from ncclprobe.report.html.figures import MUTED, Figure, Look, bars, level, log_axis, look, size_axis
from ncclprobe.report.html.lines import Family, Line, bandwidths, best_other, hover, is_chosen, label, ratio
from ncclprobe.report.html.markup import plain
from ncclprobe.report.text.ratios import ends, is_open

MOST_SHOWN = 9
"""Of more lines, the best are shown at first."""
_CHOSEN, _KEPT = look(1), Look(colour=MUTED, symbol="circle")


def bandwidth_figure(key: str, family: Family, normal: Normality | None) -> Figure:
    """Return bus bandwidth against size, with the limit and published figures where they are known."""
    limit = normal.limit if normal is not None else None
    above = f" The dotted line is the limit of {limit.busbw_gbps:.4g} GB/s: {limit.basis}." if limit else ""
    traces = [_bandwidth(line, shown=shown_first(family, line)) for line in family.lines if line.timed]
    return Figure(
        key=f"{key}-busbw",
        title=f"Bus bandwidth, {family.collective} {family.dtype}",
        description=f"More is better; bars are 95 % intervals.{above}",
        traces=(*traces, *_published(family, normal)),
        layout={
            "xaxis": size_axis(family.sizes),
            "yaxis": log_axis("busbw, GB/s", (value for trace in traces for value in trace["y"])),
            "shapes": [level(limit.busbw_gbps, dash="dot")] if limit else [],
        },
    )


def time_figure(key: str, family: Family) -> Figure:
    """Return time against size."""
    traces = [_time(line, shown=shown_first(family, line)) for line in family.lines if line.timed]
    values = (value for trace in traces for value in trace["y"])
    return Figure(
        key=f"{key}-time",
        title=f"Time, {family.collective} {family.dtype}",
        description="Less is better; bars are 95 % intervals of the median.",
        traces=tuple(traces),
        layout={
            "xaxis": size_axis(family.sizes),
            "yaxis": log_axis("time, µs", values),
        },
    )


def shown_first(family: Family, line: Line) -> bool:
    """Return whether a line is shown before anybody asks."""
    return line.best or len(family.lines) <= MOST_SHOWN


def _bandwidth(line: Line, *, shown: bool) -> dict[str, Any]:
    middles, lows, highs = zip(*map(bandwidths, line.timed), strict=True)
    return _trace(line, middles, lows, highs, shown=shown)


def _time(line: Line, *, shown: bool) -> dict[str, Any]:
    times = [(time.median, time.low, time.high) for cell in line.timed if (time := cell.time_us) is not None]
    middles, lows, highs = zip(*times, strict=True)
    return _trace(line, middles, lows, highs, shown=shown)


def _trace(
    line: Line, middles: Sequence[float], lows: Sequence[float], highs: Sequence[float], *, shown: bool
) -> dict[str, Any]:
    return {
        **styled(line.look),
        "mode": "lines+markers",
        "name": plain(line.label),
        "meta": line.group,
        "visible": shown,
        "x": [cell.size_bytes for cell in line.timed],
        "y": middles,
        "error_y": bars(middles, lows, highs),
        "customdata": [broken(hover(line, cell)) for cell in line.timed],
    }


def styled(shown: Look) -> dict[str, Any]:
    """Return a trace's line and symbol."""
    stroke = {"color": shown.colour, "width": shown.width, "dash": shown.dash}
    mark = {"color": shown.colour, "symbol": shown.symbol, "size": 8 if shown.width == 2 else 10}
    return {"type": "scatter", "line": stroke, "marker": mark}


def broken(text: str) -> str:
    """Return what is said of a point, line by line."""
    return "\n".join(plain(line) for line in text.splitlines())


def _published(family: Family, normal: Normality | None) -> list[dict[str, Any]]:
    figures = {
        size.published: None
        for size in (normal.sizes if normal is not None else ())
        if size.published and (size.collective, size.dtype) == (family.collective, family.dtype)
    }
    if not figures:
        return []
    said = [
        f"published: {one.busbw_gbps:.4g} GB/s\n{one.kind} on {one.platform}\n{one.gpus} x {one.gpu}" for one in figures
    ]
    return [
        {
            "type": "scatter", "mode": "markers", "name": "published",
            "marker": {"symbol": "star", "size": 13, "color": MUTED},
            "x": [one.size_bytes for one in figures], "y": [one.busbw_gbps for one in figures],
            "customdata": [broken(text) for text in said],
        }
    ]  # fmt: skip


def gain_figure(key: str, document: SweepDocument, family: Family) -> Figure:
    """Return what the best other setting gives at each size."""
    best = [found for cells in family.by_size().values() if (found := best_other(document, cells)) is not None]
    kinds = (("chosen", _CHOSEN, True), ("default stays", _KEPT, False))
    traces = [
        _gain(name, shown, [cell for cell in best if is_chosen(document, cell) is wanted])
        for name, shown, wanted in kinds
    ]
    return Figure(
        key=f"{key}-gain",
        title=f"Gain by size, {family.collective} {family.dtype}",
        description="The default's time / the best other setting's: over 1 is faster. The bars hold at 95 % for all "
        "settings and sizes together; one that too few launches left open is cut.",
        traces=tuple(trace for trace in traces if trace["x"]),
        layout={
            "xaxis": size_axis(family.sizes), "yaxis": {"title": {"text": "× the default's speed"}},
            "shapes": [level(1.0)], "showlegend": True,
        },
        height=320,
    )  # fmt: skip


def _gain(name: str, shown: Look, cells: Sequence[CellResult]) -> dict[str, Any]:
    ratios = [ratio(cell) for cell in cells]
    middles = [one.ratio for one in ratios]
    said = [
        f"{label(cell)}\n{one.ratio:.3f} ({' to '.join(ends(one))})" for cell, one in zip(cells, ratios, strict=True)
    ]
    reached = [end for one in ratios for end, cut in zip((one.low, one.high), is_open(one), strict=True) if not cut]
    least, most = min((*middles, *reached), default=1.0), max((*middles, *reached), default=1.0)
    return {
        **styled(shown),
        "mode": "markers",
        "name": name,
        "x": [cell.size_bytes for cell in cells],
        "y": middles,
        "error_y": bars(middles, [max(one.low, least) for one in ratios], [min(one.high, most) for one in ratios]),
        "customdata": [broken(text) for text in said],
    }
