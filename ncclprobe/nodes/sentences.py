"""Evidence in a sentence each, for people."""

from __future__ import annotations

from ncclprobe.nodes.design import Kind
from ncclprobe.nodes.evidence import LEAST_PARTNERS, LEAST_ROWS, Evidence
from ncclprobe.records.base import Interval
from ncclprobe.records.nodes import NodeStatus


def sentence(evidence: Evidence) -> str:
    """Return what was seen of a component, as one sentence."""
    label, unit = evidence.component.label, f" ({evidence.unit})" if evidence.unit else ""
    if evidence.rows == 0:
        return f"{label}: in each of its {evidence.all_rows} {_groups(evidence)} something else is slower{unit}"
    if evidence.status is NodeStatus.OK:
        return f"{label}: {_bounds(evidence.slowdown)} in {_seen_in(evidence)}{unit}"
    what = f"{label}: {percent(evidence.slowdown.estimate)} below healthy {_peers(evidence.component.kind)}"
    return f"{what} in {_slower_in(evidence)}; {_separation(evidence)}{unit}"


def percent(share: float) -> str:
    """Return a share as percent, with a decimal below 10 %."""
    return f"{100 * share:.0f} %" if abs(share) >= 0.0995 else f"{100 * share:z.1f} %"


def _peers(kind: Kind) -> str:
    return {Kind.NODE: "nodes", Kind.RAIL: "rails", Kind.LINK: "links"}[kind]


def _groups(evidence: Evidence, number: int | None = None) -> str:
    word = "measurement" if evidence.component.kind is not Kind.NODE else "pair" if evidence.pairs_only else "group"
    return word if (evidence.all_rows if number is None else number) == 1 else f"{word}s"


def _bounds(slowdown: Interval) -> str:
    if slowdown.high >= 1:
        return "nothing slow seen, but the data bound nothing"
    return f"at most {percent(max(slowdown.high, 0.0))} below healthy"


def _seen_in(evidence: Evidence) -> str:
    return f"{evidence.rows} {_groups(evidence, evidence.rows)}{_with_partners(evidence)}"


def _slower_in(evidence: Evidence) -> str:
    return f"{evidence.slower} of {evidence.rows} {_groups(evidence, evidence.rows)}{_with_partners(evidence)}"


def _with_partners(evidence: Evidence) -> str:
    if evidence.component.kind is Kind.LINK:
        return ""
    if evidence.component.kind is Kind.RAIL:
        return f" of {_different(evidence.partners, 'group')}"
    if evidence.alone and evidence.partners == 1:
        return " of it alone"
    if not evidence.pairs_only:
        return f" with {_different(evidence.partners, 'set')} of partners"
    return f" with {_different(evidence.partners, 'partner')}"


def _different(number: int, what: str) -> str:
    return f"{number} different {what}{'' if number == 1 else 's'}"


def _separation(evidence: Evidence) -> str:
    """Return why it is this component, or why that cannot be said."""
    if evidence.rivals:
        return f"it may as well be {' or '.join(rival.label for rival in evidence.rivals[:4])}"
    if evidence.rows < LEAST_ROWS:
        return f"{LEAST_ROWS} or more are needed to name it"
    if evidence.component.kind is Kind.NODE and not evidence.alone and evidence.partners < LEAST_PARTNERS:
        return "a second partner is needed to tell the node from its link"
    if evidence.status is NodeStatus.SUSPECT:
        return "too little to name it"
    return {Kind.NODE: "not its link", Kind.LINK: "not its nodes", Kind.RAIL: "not its nodes"}[evidence.component.kind]
