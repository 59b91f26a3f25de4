"""What people read of a watch: the last checks, and what changed."""

from __future__ import annotations

import textwrap

from tabulate import tabulate

from ncclprobe.records.watch import CHANGES, Check, CheckStatus, WatchDocument
from ncclprobe.report.text.findings import WIDTH, findings_text
from ncclprobe.units import format_seconds

MOST_ROWS = 12
"""The newest checks; the document has all."""
_MESSAGE_WIDTH = 38


def watch_text(document: WatchDocument, path: str = "", *, with_findings: bool = True) -> str:
    """Return the answer, the last checks and the findings.

    Args:
        document: The result.
        path: Its run directory; empty for none.
        with_findings: Let the findings stand below; without, they only count for the answer.
    """
    parts = [
        textwrap.fill(watch_verdict(document), WIDTH),
        _table(document.checks),
        findings_text(document.findings if with_findings else ()),
        f"Run directory: {path}" if path else "",
    ]
    return "\n\n".join(part for part in parts if part)


def watch_verdict(document: WatchDocument) -> str:
    """Return how many checks were good, what changed, and what the last one says."""
    number, failed = len(document.checks), sum(check.status is CheckStatus.FAILED for check in document.checks)
    changed = sum(finding.code in CHANGES for finding in document.findings)
    counted = f"{number} check{'s' * (number != 1)} ({document.check}), {failed or 'none'} failed"
    last = f" The last one: {document.checks[-1].message}" if document.checks else ""
    return f"{counted}; {f'{changed} changes' if changed > 1 else ('1 change' if changed else 'no change')}.{last}"


def check_line(check: Check) -> str:
    """Return a line for people while a watch goes on."""
    took = format_seconds(check.seconds)
    return f"{check.started} check {check.number}, {took}: {'failed: ' if _failed(check) else ''}{check.message}"


def _failed(check: Check) -> bool:
    return check.status is CheckStatus.FAILED


def _table(checks: tuple[Check, ...]) -> str:
    shown, before = checks[-MOST_ROWS:], ""
    rows = []
    for check in shown:
        answer = "as before" if check.message == before else check.message
        rows.append((check.started, check.status, format_seconds(check.seconds), textwrap.fill(answer, _MESSAGE_WIDTH)))
        before = check.message
    columns = ("check", "status", "time", "answer")
    return tabulate(rows, columns, tablefmt="simple", disable_numparse=True) if rows else ""
