"""What a unit of systemd sets for what it starts.

Source: systemd.exec(5) (Environment), systemd.service(5) (ExecStart), systemd.syntax(7) of systemd 255.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath

from ncclprobe.tuner.quoted_words import unquoted, words
from ncclprobe.tuner.script import Dialect, How, Script, Setting
from ncclprobe.tuner.script_parts import SPAN, joined, placed
from ncclprobe.tuner.shell_script import shell_script

SUFFIXES = frozenset({".service", ".socket", ".timer"})
SECTION = re.compile(r"(?:[ \t]*(?:[#;].*)?\n)*[ \t]*\[(Unit|Service)\][ \t]*$", re.MULTILINE)
ASSIGNED = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
STARTS = re.compile(r"Exec(Start|StartPre|StartPost|Reload|Stop|StopPost)")
MODIFIERS = "@-:+!|"


def is_unit(text: str, source: str) -> bool:
    """Return whether a text is a unit or a drop-in for one."""
    return PurePath(source).suffix in SUFFIXES or bool(SECTION.match(text))


def unit_script(text: str, source: str) -> Script:
    """Return what a unit sets and starts.

    Args:
        text: Of the file.
        source: What findings call it.
    """
    settings: list[Setting] = []
    parts: list[Script] = []
    for key, value, line in _directives(text):
        if key == "Environment" and not value:
            settings.clear()  # so systemd does, too
        elif key == "Environment":
            settings += _environment(value, line)
        elif STARTS.fullmatch(key):
            parts.append(placed(shell_script(value.lstrip(MODIFIERS), source, line), (-line,), line))
    return joined(source, Dialect.UNIT, settings, parts)


def _directives(text: str) -> Iterator[tuple[str, str, int]]:
    """Yield each key, its value with all lines that it goes on on, and its line."""
    kept: list[str] = []
    first = 0
    for number, line in enumerate(text.splitlines(), 1):
        comment = line.lstrip().startswith(("#", ";"))
        if comment and not kept:
            continue
        first = first if kept else number
        kept.append("\\" if comment else line.strip())
        if not kept[-1].endswith("\\"):
            key, _, value = "\n".join(kept).partition("=")
            yield key.strip(), value.strip(), first
            kept = []


def _environment(value: str, line: int) -> Iterator[Setting]:
    for word, number in words(value, line):
        text = unquoted(word, None) or ""
        if match := ASSIGNED.fullmatch(text):
            known = None if "%" in match[2].replace("%%", "") else match[2].replace("%%", "%")
            yield Setting(match[1], known, number, How.ENTRY, (), SPAN * number)
