"""What is wrong with the variables that a script, a file or an environment sets."""

from __future__ import annotations

from collections.abc import Iterator

from ncclprobe.findings import Finding, Severity
from ncclprobe.tuner.lint_algorithms import check_algorithms
from ncclprobe.tuner.lint_case import Case, Doubt
from ncclprobe.tuner.lint_conf import CODE as MISREAD
from ncclprobe.tuner.lint_conf import check_conf
from ncclprobe.tuner.lint_contradictions import check_contradictions
from ncclprobe.tuner.lint_docker import check_ended
from ncclprobe.tuner.lint_launch import check_launches
from ncclprobe.tuner.lint_lists import check_lists
from ncclprobe.tuner.lint_names import check_blanks, check_cuts, check_names
from ncclprobe.tuner.lint_order import check_order
from ncclprobe.tuner.lint_values import check_values
from ncclprobe.tuner.script import Script
from ncclprobe.tuner.variables import Catalog

CHECKS = (
    check_names, check_blanks, check_cuts, check_values, check_algorithms, check_contradictions, check_order,
    check_conf, check_launches, check_lists, check_ended,
)  # fmt: skip


def lint(script: Script, catalog: Catalog, version: str = "") -> tuple[Finding, ...]:
    """Return what is wrong, in the order of the lines.

    Args:
        script: What a text sets and starts.
        catalog: All known names.
        version: Of the NCCL that will read it; empty where that isn't known.
    """
    found = (doubt for part in script.parts() for doubt in _doubts(Case(part, catalog, version)))
    doubts = sorted(found, key=lambda doubt: (doubt.line, -list(Severity).index(doubt.severity)))
    misread = {doubt.line for doubt in doubts if doubt.code == MISREAD}  # their values are not what was meant
    return tuple(
        Finding(
            severity=doubt.severity,
            code=doubt.code,
            subject=script.subject(doubt.line),
            message=doubt.message,
            hint=doubt.hint,
        )
        for doubt in dict.fromkeys(doubts)
        if doubt.code == MISREAD or doubt.line not in misread
    )


def _doubts(case: Case) -> Iterator[Doubt]:
    for check in CHECKS:
        yield from check(case)
