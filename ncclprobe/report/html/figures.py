"""Plots as data for the page's script, with toggles that are ordinary checkboxes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from ncclprobe.records.base import Record
from ncclprobe.report.html.markup import NOTHING, Markup, element
from ncclprobe.units import format_size

INK, MUTED = "@ink", "@muted"
"""Colours that follow the theme; style.py has their values."""
COLOURS = 8
"""``@0`` to ``@7``."""
DASHES = ("solid", "dash", "dot", "dashdot")
SYMBOLS = {
    "circle": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0",
    "square": "M-4-4h8v8h-8z",
    "diamond": "M0-5L5 0L0 5L-5 0z",
    "triangle": "M0-5L5 4H-5z",
    "inverted_triangle": "M0 5L5-4H-5z",
    "x": "M-4-4L4 4M4-4L-4 4",
    "cross": "M0-5V5M-5 0H5",
    "hex": "M-5 0L-2.5-4.3H2.5L5 0L2.5 4.3H-2.5z",
}
"""Bokeh's name of a marker -> the path that a legend draws."""
MOST_TICKS = 12


class Look(Record, frozen=True, kw_only=True):
    """How a line is told from others, with and without colours."""

    colour: str
    """``@3``."""
    symbol: str
    """Of SYMBOLS."""
    dash: str = "solid"
    """Of DASHES."""
    width: int = 2
    """In pixels."""


class Toggle(Record, frozen=True, kw_only=True):
    """A checkbox that shows and hides traces."""

    group: str
    """The traces' ``meta``."""
    label: str
    """What people read."""
    look: Look
    """Of the traces."""
    on: bool
    """Whether they are shown at first."""
    best: bool = False
    """Whether they stay where only the best are asked for."""


class Figure(Record, frozen=True, kw_only=True):
    """A plot."""

    key: str
    """Unique on the page: letters, digits and dashes."""
    title: str
    """Heading."""
    description: str
    """What it shows, for those who cannot see it and as its caption."""
    traces: tuple[dict[str, Any], ...]
    """Each with ``x``, ``y``, what is said when it is pointed at, and its look; drawing.py reads them."""
    layout: dict[str, Any]
    """The axes, and lines and bands across the plot."""
    height: int = 380
    """In pixels."""
    width: int | None = None
    """At most, in pixels; None takes what there is."""


def look(number: int) -> Look:
    """Return how the n-th line of a plot looks; symbol and dash alone tell 32 of them apart."""
    symbols = tuple(SYMBOLS)
    return Look(
        colour=f"@{number % COLOURS}",
        symbol=symbols[(number + 1) % len(symbols)],
        dash=DASHES[(number // COLOURS) % len(DASHES)],
    )


def figure(shown: Figure) -> Markup:
    """Return where a plot is drawn, with its heading and caption."""
    place = element("div", class_="plot", id=shown.key, role="img", aria_label=f"{shown.title}. {shown.description}",
                    style=f"min-height:{shown.height}px")  # fmt: skip
    most = None if shown.width is None else f"max-width:{shown.width}px"
    caption = element("figcaption", element("strong", shown.title), " ", shown.description)
    return element("figure", caption, _legend(shown), place, style=most)


def _legend(shown: Figure) -> Markup:
    """Return what the traces are called, where no checkboxes say it."""
    if not shown.layout.get("showlegend"):
        return NOTHING
    named = [(_look(trace), trace["name"]) for trace in shown.traces]
    return element("p", *(element("span", _swatch(own), " ", name) for own, name in named), class_="legend")


def _look(trace: dict[str, Any]) -> Look:
    mark = Look(colour=trace["marker"]["color"], symbol=trace["marker"]["symbol"], width=0)
    drawn = trace["line"]
    return mark.with_(dash=drawn["dash"], width=drawn["width"]) if "lines" in trace["mode"] else mark


def figures_json(figures: Iterable[Figure]) -> str:
    """Return all plots as JSON in which no character can end a script element."""
    drawn = [{name: getattr(one, name) for name in ("key", "traces", "layout", "height")} for one in figures]
    text = msgspec.json.encode(drawn).decode()
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026").replace("\u2028", r"\u2028")


def toggles(legend: str, boxes: Sequence[Toggle], figures: Sequence[str], *, switches: Sequence[str] = ()) -> Markup:
    """Return checkboxes for lines, buttons for many at once, and switches of the whole plot.

    Args:
        legend: What the boxes are.
        boxes: One a line.
        figures: Keys of the plots that they act on.
        switches: ``intervals`` and ``logarithmic``.
    """
    if not boxes:
        return NOTHING
    keys = " ".join(figures)
    named = {"all": "All", "none": "None"} | ({"best": "Best only"} if any(box.best for box in boxes) else {})
    buttons = [element("button", label, type="button", data_many=what) for what, label in named.items()]
    marks = [_switch(name) for name in switches]
    return element(
        "fieldset", element("legend", legend), *map(_box, boxes),
        element("div", *(buttons if len(boxes) > 2 else ()), *marks, class_="many"), data_figures=keys,
    )  # fmt: skip


def _box(box: Toggle) -> Markup:
    tick = element("input", type="checkbox", data_group=box.group, data_best=box.best, checked=box.on)
    return element("label", tick, _swatch(box.look), box.label)


def _switch(name: str) -> Markup:
    words = {"intervals": "intervals", "logarithmic": "logarithmic bandwidth"}
    return element("label", element("input", type="checkbox", data_switch=name, checked=True), words[name])


def _swatch(shown: Look) -> Markup:
    """Return a line with its symbol, as the plot draws it."""
    dashes = {"solid": None, "dash": "6 3", "dot": "2 3", "dashdot": "6 3 2 3"}
    colour = f"var(--{'c' + shown.colour[1:] if shown.colour[1:].isdigit() else shown.colour[1:]})"
    line = element(
        "path", d="M1 8H33", stroke=colour, stroke_width=str(shown.width), stroke_dasharray=dashes[shown.dash]
    )
    mark = element("path", d=SYMBOLS[shown.symbol], transform="translate(17 8)", fill=colour, stroke=colour)
    return element("svg", line, mark, width="34", height="16", aria_hidden="true", class_="swatch")


def size_axis(sizes: Iterable[int]) -> dict[str, Any]:
    """Return a logarithmic axis that names sizes as people do."""
    found = sorted(set(sizes))
    step = -(-len(found) // MOST_TICKS) or 1
    shown = found[::step]
    return {
        "type": "log",
        "title": {"text": "size"},
        "tickvals": shown,
        "ticktext": [format_size(size) for size in shown],
    }


def log_axis(title: str, values: Iterable[float]) -> dict[str, Any]:
    """Return a logarithmic axis; over more than a decade only powers of ten are named."""
    known = [value for value in values if value > 0]
    wide = bool(known) and max(known) > 12 * min(known)
    return {"type": "log", "title": {"text": title}} | ({"dtick": 1} if wide else {})


def bars(middles: Sequence[float], lows: Sequence[float], highs: Sequence[float]) -> dict[str, Any]:
    """Return error bars that reach from lows to highs."""
    return {
        "array": [high - middle for middle, high in zip(middles, highs, strict=True)],
        "arrayminus": [middle - low for middle, low in zip(middles, lows, strict=True)],
        "thickness": 1.2,
        "width": 4,
    }


def level(at: float, colour: str = MUTED, dash: str = "dash") -> dict[str, Any]:
    """Return a horizontal line across a plot."""
    return {
        "type": "line", "y0": at, "y1": at, "line": {"color": colour, "width": 1.5, "dash": dash},
    }  # fmt: skip
