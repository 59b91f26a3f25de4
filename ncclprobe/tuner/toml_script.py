"""What a TOML or INI file sets: entries of its tables, each table for itself.

Source: TOML 1.0.0; Python's configparser (INI).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import PurePath

from ncclprobe.tuner.script import Dialect, How, Script, Setting

ENTRY = re.compile(r"""\s*(["']?)([A-Za-z_][\w-]*)\1\s*=\s*(\S.*)?""")
ITEM = re.compile(r"""\s*(["'])([A-Z_][A-Z0-9_]*)=(.*?)\1\s*,?\s*(?:#.*)?""")
"""Of an array of several lines: ``"NAME=VALUE",``."""
NAME = re.compile(r"[A-Z_][A-Z0-9_]*")
PAIR = re.compile(r"([A-Z_][A-Z0-9_]*)=(.*)", re.DOTALL)
LONGEST = 4000
"""Of a value that is taken apart."""


def toml_script(text: str, source: str) -> Script:
    """Return what the file sets.

    Args:
        text: Of the file.
        source: What findings call it; tells INI from TOML.
    """
    toml = PurePath(source).suffix == ".toml"
    settings: list[Setting] = []
    table = 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("["):
            table = number
        elif match := ENTRY.fullmatch(line):
            found = (_entries if toml else _plain)(match[2], match[3] or "")
            settings += [Setting(name, value, number, How.ENTRY, (table, own), number) for name, value, own in found]
        elif toml and (item := ITEM.fullmatch(line)):
            settings.append(Setting(item[2], item[3], number, How.ENTRY, (table,), number))
    return Script(source=source, dialect=Dialect.TOML, settings=tuple(settings))


def _plain(key: str, written: str) -> Iterator[tuple[str, str | None, int]]:
    """Yield the name and the value of an entry of INI; quotes around it are for whoever reads it."""
    value = written.strip()
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    if NAME.fullmatch(key):
        yield key, None if "$" in value or "%(" in value else value, 0


def _entries(key: str, written: str) -> Iterator[tuple[str, str | None, int]]:
    """Yield the names and values of an entry, with a number for each table that is written within a line."""
    waiting: list[tuple[str, object, int]] = [(key, _value(written), 0)]
    for name, value, own in waiting:  # grows while it is gone through
        if isinstance(value, dict):
            waiting += [(inner, one, len(waiting)) for inner, one in value.items()]
        elif isinstance(value, list):
            waiting += [pair for one in value for pair in _items(one, len(waiting))]
        elif NAME.fullmatch(name):
            yield name, _text(value), own


def _items(value: object, own: int) -> Iterator[tuple[str, object, int]]:
    """Yield what an item of an array says: ``"NAME=VALUE"``, or a table."""
    if isinstance(value, str) and (match := PAIR.fullmatch(value)):
        yield match[1], match[2], own
    elif isinstance(value, (dict, list)):
        yield "", value, own


def _value(written: str) -> object:
    if len(written) > LONGEST:
        return None
    try:
        return tomllib.loads(f"value = {written}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return None  # goes on on the next line, or is no TOML


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return None if "${" in value or "{{" in value else value
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else None
