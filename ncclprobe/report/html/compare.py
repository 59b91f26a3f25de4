"""Several runs side by side: sweeps by the default's times, nodes by their slowdowns, workloads by their ratios."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from ncclprobe.names import DEFAULT
from ncclprobe.records.base import Document, Interval
from ncclprobe.records.e2e import E2eDocument
from ncclprobe.records.nodes import NodesDocument, NodeStatus
from ncclprobe.records.sweep import CellResult, SweepDocument
from ncclprobe.report.html.e2e import comparisons
from ncclprobe.report.html.figures import Figure, bars, figure, level, log_axis, look, size_axis
from ncclprobe.report.html.lines import bandwidths, is_chosen, label, time_text
from ncclprobe.report.html.markup import NOTHING, Markup, element, joined, plain, table
from ncclprobe.report.html.nodes import Verdict, interval_text, name_of
from ncclprobe.report.html.part import Body, Shown
from ncclprobe.report.html.sweep_figures import broken, styled
from ncclprobe.report.text.foretold import foretold
from ncclprobe.report.text.letters import letter
from ncclprobe.report.text.verdict import verdict
from ncclprobe.units import format_size

Kind = TypeVar("Kind", bound=Document)
Point = tuple[str, str, int]
Timed = Sequence[tuple[str, dict[Point, CellResult]]]


def compared(runs: Sequence[Shown]) -> Body:
    """Return what the runs have in common, side by side; nothing where no two are alike."""
    bodies = [part for part in (_foretold(runs), _sweeps(runs), _nodes(runs), _workloads(runs)) if part.content]
    figures = tuple(figure for part in bodies for figure in part.figures)
    return Body(content=joined(part.content for part in bodies), figures=figures)


def _foretold(runs: Sequence[Shown]) -> Body:
    sentences = foretold(part.document for run in runs for part in run.parts)
    return Body(content=joined(element("p", sentence) for sentence in sentences) if sentences else NOTHING)


def _of(runs: Sequence[Shown], kind: type[Kind]) -> list[tuple[str, Kind]]:
    return [
        (letter(number), part.document)
        for number, run in enumerate(runs)
        for part in run.parts
        if isinstance(part.document, kind)
    ]


# ---- sweeps


def _sweeps(runs: Sequence[Shown]) -> Body:
    found = _of(runs, SweepDocument)
    timed = [(name, dict(_default_cells(document))) for name, document in found]
    points = sorted({point for _, cells in timed for point in cells})
    if len(found) < 2 or not points:
        return Body(content=NOTHING)
    families = dict.fromkeys((collective, dtype) for collective, dtype, _ in points)
    figures = tuple(
        one
        for at, family in enumerate(families)
        for one in (
            _ratios_figure(f"compare-{at}-ratio", timed, family),
            _sweeps_figure(f"compare-{at}", found, family),
        )
    )
    note = "The ratio is the first run's time / the other's: over 1, the other run is faster. Its interval holds the "
    note += "spread within the runs; what else changed between them is for you to know."
    content = joined(
        [
            element("h3", "Sweeps"),
            element("div", *map(figure, figures), class_="pair"),
            _sweeps_table(timed, points),
            element("p", note, class_="quiet"),
        ]
    )
    return Body(content=content, figures=figures)


def _default_cells(document: SweepDocument) -> Iterator[tuple[Point, CellResult]]:
    for cell in document.cells:
        if cell.algo == DEFAULT and not cell.env and cell.time_us is not None:
            yield (cell.collective, cell.dtype, cell.size_bytes), cell


def _sweeps_table(timed: Timed, points: Iterable[Point]) -> Markup:
    (first, base), *others = timed
    columns = [
        "size",
        "collective",
        f"{first}: default",
        *(text for name, _ in others for text in (f"{name}: default", f"{first} / {name}")),
    ]
    rows = (
        [format_size(point[2]), f"{point[0]} {point[1]}", *_times(point, base, [cells for _, cells in others])]
        for point in points
    )
    return table(columns, rows, caption="The default's time in each run", numbers="rl" + "r" * (len(columns) - 2))


def _times(point: Point, base: dict[Point, CellResult], others: Iterable[dict[Point, CellResult]]) -> Iterator[str]:
    first = base.get(point)
    yield time_text(first) if first else "-"
    for cells in others:
        cell = cells.get(point)
        yield time_text(cell) if cell else "-"
        ratio = time_ratio(first, cell) if first and cell else None
        yield _interval(ratio) if ratio else "-"


def time_ratio(first: CellResult, other: CellResult) -> Interval | None:
    """Return the first cell's time / the other's, with an interval from both medians' own; None without a time.

    Source: Donner & Zou, Statistical Methods in Medical Research 21 (2012) 347 (MOVER), on the logarithms.
    """
    one, two = first.time_us, other.time_us
    if one is None or two is None:
        return None
    middle = math.log(one.median / two.median)
    down = math.hypot(math.log(one.median / one.low), math.log(two.high / two.median))
    up = math.hypot(math.log(one.high / one.median), math.log(two.median / two.low))
    return Interval(estimate=math.exp(middle), low=math.exp(middle - down), high=math.exp(middle + up))


def _sweeps_figure(key: str, found: Sequence[tuple[str, SweepDocument]], family: tuple[str, str]) -> Figure:
    traces = []
    for number, (name, document) in enumerate(found):
        cells = [cell for cell in document.cells if (cell.collective, cell.dtype) == family and cell.time_us]
        default = [cell for cell in cells if cell.algo == DEFAULT and not cell.env]
        chosen = [cell for cell in cells if is_chosen(document, cell)]
        traces += [_runs_trace(f"{name}: default", default, 2 * number)] if default else []
        traces += [_runs_trace(f"{name}: chosen", chosen, 2 * number + 1)] if chosen else []
    sizes = [size for trace in traces for size in trace["x"]]
    return Figure(
        key=key,
        title=f"Bus bandwidth of the runs, {' '.join(family)}",
        description="The default of each run as a line, what it chose as points. More is better.",
        traces=tuple(traces),
        layout={
            "xaxis": size_axis(sizes),
            "yaxis": log_axis("busbw, GB/s", (value for trace in traces for value in trace["y"])),
            "showlegend": True,
        },
    )


def _ratios_figure(key: str, timed: Timed, family: tuple[str, str]) -> Figure:
    """Return the first run's time / each other's against size, with intervals."""
    (first, base), *others = timed
    traces = [
        _ratios_trace(f"{first} / {name}", base, cells, family, number) for number, (name, cells) in enumerate(others)
    ]
    return Figure(
        key=key,
        title=f"The default's time, {first} / other, {' '.join(family)}",
        description=f"Over 1: the other run is faster than {first}. Bars are 95 % intervals.",
        traces=tuple(traces),
        layout={
            "xaxis": size_axis(size for trace in traces for size in trace["x"]),
            "yaxis": {"title": {"text": "ratio of times"}}, "shapes": [level(1.0)], "showlegend": True,
        },
    )  # fmt: skip


def _ratios_trace(
    name: str, base: dict[Point, CellResult], cells: dict[Point, CellResult], family: tuple[str, str], number: int
) -> dict[str, Any]:
    points = [point for point in base if point in cells and point[:2] == family]
    ratios = [(point[2], ratio) for point in points if (ratio := time_ratio(base[point], cells[point])) is not None]
    middles = [ratio.estimate for _, ratio in ratios]
    said = [f"{name} at {format_size(size)}\n{_interval(ratio)}" for size, ratio in ratios]
    return {
        **styled(look(number)), "mode": "lines+markers", "name": plain(name), "x": [size for size, _ in ratios],
        "y": middles, "error_y": bars(middles, [one.low for _, one in ratios], [one.high for _, one in ratios]),
        "customdata": [*map(broken, said)],
    }  # fmt: skip


def _interval(ratio: Interval) -> str:
    return f"{ratio.estimate:.3f} ({ratio.low:.3f} to {ratio.high:.3f})"


def _runs_trace(name: str, cells: Sequence[CellResult], number: int) -> dict[str, Any]:
    middles, lows, highs = zip(*map(bandwidths, cells), strict=True)
    said = [f"{name} at {format_size(cell.size_bytes)}\n{label(cell)}\n{time_text(cell)}" for cell in cells]
    return {
        **styled(look(number)), "mode": "markers" if number % 2 else "lines+markers", "name": plain(name),
        "x": [cell.size_bytes for cell in cells], "y": middles, "error_y": bars(middles, lows, highs),
        "customdata": [*map(broken, said)],
    }  # fmt: skip


# ---- nodes


def _nodes(runs: Sequence[Shown]) -> Body:
    found = _of(runs, NodesDocument)
    if len(found) < 2:
        return Body(content=NOTHING)
    by_run = [_by_name(document) for _, document in found]
    standing = dict.fromkeys(
        name for verdicts in by_run for name, one in verdicts.items() if one.status is not NodeStatus.OK
    )
    rows = ([name, *(_verdict_text(verdicts.get(name)) for verdicts in by_run)] for name in standing)
    caption = "What stands out in any run: status, slowdown and its interval; - where a run has no verdict of it"
    shown = table(["", *(name for name, _ in found)], rows, caption=caption)
    fine = element("p", "No node, link or rail stands out in any of the runs.")
    return Body(content=joined([element("h3", "Nodes"), shown or fine]))


def _by_name(document: NodesDocument) -> dict[str, Verdict]:
    verdicts: list[Verdict] = [*document.nodes, *document.links, *document.rails]
    return {name_of(one): one for one in verdicts}


def _verdict_text(verdict: Verdict | None) -> str:
    if verdict is None or verdict.slowdown is None:
        return "-" if verdict is None else str(verdict.status)
    return f"{verdict.status}, {100 * verdict.slowdown.estimate:z.1f} % ({interval_text(verdict.slowdown)})"


# ---- workloads


def _workloads(runs: Sequence[Shown]) -> Body:
    found = _of(runs, E2eDocument)
    if len(found) < 2:
        return Body(content=NOTHING)
    rows = [
        [name, document.workload, document.metric, one.arm, str(one.verdict),
         _interval(one.ratio) if one.ratio else "-"]
        for name, document in found
        for one in comparisons(document)
    ]  # fmt: skip
    columns = ("run", "workload", "metric", "arm", "verdict", "× the baseline")
    return Body(
        content=joined(
            [element("h3", "Workloads"), table(columns, rows, caption="Each arm against its run's baseline")]
        )
    )


def answers(runs: Sequence[Shown]) -> Markup:
    """Return every run's answer, above all else."""
    several = len(runs) > 1
    cards = [
        element("div", element("span", letter(number) if several else "Answer", class_="letter"),
                element("p", verdict(run.document), class_="verdict"),
                element("p", run.source, " · ", run.document.created, class_="quiet"), class_="card")
        for number, run in enumerate(runs)
    ]  # fmt: skip
    return joined(cards)
