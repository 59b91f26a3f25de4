"""The heat map of pairs of nodes: what each pair lost against the others measured beside it."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from ncclprobe.records.nodes import GroupValue, NodesDocument
from ncclprobe.report.html.figures import Figure
from ncclprobe.report.html.labels import named_axis, short_names, shortened
from ncclprobe.report.html.markup import plain

Pairs = Mapping[tuple[str, str], float]
MOST_CELLS = 64
"""Of larger fleets each measured pair is a mark: most pairs never meet."""
MOST_WRITTEN = 12
"""Up to so many nodes the figures stand in the cells."""
FULL_AT = 0.2
"""The scale's far end, or the largest loss if that is more."""
SCALE = ("@s0", "@s1", "@s2")
"""The further from the page's own shade the slower, in either theme; it reads without colours, too."""


def pair_losses(document: NodesDocument, groups: Iterable[GroupValue]) -> Pairs:
    """Return each pair's loss: 0.15 is 15 % below the median of the pairs that were measured at the same time.

    Without the measured values, those of the links that the document has.
    """
    measured: dict[tuple[str, str], list[float]] = defaultdict(list)
    for values in _together(groups).values():
        middle = statistics.median(value.value for value in values)
        for value in values:
            first, second = sorted(value.nodes)
            measured[first, second].append(1 - value.value / middle if middle else 0.0)
    found = {pair: statistics.median(losses) for pair, losses in measured.items()}
    return found or {link.nodes: link.slowdown.estimate for link in document.links if link.slowdown is not None}


def _together(groups: Iterable[GroupValue]) -> dict[tuple[object, ...], list[GroupValue]]:
    """Return the pairs' values that can be compared: those of one round, unit and rail."""
    found: dict[tuple[object, ...], list[GroupValue]] = defaultdict(list)
    for group in groups:
        if len(group.nodes) == 2 and group.status == "ok":
            found[group.round, group.unit, group.rail].append(group)
    return found


def pairs_figure(key: str, names: list[str], losses: Pairs) -> Figure:
    """Return the heat map, each pair on both sides of the diagonal."""
    both = {**losses, **{(second, first): loss for (first, second), loss in losses.items()}}
    few = len(names) <= MOST_CELLS
    trace = _cells(names, both) if few else _marks(names, both)
    labels = short_names(names)
    axis = named_axis(range(len(names)), labels) if few else {"title": {"text": "node"}}
    ends = [-0.5 - len(names) / 200, len(names) * 201 / 200 - 0.5]
    return Figure(
        key=key,
        title=f"Pairs of nodes ({len(losses)} measured)",
        description="How far a pair is below the median of its round: the more it stands out from the page, the "
        "slower. A slow node is such a row and column, a slow link a single such cell. "
        f"What is hatched or blank was never measured.{shortened(names, labels) if few else ''}",
        traces=(trace,),
        layout={
            "xaxis": {**axis, "showgrid": False, "range": ends},
            "yaxis": {**axis, "showgrid": False, "range": ends[::-1], "tickangle": 0},
        },
        height=min(620, 200 + 50 * len(names)),
        width=min(760, 320 + 50 * len(names)),
    )


def _cells(names: list[str], losses: Pairs) -> dict[str, Any]:
    written = [str(round(100 * loss)) for _, _, loss in _placed(names, losses)] if len(names) <= MOST_WRITTEN else []
    return {
        **_marks(names, losses),
        "type": "cells", "mode": "markers+text" if written else "markers", "text": written,
    }  # fmt: skip


def _marks(names: list[str], losses: Pairs) -> dict[str, Any]:
    known = _placed(names, losses)
    return {
        "type": "scatter", "mode": "markers",
        "x": [column for _, column, _ in known], "y": [row for row, _, _ in known],
        "marker": {
            "symbol": "square", "size": 4, "color": [round(100 * loss, 2) for _, _, loss in known],
            "cmin": 0, "cmax": 100 * max([FULL_AT, *losses.values()]), "colorscale": SCALE,
        },
        "customdata": [f"{plain(names[row])} – {plain(names[column])}\n{100 * loss:.1f} % below"
                       for row, column, loss in known],
    }  # fmt: skip


def _placed(names: list[str], losses: Pairs) -> list[tuple[int, int, float]]:
    """Return row, column and loss of each pair whose nodes are known; the slowest are drawn last, on top."""
    place = {name: at for at, name in enumerate(names)}
    known = [(place[one], place[two], loss) for (one, two), loss in losses.items() if one in place and two in place]
    return sorted(known, key=lambda cell: cell[2])
