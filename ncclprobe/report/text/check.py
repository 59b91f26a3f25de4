"""What ``env check`` prints."""

from __future__ import annotations

import textwrap
from collections import Counter

from tabulate import tabulate

from ncclprobe.records.check import CheckedRow, CheckedVariable, EnvCheckDocument, Outcome, Place
from ncclprobe.report.text.findings import WIDTH, findings_text
from ncclprobe.units import format_size

_OUTSIDE = (Place.BELOW, Place.ABOVE)
BRACKETS = "Sizes in brackets lie just outside their row."
_WORDS = {
    Outcome.APPLIED: "applied",
    Outcome.LEFT_ALONE: "left to NCCL",
    Outcome.REFUSED: "NCCL refused",
    Outcome.OTHER: "another setting",
    Outcome.FAILED: "failed",
    Outcome.UNTRIED: "not tried",
}


def check_text(document: EnvCheckDocument) -> str:
    """Return what ran at each size of each row, what ranks have of variables, and the answer."""
    parts = (_rows(document.rows), _variables(document.variables), findings_text(document.findings),
             check_verdict(document))  # fmt: skip
    return "\n\n".join(part for part in parts if part)


def check_verdict(document: EnvCheckDocument) -> str:
    """Return how much is in force."""
    if document.library is None:
        return f"{document.source} sets nothing that a library's choice can show."
    where = f"with {document.library} on {document.nranks} ranks"
    if document.nnodes is not None:
        where += f" and {document.nnodes} node{'s' * (document.nnodes != 1)}"
    if document.variables:
        good = sum(one.in_force for one in document.variables)
        return f"{good} of {len(document.variables)} variables in force {where}."
    counts = Counter(row.outcome for row in document.rows)
    kinds = [kind for kind in Outcome if kind is not Outcome.APPLIED and counts[kind]]
    others = f" ({', '.join(f'{_WORDS[kind]}: {counts[kind]}' for kind in kinds)})" if kinds else ""
    return textwrap.fill(f"{counts[Outcome.APPLIED]} of {len(document.rows)} rows in force {where}{others}.", WIDTH)


def _rows(rows: tuple[CheckedRow, ...]) -> str:
    collectives = dict.fromkeys(one.row.collective for one in rows)
    tables = [_table(name, [one for one in rows if one.row.collective == name]) for name in collectives]
    outside = any(size.place in _OUTSIDE for one in rows for size in one.sizes)
    return "\n\n".join([*tables, BRACKETS] if outside else tables)


def _table(collective: str, rows: list[CheckedRow]) -> str:
    lines = [line for row in rows for line in _lines(row)]
    aligned = ("left", "right", "left", "left", "left")
    columns = (collective, "size", "wanted", "ran", "")
    return tabulate(lines, columns, colalign=aligned, disable_numparse=True)


def _lines(one: CheckedRow) -> list[tuple[str, ...]]:
    name = f"{format_size(one.row.min_bytes)} to {format_size(one.row.max_bytes)}"
    if not one.sizes:
        return [(name, "-", "-", "-", _WORDS[one.outcome])]
    return [
        (
            "" if number else name,
            f"({format_size(size.size_bytes)})" if size.place in _OUTSIDE else format_size(size.size_bytes),
            size.wanted or "-",
            size.ran or "?",
            _WORDS[size.outcome],
        )
        for number, size in enumerate(one.sizes)
    ]


def _variables(variables: tuple[CheckedVariable, ...]) -> str:
    if not variables:
        return ""
    lines = [
        (
            one.name,
            one.value,
            ", ".join(dict.fromkeys(word or "-" for word in one.seen)),
            "" if one.in_force else "DIFFERS",
        )
        for one in variables
    ]
    return tabulate(lines, ("variable", "wanted", "in force", ""), disable_numparse=True)
