"""Findings: doubts and faults as data, with a stable code and a hint."""

from __future__ import annotations

import enum
from collections.abc import Iterable

import msgspec


class Severity(enum.StrEnum):
    """How bad a finding is."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing worth knowing beyond the figures; every code is listed in docs/findings.md."""

    severity: Severity
    """``error`` means that the fabric or the environment is at fault."""
    code: str
    """Stable, in kebab-case."""
    subject: str
    """What it is about: a node, ``node/mlx5_3:1``, a file, a cell, a variable."""
    message: str
    """What is the case, with the values."""
    hint: str
    """What to do next."""


def info(code: str, subject: str, message: str, hint: str) -> Finding:
    """Return an info-level finding."""
    return Finding(severity=Severity.INFO, code=code, subject=subject, message=message, hint=hint)


def warning(code: str, subject: str, message: str, hint: str) -> Finding:
    """Return a warning."""
    return Finding(severity=Severity.WARNING, code=code, subject=subject, message=message, hint=hint)


def error(code: str, subject: str, message: str, hint: str) -> Finding:
    """Return an error-level finding, which makes the exit status 3."""
    return Finding(severity=Severity.ERROR, code=code, subject=subject, message=message, hint=hint)


def has_error(findings: Iterable[Finding]) -> bool:
    """Return whether the fabric or the environment is at fault."""
    return any(finding.severity is Severity.ERROR for finding in findings)
