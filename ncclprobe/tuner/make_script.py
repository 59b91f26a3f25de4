"""What a makefile exports, and what its recipes set and start.

Source: GNU make 4.4, 5.3 Recipe Execution (a shell for each line), 5.7.2 Communicating Variables to a Sub-make, 6.5
Setting Variables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath

from ncclprobe.tuner.script import Dialect, How, Script, Setting
from ncclprobe.tuner.script_parts import SPAN, joined, placed
from ncclprobe.tuner.shell_script import shell_script

FILES = frozenset({"Makefile", "makefile", "GNUmakefile"})
EXPORT = re.compile(r"(?:[^\s:=#]+\s*:\s*)?(?:override\s+)?export\s+([A-Za-z_]\w*)\s*(?:::?:?|[?!])?=\s*(.*)")
BRANCHES = re.compile(r"(ifeq|ifneq|ifdef|ifndef|else|endif)\b")
DEEPEST = 32
"""Conditions within each other that are told apart."""
PREFIX = "@-+ \t"


def is_makefile(source: str) -> bool:
    """Return whether a file's name is a makefile's."""
    path = PurePath(source)
    return path.name in FILES or path.suffix in (".mk", ".mak")


def make_script(text: str, source: str) -> Script:
    """Return what a makefile exports and its recipes do.

    Args:
        text: Of the file.
        source: What findings call it.
    """
    settings: list[Setting] = []
    parts: list[Script] = []
    branches: list[int] = []
    for line, written in _lines(text):
        if written.startswith("\t"):
            recipe = written.lstrip(PREFIX).replace("$$", "$")
            parts.append(placed(shell_script(recipe, source, line), (-line,), line))
        elif match := BRANCHES.match(written.strip()):
            _branch(branches, match[1], line)
        elif match := EXPORT.fullmatch(written.strip()):
            value = re.sub(r"(?<!\s)\s+#.*", "", match[2]).strip()
            scope = (0, *branches[:DEEPEST], *([line] if ":" in written.partition("export")[0] else []))
            settings.append(Setting(match[1], None if "$" in value else value, line, How.ENTRY, scope, SPAN * line))
    return joined(source, Dialect.MAKEFILE, settings, parts)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield lines with those that they go on on, and the number of the first."""
    kept: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        kept.append(line)
        if not line.endswith("\\"):
            yield number - len(kept) + 1, "\n".join(kept)
            kept = []


def _branch(branches: list[int], word: str, line: int) -> None:
    """Follow a condition: each of its branches has a number of its own."""
    if word in ("else", "endif") and branches:
        branches.pop()
    if word != "endif":
        branches.append(line)
