"""What lines of NAME=VALUE set: an environment file, the output of ``env``.

Source: env(1) of coreutils 9 (values as they stand, of several lines too); bash 5.2, variables.c (exported functions
are entries named ``BASH_FUNC_name%%``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ncclprobe.tuner.script import Dialect, How, Script, Setting

ENTRY = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)=(.*)")
COMMAND = re.compile(r"""\s*(NCCL|SGL)\w*=[^\s"']*\s+\S|.*\\\s*$""")
"""``NCCL_DEBUG=INFO ./program``, or a line that goes on: no entry of an environment."""
COMMENT = re.compile(r"(?<!\s)\s+#.*")
"""Behind a value: what reads environment files drops it, docker's --env-file apart."""
FUNCTION = re.compile(r"BASH_FUNC_[^=]*=\(\)")
PRINTED = frozenset({"_", "HOME", "PATH", "PWD", "SHLVL"})
"""Of which every environment that ``env`` prints has most."""
LEAST_PRINTED = 3
LEAST_SHARE = 0.5


def is_entries(text: str, source: str) -> bool:
    """Return whether a text is lines of NAME=VALUE alone, but for values of several lines that ``env`` prints."""
    if text.startswith("#!"):
        return False
    lines = [line for _, line in _lines(text)]
    if source.endswith(".env") and lines:
        return all(ENTRY.fullmatch(line) for line in lines)
    entries = [match[1] for line in lines if (match := ENTRY.fullmatch(line)) and not COMMAND.match(line)]
    if not entries or len(entries) == len(lines):
        return bool(entries)
    printed = "BASH_FUNC_" in text or len(PRINTED & set(entries)) >= LEAST_PRINTED
    named = sum(bool(ENTRY.fullmatch(line)) for line in lines)
    return printed and named >= LEAST_SHARE * len(lines) and not any(line.startswith("export ") for line in lines)


def entries_script(text: str, source: str) -> Script:
    """Return what the lines set.

    Args:
        text: Of the file.
        source: What findings call it.
    """
    settings = []
    for number, line in _lines(text):
        if match := ENTRY.fullmatch(line):
            value = _bare(match[2].strip())
            settings.append(Setting(match[1], None if "$" in value else value, number, How.ENTRY, order=number))
    return Script(source=source, dialect=Dialect.ENTRIES, settings=tuple(settings))


def _bare(value: str) -> str:
    """Return a value without quotes around it and without a comment behind it."""
    if value[:1] not in ("'", '"'):
        return COMMENT.sub("", value)
    end = value.find(value[0], 1)
    return value[1:end] if end > 0 and value[end + 1 :].lstrip()[:1] in ("", "#") else value


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield lines with their numbers; not empty ones, comments and the bodies of functions that bash exports."""
    within = False
    for number, line in enumerate(text.splitlines(), 1):
        if within or FUNCTION.match(line):
            within = line.rstrip() != "}" and not line.rstrip().endswith("; }")
        elif line.strip() and not line.lstrip().startswith("#"):
            yield number, line
