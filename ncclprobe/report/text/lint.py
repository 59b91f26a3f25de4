"""What ``env lint`` and ``env explain`` print."""

from __future__ import annotations

import textwrap
from collections import Counter

from ncclprobe.findings import Severity
from ncclprobe.records.lint import ExplainDocument, Explanation, LintDocument
from ncclprobe.report.text.findings import WIDTH, findings_text
from ncclprobe.report.text.verdict import counted


def lint_text(document: LintDocument) -> str:
    """Return the findings, and how many there are."""
    return "\n\n".join(part for part in (findings_text(document.findings), lint_verdict(document)) if part)


def lint_verdict(document: LintDocument) -> str:
    """Return how much was read and found."""
    read = f"{counted(len(document.settings), 'setting')} in {counted(len(document.sources), 'source')}"
    counts = Counter(finding.severity for finding in document.findings)
    plural = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
    found = [counted(counts[level], plural[level]) for level in reversed(Severity) if counts[level]]
    return f"{read}: {', '.join(found) or 'nothing to remark'}."


def explain_text(document: ExplainDocument) -> str:
    """Return a paragraph a variable."""
    return "\n\n".join(map(_explanation, document.variables))


def _explanation(variable: Explanation) -> str:
    if not variable.known:
        near = (
            f"the nearest names are {', '.join(variable.nearest)}" if variable.nearest else "no known name is like it"
        )
        return _filled(f"{variable.name}: neither NCCL nor SGLang has it; {near}.", "")
    lines = [variable.name, _filled(variable.about or "", "  ")]
    facts = {
        "values": variable.values,
        "default": variable.default,
        "since": variable.since,
        "until": variable.until,
        "read": variable.read,
        "documented": variable.documented or ("only in NCCL's sources or library" if variable.read else None),
    }
    lines += [_fact(name, value) for name, value in facts.items() if value]
    lines += [_fact("" if number else "precedence", text) for number, text in enumerate(variable.overrides)]
    return "\n".join(lines)


def _fact(name: str, value: str) -> str:
    return _filled(f"{name and name + ':':<12}{value}", "  ", " " * 14)


def _filled(text: str, indent: str, hanging: str | None = None) -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent if hanging is None else hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )
