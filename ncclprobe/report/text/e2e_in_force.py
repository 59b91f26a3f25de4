"""What people read of what was in force while SGLang's trials ran."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence

import msgspec
from tabulate import tabulate

from ncclprobe.names import Collective
from ncclprobe.nodesets import fold
from ncclprobe.records.e2e import Arm, E2eDocument, TrialStatus
from ncclprobe.records.in_force import InForce, Span
from ncclprobe.units import format_size

MOST_ROWS = 12
"""Of sizes, an arm, those that carry most bytes; the document has all."""
_TUNER_WIDTH = 20
_LONG_HASH = re.compile(r"(?<![0-9a-f])([0-9a-f]{8})[0-9a-f]{4,}(?![0-9a-f])")
"""As in the name of our own compiled plugin; eight digits tell one from another."""


def in_force_text(document: E2eDocument) -> str:
    """Return what NCCL ran with in each arm's last good trial, empty where no trial shows it."""
    last = dict(_last(document))
    if not last:
        return ""
    rows = [_row(arm, seen) for arm, seen in last.items()]
    columns = ["in force", "NCCL", "ranks", "tuner", "HCAs", "GDR", "all-reduces"]
    parts = [tabulate(rows, columns, tablefmt="simple", disable_numparse=True), _sizes(last, document.collectives)]
    return "\n\n".join(part for part in parts if part)


def _last(document: E2eDocument) -> Iterator[tuple[str, InForce]]:
    named = [Arm.BASELINE.value, *(one.arm for one in document.comparisons)]
    for arm in named:
        good = [
            trial.effective["in_force"]
            for trial in document.trials
            if trial.arm == arm and trial.status is not TrialStatus.FAILED and "in_force" in trial.effective
        ]
        if good:
            yield arm, msgspec.convert(good[-1], InForce)


def _row(arm: str, seen: InForce) -> list[str]:
    tuners = [plugin.name.rpartition("/")[2] for plugin in seen.plugins if plugin.kind == "tuner" and plugin.loaded]
    shown = textwrap.fill(
        ", ".join(_LONG_HASH.sub(r"\1", name) for name in tuners), _TUNER_WIDTH, break_on_hyphens=False
    )
    hcas = fold(hca.name for hca in seen.hcas)
    gdr = {True: "yes", False: "no", None: "-"}[seen.gdr]
    carried = "-" if seen.traffic is None else f"{seen.traffic.seen}"
    return [arm, seen.version or "?", str(seen.nranks or "?"), shown or "-", hcas or "-", gdr, carried]


def _sizes(last: dict[str, InForce], collectives: Sequence[str]) -> str:
    rows = [row for arm, seen in last.items() for row in _spans(arm, _ordered(seen.spans, collectives))]
    columns = ["in force", "collective", "from", "to", "setting", "operations"]
    return tabulate(rows, columns, tablefmt="simple", disable_numparse=True) if rows else ""


def _ordered(spans: Iterable[Span], collectives: Sequence[str]) -> list[Span]:
    """Return the spans of those collectives first, then all-reduces, then the others as they are."""
    first = [*dict.fromkeys([*collectives, Collective.ALL_REDUCE.value])]
    return sorted(spans, key=lambda span: first.index(span.collective) if span.collective in first else len(first))


def _spans(arm: str, spans: Sequence[Span]) -> Iterator[list[str]]:
    for span in _heaviest(spans):
        setting = f"{span.algo or '?'}/{span.proto or '?'}" + (f"/{span.nchannels}" if span.nchannels else "")
        sizes = [format_size(span.min_bytes), format_size(span.max_bytes)]
        yield [arm, span.collective or "?", *sizes, setting, str(span.operations)]
    if len(spans) > MOST_ROWS:
        yield [arm, f"… {len(spans) - MOST_ROWS} more", "", "", "", ""]


def _heaviest(spans: Sequence[Span]) -> list[Span]:
    """Return as many as are shown, in their order: of the first collective those with most bytes, then of the next."""
    first = list(dict.fromkeys(span.collective for span in spans))
    places = sorted(range(len(spans)), key=lambda at: (first.index(spans[at].collective), -_bytes(spans[at])))
    return [spans[at] for at in sorted(places[:MOST_ROWS])]


def _bytes(span: Span) -> int:
    return span.operations * span.max_bytes
