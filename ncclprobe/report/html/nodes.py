"""What ``nodes`` found, for people: nodes ranked with intervals, rails, pairs, the evidence, what to leave out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ncclprobe.records.base import Interval
from ncclprobe.records.nodes import LinkVerdict, NodesDocument, NodeStatus, NodeVerdict, RailVerdict
from ncclprobe.report.html.figures import MUTED, Figure, Look, Toggle, bars, figure, level, toggles
from ncclprobe.report.html.labels import named_axis, short_names, shortened
from ncclprobe.report.html.markup import NOTHING, Markup, element, folded, joined, table
from ncclprobe.report.html.pairs import pair_losses, pairs_figure
from ncclprobe.report.html.part import Body, Part
from ncclprobe.report.html.sweep_figures import broken, styled
from ncclprobe.report.text.nodes import ORDER, exclusion_lines

Verdict = NodeVerdict | LinkVerdict | RailVerdict
LOOKS = {
    NodeStatus.OK: Look(colour=MUTED, symbol="circle"),
    NodeStatus.SUSPECT: Look(colour="@1", symbol="triangle"),
    NodeStatus.SLOW: Look(colour="@5", symbol="square"),
    NodeStatus.UNREACHABLE: Look(colour="@ink", symbol="x"),
}
MOST_NAMED = 40
"""More nodes have ranks on the axis; those that stand out are named in the plot."""
MOST_LABELS = 12


def nodes_body(part: Part, document: NodesDocument, key: str) -> Body:
    """Return the part of the page about nodes, links and rails.

    Args:
        part: The document's own, for the measured values beside it.
        document: The result.
        key: Begins the plots' keys.
    """
    ranking = ranked_figure(f"{key}-nodes", "Nodes, the slowest first", document.nodes)
    rails = [ranked_figure(f"{key}-rails", "Rails, the slowest first", document.rails)] if document.rails else []
    losses = pair_losses(document, part.groups)
    pairs = [pairs_figure(f"{key}-pairs", [node.node for node in document.nodes], losses)] if losses else []
    parts = [
        _outstanding(document),
        _exclusion(document),
        _boxes(document.nodes, ranking.key),
        *map(figure, (ranking, *rails, *pairs)),
        folded(f"Every node ({len(document.nodes)})", _table(_by_slowdown(document.nodes))),
        folded("Links", _table(_by_slowdown(document.links))),
        _checks(document),
        element("p", _cost(document), class_="quiet"),
    ]
    return Body(content=joined(parts), figures=(ranking, *rails, *pairs))


def _outstanding(document: NodesDocument) -> Markup:
    found: list[Verdict] = [*document.nodes, *document.rails, *document.links]
    rows = sorted((one for one in found if one.status is not NodeStatus.OK), key=lambda one: ORDER.index(one.status))
    return _table(rows, caption="What stands out") or element("p", "No node, link or rail stands out.")


def _table(verdicts: Iterable[Verdict], caption: str = "") -> Markup:
    columns = ("", "status", "slowdown", "95 % interval", "evidence")
    return table(columns, (_row(one) for one in verdicts), caption=caption, numbers="llrrl")


def _row(verdict: Verdict) -> list[str]:
    slowdown = verdict.slowdown
    figures = ["-", "-"] if slowdown is None else [f"{100 * slowdown.estimate:z.1f} %", interval_text(slowdown)]
    cause = f" Cause: {verdict.cause}." if isinstance(verdict, NodeVerdict) and verdict.cause else ""
    return [name_of(verdict), str(verdict.status), *figures, verdict.evidence + cause]


def interval_text(slowdown: Interval) -> str:
    """Return a slowdown's interval in percent."""
    return f"{100 * slowdown.low:z.1f} to {100 * slowdown.high:z.1f} %"


def name_of(verdict: Verdict) -> str:
    """Return ``dgx001``, ``link dgx001–dgx002`` or ``rail 3``."""
    if isinstance(verdict, NodeVerdict):
        return verdict.node
    return f"link {'–'.join(verdict.nodes)}" if isinstance(verdict, LinkVerdict) else f"rail {verdict.rail}"


def _by_slowdown(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Return the unreachable first, then the slowest."""
    return sorted(verdicts, key=lambda one: (one.slowdown is not None, -one.slowdown.estimate if one.slowdown else 0.0))


def _exclusion(document: NodesDocument) -> Markup:
    lines = [*exclusion_lines(document.exclude)]
    if not lines:
        return NOTHING
    return joined([element("p", "To leave them out of jobs:"), element("pre", "\n".join(lines), tabindex="0")])


def _boxes(verdicts: Sequence[Verdict], key: str) -> Markup:
    present = [status for status in ORDER if any(one.status is status for one in verdicts)]
    boxes = [Toggle(group=str(status), label=str(status), look=LOOKS[status], on=True) for status in present]
    return toggles("Nodes shown", boxes, (key,), switches=("intervals",))


def ranked_figure(key: str, title: str, verdicts: Sequence[Verdict]) -> Figure:
    """Return slowdowns with their intervals, the slowest first; what is unreachable stands at 100 %."""
    ranked = _by_slowdown(verdicts)
    places = {name_of(one): at for at, one in enumerate(ranked, 1)}
    labels = dict(zip(places, short_names([*places]), strict=True))
    many = len(ranked) > MOST_NAMED
    axis = {"title": {"text": "rank"}} if many else named_axis([*places.values()], [*labels.values()])
    statuses = [status for status in ORDER if any(one.status is status for one in ranked)]
    traces = [_trace(status, ranked, places, labels) for status in statuses]
    return Figure(
        key=key,
        title=title,
        description="How far below a healthy one, in percent, with 95 % intervals."
        f"{shortened([*labels], [*labels.values()])}",
        traces=tuple(traces),
        layout={
            "xaxis": {**axis, "showgrid": False, "range": [0.4 - len(ranked) / 80, len(ranked) * 81 / 80 + 0.6]},
            "yaxis": {"title": {"text": "slowdown"}, "ticksuffix": " %"},
            "shapes": [level(0.0)],
        },
    )


def _trace(
    status: NodeStatus, ranked: Sequence[Verdict], places: Mapping[str, int], labels: Mapping[str, str]
) -> dict[str, Any]:
    shown = [one for one in ranked if one.status is status]
    spans = [_percent(one.slowdown) for one in shown]
    labelled = len(ranked) > MOST_NAMED and status is not NodeStatus.OK and len(shown) <= MOST_LABELS
    middles, lows, highs = zip(*spans, strict=True)
    return {
        **styled(LOOKS[status]),
        "mode": "markers+text" if labelled else "markers",
        "text": [labels[name_of(one)] for one in shown] if labelled else [],
        "name": str(status),
        "meta": str(status),
        "x": [places[name_of(one)] for one in shown],
        "y": middles,
        "error_y": {**bars(middles, lows, highs), "width": 0},
        "customdata": [broken("\n".join(_said(one))) for one in shown],
    }


def _said(verdict: Verdict) -> Iterator[str]:
    yield f"{name_of(verdict)}: {verdict.status}"
    if verdict.slowdown is not None:
        yield f"{100 * verdict.slowdown.estimate:z.1f} % ({interval_text(verdict.slowdown)})"


def _percent(slowdown: Interval | None) -> tuple[float, float, float]:
    if slowdown is None:
        return 100.0, 100.0, 100.0
    return 100 * slowdown.estimate, 100 * slowdown.low, 100 * slowdown.high


def _checks(document: NodesDocument) -> Markup:
    """Return what the nodes measured of themselves."""
    rows = [
        [node.node, str(check.check), "-" if check.gpu is None else str(check.gpu), f"{check.value:.4g} {check.unit}",
         f"{100 * check.slowdown.estimate:z.1f} %", interval_text(check.slowdown), str(check.status)]
        for node in document.nodes
        for check in node.checks
    ]  # fmt: skip
    columns = ("node", "check", "GPU", "value", "slowdown", "95 % interval", "status")
    return folded(f"The nodes' own checks ({len(rows)})", table(columns, rows, numbers="llrrrrl"))


def _cost(document: NodesDocument) -> str:
    cost = document.cost
    return (
        f"{document.source}: {cost.rounds} rounds, {cost.measurements_per_node:.1f} measurements and "
        f"{cost.gpu_minutes_per_node:.2f} GPU minutes a node."
    )
