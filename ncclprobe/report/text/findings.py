"""Findings as people read them, the same under every command."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from ncclprobe.findings import Finding

WIDTH = 80


def findings_text(findings: Iterable[Finding]) -> str:
    """Return a paragraph a finding: severity, code, subject, message, and the hint indented below it."""
    return "\n".join(finding_text(finding) for finding in findings)


def finding_text(finding: Finding, whose: str = "") -> str:
    """Return a finding's paragraph.

    Args:
        finding: The finding.
        whose: Stands behind the subject: ``[A]``; empty for nothing.
    """
    heading = f"{finding.severity} {finding.code} ({finding.subject}){whose and f' {whose}'}: {finding.message}"
    return "\n".join([*_wrapped(heading, ""), *_wrapped(finding.hint, "  ")])


def _wrapped(text: str, indent: str) -> list[str]:
    """Return lines of at most ``WIDTH`` columns; a line of quoted output keeps its own."""
    return [
        part
        for number, line in enumerate(text.splitlines())
        for part in textwrap.wrap(
            line,
            WIDTH,
            initial_indent=indent if number == 0 else indent or "  ",
            subsequent_indent=indent or "  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    ]
