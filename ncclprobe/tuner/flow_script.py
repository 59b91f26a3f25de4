"""Collections in brackets: YAML's flow style, which JSON is a form of.

Source: YAML 1.2.2, chapter 7.4; Kubernetes API v1 (EnvVar: ``name`` and ``value``).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ncclprobe.tuner.script import Dialect, How, Script, Setting
from ncclprobe.tuner.script_parts import SPAN, joined, placed
from ncclprobe.tuner.shell_script import shell_script

TOKEN = re.compile(
    r"""[ \t\n]+|\#[^\n]*|\{\{(?P<template>[^{}\n]*)\}\}|[\[\]{},]|:(?=[\s\[\]{},"'])"""
    r"""|(?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^']|'')*')"""
    r"""|(?P<plain>[^\s\[\]{},:"'](?:[^\n\[\]{},:\#]|:(?![\s\[\]{},])|(?<=\S)\#)*)|.""",
    re.DOTALL | re.VERBOSE,
)
NAME = re.compile(r"[A-Z_][A-Z0-9_]*")
PAIR = re.compile(r"([A-Z_][A-Z0-9_]*)=(.*)", re.DOTALL)
FILLED_IN = re.compile(r"\$[({]|\{[{%]|\$\Z")
ESCAPED = re.compile(r'\\(["\\/])')
NULLS = frozenset({"null", "Null", "NULL", "~"})
"""What stands for no value, without quotes; source: YAML 1.2.2, chapter 10.3.2."""
INLINE = frozenset({"-c", "-lc", "-ic"})
"""Options of a shell before its script."""
BEGINS = re.compile(r"[ \t\n]*\{[ \t\n]*[\"}]")


class Scalar(NamedTuple):
    """A text in a collection."""

    text: str
    line: int


class _Open:
    """A collection whose end has not come yet."""

    def __init__(self, bracket: str, number: int) -> None:
        self.bracket, self.number = bracket, number
        self.key: Scalar | None = None
        self.valued = False
        """Whether a colon was behind the key."""
        self.named: Scalar | None = None
        self.value: Scalar | None = None
        self.before = ""
        """The item before, of a list."""


def is_json(text: str) -> bool:
    """Return whether a text begins as a JSON document does."""
    return bool(BEGINS.match(text))


def json_script(text: str, source: str) -> Script:
    """Return what a JSON document sets.

    Args:
        text: Of the file.
        source: What findings call it.
    """
    begin = next((at for at, letter in enumerate(text) if letter in "[{"), len(text))
    flow = read_flow(text, begin, 1 + text.count("\n", 0, begin), source, ())
    return joined(source, Dialect.JSON, flow.settings, flow.parts)


def known_text(text: str) -> str | None:
    """Return a scalar's text, None where something is filled in."""
    return None if FILLED_IN.search(text) else text


class Flow(NamedTuple):
    """What a collection sets, and where it ends."""

    settings: list[Setting]
    parts: list[Script]
    """Commands in it."""
    end: int


def read_flow(text: str, begin: int, line: int, source: str, scope: tuple[int, ...]) -> Flow:
    """Return what a collection sets.

    Args:
        text: In which it stands.
        begin: Where its bracket is.
        line: The number of that line.
        source: What findings call the file.
        scope: Of what stands around it.
    """
    reader = _Reader(source, scope)
    end = reader.read(text, begin, line)
    return Flow(reader.settings, reader.parts, end)


class _Reader:
    """Follows one collection and those within it."""

    def __init__(self, source: str, scope: tuple[int, ...]) -> None:
        self.source, self.scope = source, scope
        self.settings: list[Setting] = []
        self.parts: list[Script] = []
        self.stack: list[_Open] = []
        self.count = 0
        """Of numbers for collections and commands, which begin with the place of the first."""

    def read(self, text: str, begin: int, line: int) -> int:
        at = self.count = begin
        while at < len(text):
            match = TOKEN.match(text, at)
            assert match is not None  # noqa: S101 - the last alternative takes any letter
            self.token(match, line)
            line += match[0].count("\n")
            at = match.end()
            if not self.stack:
                break
        return at

    def token(self, match: re.Match[str], line: int) -> None:
        text = match[0]
        if match["quoted"]:
            inner = text[1:-1]
            self.scalar(Scalar(ESCAPED.sub(r"\1", inner) if text[0] == '"' else inner.replace("''", "'"), line))
        elif match["template"] is not None:
            self.scalar(Scalar(text, line))
        elif match["plain"] and text.rstrip() in NULLS:
            pass  # sets nothing
        elif match["plain"]:
            self.scalar(Scalar(text.rstrip(), line))
        elif text in ("[", "{"):
            self.count += 1
            self.stack.append(_Open(text, self.count))
        elif text in ("]", "}"):
            self.close()
        elif self.stack and text == ":":
            self.stack[-1].valued = True
        elif self.stack and text == ",":
            self.stack[-1].key, self.stack[-1].valued = None, False

    def close(self) -> None:
        closed = self.stack.pop()
        if closed.named and closed.value and NAME.fullmatch(closed.named.text):
            self.add(closed.named.text, closed.value.text, closed.named.line)

    def add(self, name: str, text: str, line: int) -> None:
        within = (self.stack[-1].number,) if self.stack else ()
        scope = (*self.scope, *within)
        self.settings.append(Setting(name, known_text(text), line, How.ENTRY, scope, SPAN * line))

    def scalar(self, scalar: Scalar) -> None:
        top = self.stack[-1]
        if top.bracket == "[" and not top.valued:
            self.item(scalar, top.before)
            top.key, top.before = scalar, scalar.text
        elif not top.valued:
            top.key = scalar
        elif top.key is not None:
            self.pair(top, top.key, scalar)

    def pair(self, top: _Open, key: Scalar, value: Scalar) -> None:
        if key.text == "name":
            top.named = value
        elif key.text == "value":
            top.value = value
        elif NAME.fullmatch(key.text):
            self.add(key.text, value.text, key.line)

    def item(self, scalar: Scalar, before: str) -> None:
        """Take an item of a list: ``NAME=VALUE``, or words of a command."""
        if before in INLINE:
            self.parts.append(self.shell(scalar))
        elif match := PAIR.fullmatch(scalar.text):
            self.add(match[1], match[2], scalar.line)
        elif re.search(r"\s", scalar.text):
            self.parts.append(self.shell(scalar)._replace(spaced=(), cut=()))  # it may be no command at all

    def shell(self, scalar: Scalar) -> Script:
        script = shell_script(scalar.text, self.source, scalar.line)
        self.count += 1
        return placed(script, (*self.scope, -self.count), scalar.line)
