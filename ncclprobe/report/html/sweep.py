"""What a sweep found, for people: plots, the sizes, the choice, every cell."""

from __future__ import annotations

from collections.abc import Iterator

from ncclprobe.names import DEFAULT
from ncclprobe.records.sweep import CellResult, SweepDocument
from ncclprobe.report.html.figures import Figure, Toggle, figure, toggles
from ncclprobe.report.html.lines import (
    Family,
    best_other,
    families,
    is_chosen,
    label,
    ratio_text,
    row_label,
    time_text,
)
from ncclprobe.report.html.markup import NOTHING, Markup, element, folded, joined, table
from ncclprobe.report.html.part import Body
from ncclprobe.report.html.sweep_figures import bandwidth_figure, gain_figure, shown_first, time_figure
from ncclprobe.report.text.environments import environments_text
from ncclprobe.report.text.normal import normal_text, shares
from ncclprobe.report.text.prediction import PREDICTION_COLUMNS, prediction_rows, saving, weighed
from ncclprobe.units import format_seconds, format_size


def sweep_body(document: SweepDocument, key: str) -> Body:
    """Return a sweep's part of the page.

    Args:
        document: The result.
        key: Begins the plots' keys.
    """
    found = [_family(document, family, f"{key}-{number}") for number, family in enumerate(families(document))]
    effort = element("p", _effort(document), class_="quiet")
    parts = [_choice(document), _prediction(document), *(part.content for part in found), _normal(document),
             _environments(document), _every_cell(document), effort]  # fmt: skip
    return Body(content=joined(parts), figures=tuple(figure for part in found for figure in part.figures))


def _family(document: SweepDocument, family: Family, key: str) -> Body:
    busbw, time = bandwidth_figure(key, family, document.normal), time_figure(key, family)
    gain = gain_figure(key, document, family)
    drawn: tuple[Figure, ...] = (busbw, time, gain) if gain.traces else (busbw, time)
    parts = [
        _boxes(family, (busbw.key, time.key)),
        element("div", figure(busbw), figure(time), class_="pair"),
        figure(gain) if gain.traces else NOTHING,
        _sizes(document, family),
    ]
    return Body(content=joined(parts), figures=drawn)


def _boxes(family: Family, keys: tuple[str, ...]) -> Markup:
    boxes = [
        Toggle(group=line.group, label=line.label, look=line.look, on=shown_first(family, line), best=line.best)
        for line in family.lines
        if line.timed
    ]
    return toggles("Lines shown", boxes, keys, switches=("intervals", "logarithmic"))


def _choice(document: SweepDocument) -> Markup:
    rows = [
        (row.collective, format_size(row.min_bytes), format_size(row.max_bytes), row_label(row))
        for row in document.choice.table
    ]
    env = [element("li", element("code", f"{name}={value}")) for name, value in document.choice.env.items()]
    return joined([
        table(("collective", "from", "to", "setting"), rows, numbers="lrrl",
              caption="The table chosen; the library decides everywhere else"),
        element("p", "To set:") if env else NOTHING,
        element("ul", *env) if env else NOTHING,
    ])  # fmt: skip


def _sizes(document: SweepDocument, family: Family) -> Markup:
    limits = shares(document.normal)
    columns = [
        "size",
        "default",
        "busbw, GB/s",
        *(["of limit"] if limits else []),
        "best other",
        "time",
        "× default",
        "choice",
    ]
    rows = (_size(document, size, cells, limits) for size, cells in family.by_size().items())
    numbers = "rrr" + "r" * bool(limits) + "lrrl"
    return table(columns, rows, caption=f"By size, {family.collective} {family.dtype}", numbers=numbers)


def _size(document: SweepDocument, size: int, cells: list[CellResult], limits: dict[int, str]) -> list[str]:
    default = next(cell for cell in cells if cell.algo == DEFAULT and not cell.env)
    start = [format_size(size), time_text(default), _busbw(default), *([limits.get(size, "-")] if limits else [])]
    best = best_other(document, cells)
    if best is None:
        return [*start, "-", "-", "-", "default"]
    return [
        *start,
        label(best),
        time_text(best),
        ratio_text(best),
        "change" if is_chosen(document, best) else "default",
    ]


def _busbw(cell: CellResult) -> str:
    return f"{cell.busbw_gbps:.4g}" if cell.busbw_gbps is not None else "-"


def _normal(document: SweepDocument) -> Markup:
    lines = normal_text(document.normal)
    sources = (
        dict.fromkeys(size.published.source for size in document.normal.sizes if size.published)
        if document.normal
        else {}
    )
    items = [element("li", f"Published: {source}") for source in sources]
    return joined(
        [element("p", lines) if lines else NOTHING, element("ul", *items, class_="quiet") if items else NOTHING]
    )


def _environments(document: SweepDocument) -> Markup:
    text = environments_text(document)
    return element("pre", text, tabindex="0") if text else NOTHING


def _prediction(document: SweepDocument) -> Markup:
    """Return what the choice is predicted to give the workload of --profile."""
    if document.prediction is None:
        return NOTHING
    rows = prediction_rows(document.prediction)
    return joined(
        [
            element("p", weighed(document.prediction)),
            table(PREDICTION_COLUMNS, rows, numbers="rrrrr", caption="The workload's sizes"),
            element("p", saving(document.prediction)),
        ]
    )


def _every_cell(document: SweepDocument) -> Markup:
    columns = (
        "cell",
        "collective",
        "type",
        "size",
        "time",
        "busbw, GB/s",
        "× default",
        "samples",
        "wrong",
        "status",
        "message",
    )
    return folded(f"Every cell ({len(document.cells)})", table(columns, _cells(document), numbers="lllrrrrrrll"))


def _cells(document: SweepDocument) -> Iterator[list[str]]:
    for cell in document.cells:
        yield [
            label(cell), cell.collective, cell.dtype, format_size(cell.size_bytes), time_text(cell), _busbw(cell),
            ratio_text(cell), str(cell.samples), str(cell.wrong), str(cell.status), cell.message,
        ]  # fmt: skip


def _effort(document: SweepDocument) -> str:
    cost = document.cost
    share = f", {cost.measured_s / cost.exhaustive_s:.0%} of the plain design's" if cost.exhaustive_s else ""
    samples = sum(cell.samples for cell in document.cells)
    return f"{samples} samples in {document.launches} launches: {format_seconds(cost.measured_s)} of measuring{share}."
