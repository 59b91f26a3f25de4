"""What ``env lint`` and ``env explain`` say."""

from __future__ import annotations

from ncclprobe.records.base import Document, Record


class LintedSetting(Record, frozen=True, kw_only=True):
    """A variable of NCCL's or SGLang's that a text sets."""

    source: str
    """The file, ``-`` for standard input, ``environment`` for the live one."""
    line: int | None
    """Counted from 1; None where there are no lines."""
    name: str
    value: str | None
    """None where only a shell can tell."""
    how: str
    """``export``, ``assign``, ``prefix``, ``launcher``, ``directive`` or ``entry``."""


class LintDocument(Document, frozen=True, kw_only=True):
    """``ncclprobe.env-lint/1``."""

    schema: str = "ncclprobe.env-lint/1"
    sources: tuple[str, ...]
    """What was read."""
    nccl_version: str | None
    """The NCCL that will read the settings, None where it wasn't given."""
    settings: tuple[LintedSetting, ...]
    """What was found set, in order."""


class Explanation(Record, frozen=True, kw_only=True):
    """What one variable is."""

    name: str
    known: bool
    nearest: tuple[str, ...]
    """The names most like it, where it is not known."""
    about: str | None
    """What it does, None where it is not known."""
    values: str | None
    """Which values it takes, None where that isn't known."""
    default: str | None
    """None where there is none, or where it depends on the system."""
    since: str | None
    """The first release with it."""
    until: str | None
    """The last release with it, None for one that is still there."""
    read: str | None
    """When it is read."""
    overrides: tuple[str, ...]
    """What counts instead of it, or beside it."""
    documented: str | None
    """Where it is documented, None where only sources or libraries have it."""


class ExplainDocument(Document, frozen=True, kw_only=True):
    """``ncclprobe.env-explain/1``."""

    schema: str = "ncclprobe.env-explain/1"
    variables: tuple[Explanation, ...]
    """In the order in which they were asked for."""
