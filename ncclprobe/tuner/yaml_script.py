"""What a manifest in YAML sets: Kubernetes' ``env`` lists, compose files' ``environment``, arguments, scripts.

The lines are read by their columns, so that templates (Helm, Jinja) are followed too; what concerns no variable is
passed over.

Source: YAML 1.2.2; Kubernetes API v1 (EnvVar: ``name`` and ``value``), Kubeflow MPIJob v2beta1 (a launcher's
arguments), GitLab CI/CD YAML syntax reference (``script``).
"""

from __future__ import annotations

import itertools
import re
from typing import NamedTuple

from ncclprobe.tuner.conf_script import NAME as CONF
from ncclprobe.tuner.conf_script import conf_script
from ncclprobe.tuner.flow_script import NULLS, known_text, read_flow
from ncclprobe.tuner.script import Dialect, How, Script, Setting
from ncclprobe.tuner.script_parts import joined, placed
from ncclprobe.tuner.shell_script import shell_script

NAME = re.compile(r"[A-Z_][A-Z0-9_]*")
ARGUMENT = re.compile(r"""["']?([A-Z_][A-Z0-9_]*)=(.*)""")
DASHES = re.compile(r"(?:-[ \t]+)+|-\Z")
COMMENT = re.compile(r"(?<!\s)\s+#.*")
"""Each is for a line without blanks at its ends: no part of it can match in several ways, so no line takes long."""
QUOTED = re.compile(r"""(["'])(.*?)\1\s*(?:#.*)?$""")
PROPERTIES = re.compile(r"(?:[&!]\S*[ \t]+)*")
"""Anchors and tags before a value."""
OPTION = re.compile(r"""(?:^|[\s"'])(?:-x|-e|export)\s+([A-Z_][A-Z0-9_]*)=([^\s"'\\]*)""")
"""Within a command that is one scalar, on one line or on several."""
BLOCK = re.compile(r"[|>][-+\d]{0,2}\s*(?:#.*)?")
TEMPLATE = re.compile(r"\{[{%][-+]?\s*(\w*)")
"""A line that only a template's engine reads."""
OPENING = frozenset({"if", "range", "with", "for", "define", "block", "raw", "macro"})
BETWEEN = frozenset({"else", "elif"})
CLOSING = frozenset({"end", *(f"end{word}" for word in OPENING)})
DEEPEST = 32
"""Of a template's branches within each other that are told apart."""
SCRIPTS = frozenset({"script", "before_script", "after_script"})
"""Keys of lists whose items are commands."""


class Place(NamedTuple):
    """Where something stands."""

    column: int
    listed: int
    """The line of the key whose list it is an item of, -1 for no item."""


class _Mapping:
    """A mapping whose end has not come yet."""

    def __init__(self, place: Place, line: int) -> None:
        self.place, self.line = place, line
        self.key, self.key_line = "", line
        self.named: tuple[str, int] | None = None
        self.value: str | None = None


def yaml_script(text: str, source: str) -> Script:
    """Return what a manifest sets.

    Args:
        text: Of the file.
        source: What findings call it.
    """
    reader = _Reader(text, source)
    while reader.at < len(reader.lines):
        reader.line()
    return joined(source, Dialect.YAML, reader.settings, reader.parts)


class _Reader:
    """Follows the lines; ``at`` is the one that is read and ``end`` the one behind what belongs to it, from 0 on."""

    def __init__(self, text: str, source: str) -> None:
        self.lines = text.splitlines()
        self.text = "\n".join(self.lines)
        self.starts = [0, *itertools.accumulate(len(line) + 1 for line in self.lines)]
        self.source = source
        self.at = self.end = 0
        self.mappings: list[_Mapping] = []
        self.branches: list[int] = []
        self.settings: list[Setting] = []
        self.parts: list[Script] = []

    def line(self) -> None:
        text = self.lines[self.at].strip()
        self.end = self.at + 1
        if text.startswith("---"):
            self.mappings, self.branches = [], []
        elif match := TEMPLATE.match(text):
            self.template(match[1])
        elif text and not text.startswith("#"):
            self.content(text)
        self.at = self.end

    def template(self, word: str) -> None:
        """Follow a template's condition: each of its branches has a number of its own."""
        if (word in BETWEEN or word in CLOSING) and self.branches:
            self.branches.pop()
        if word in OPENING or word in BETWEEN:
            self.branches.append(self.at + 1)

    def content(self, text: str) -> None:
        line = self.lines[self.at]
        place = Place(len(line) - len(line.lstrip()), -1)
        while self.mappings and self.mappings[-1].place.column > place.column:
            self.mappings.pop()
        if dashes := DASHES.match(text):
            place = Place(place.column + dashes.end(), self.owner())
            text = text[dashes.end() :]
        key, value = _key(text)
        if key:
            self.entry(place, key, value)
        elif place.listed >= 0:
            self.item(text)
        elif not self.collection(text, self.owner()):
            self.options(text, self.owner())

    def owner(self) -> int:
        """Return the line of the key that what comes now is a value of, 0 for none."""
        return self.mappings[-1].key_line if self.mappings else 0

    def entry(self, place: Place, key: str, value: str) -> None:
        """Take ``key: value``."""
        if place.listed >= 0 or not self.mappings or self.mappings[-1].place.column != place.column:
            self.mappings.append(_Mapping(place, self.at + 1))
        mapping = self.mappings[-1]
        mapping.key, mapping.key_line = key, self.at + 1
        value = "" if COMMENT.sub("", value) in NULLS else value
        if self.block(key, value) or self.collection(value, self.at + 1):
            return
        if key in ("name", "value"):
            self.named(mapping, key, value)
        elif value and NAME.fullmatch(key):
            self.add(key, value, self.at + 1, mapping.line)
        else:
            self.options(value, self.at + 1)

    def named(self, mapping: _Mapping, key: str, value: str) -> None:
        """Take half of Kubernetes' ``name`` and ``value``, in either order."""
        if key == "value":
            mapping.value = value
        elif NAME.fullmatch(name := _scalar(value) or ""):
            mapping.named = (name, self.at + 1)
        if mapping.named is not None and mapping.value is not None:
            place = mapping.place
            self.add(
                mapping.named[0], mapping.value, mapping.named[1], place.listed if place.listed >= 0 else mapping.line
            )

    def item(self, text: str) -> None:
        """Take an item of a list that is no mapping."""
        if self.block("", text) or self.collection(text, self.owner()):
            return
        if self.mappings and self.mappings[-1].key in SCRIPTS:
            self.shell(_scalar(text) or "", self.at + 1)
        elif match := ARGUMENT.match(text):
            value = match[2][:-1] if match[2].endswith(('"', "'")) else match[2]
            self.add(match[1], value, self.at + 1, self.owner())
        else:
            self.options(text, self.at + 1)

    def options(self, text: str, scope: int) -> None:
        for name, value in OPTION.findall(text):
            self.add(name, f'"{value}"' if "$" not in value else "${}", self.at + 1, scope)

    def add(self, name: str, written: str, line: int, scope: int) -> None:
        within = (-scope, *self.branches[:DEEPEST])
        self.settings.append(Setting(name, _scalar(written), line, How.ENTRY, within, self.at))

    def collection(self, text: str, scope: int) -> bool:
        """Return whether a value is one in brackets, and read it with all of its lines."""
        text = text[len(_properties(text)) :]
        if not text.startswith(("[", "{")) or text.startswith(("{{", "{%")):
            return False
        begin = self.starts[self.at] + len(self.lines[self.at].rstrip()) - len(text)
        flow = read_flow(self.text, begin, self.at + 1, self.source, (-scope, *self.branches[:DEEPEST]))
        self.end = self.at + 1 + self.text.count("\n", begin, flow.end)
        self.settings += flow.settings
        self.parts += flow.parts
        return True

    def block(self, key: str, value: str) -> bool:
        """Return whether a value is a block of lines, and read that as what it is: a script, nccl.conf or YAML."""
        if not BLOCK.fullmatch(value[len(_properties(value)) :]):
            return False
        if key.lower().endswith(("yaml", "yml")):
            return True  # its lines are read as others are
        line = self.lines[self.at]
        indent = len(line) - len(line.lstrip())
        while self.end < len(self.lines) and _within(self.lines[self.end], indent):
            self.end += 1
        kept = self.lines[self.at + 1 : self.end]
        margin = next((len(one) - len(one.lstrip()) for one in kept if one.strip()), 0)
        text = "\n".join(one[margin:] for one in kept)
        if key.endswith(CONF):
            conf = conf_script(text, self.source, self.at + 2)
            self.parts.append(Script(self.source, Dialect.YAML, written=(conf,)))
        else:
            self.shell(text, self.at + 2)
        return True

    def shell(self, text: str, line: int) -> None:
        self.parts.append(placed(shell_script(text, self.source, line), (-line,), line))


def _within(line: str, indent: int) -> bool:
    """Return whether a line is one of a block whose key has an indent."""
    return not line.strip() or len(line) - len(line.lstrip()) > indent


def _key(text: str) -> tuple[str, str]:
    """Return a line's key and what is behind its colon, empty ones where it has none."""
    if text[:1] in ("'", '"'):
        end = text.find(text[0], 1)
        key, rest = text[1:end], text[end + 1 :].lstrip()
        return (key, _bare(rest[1:])) if end > 0 and rest.startswith(":") and rest[1:2] in ("", " ") else ("", "")
    if text.startswith(("[", "{", "|", ">")):
        return "", ""
    key, colon, value = text.partition(": ")
    if colon:
        return ("", "") if " #" in key else (key.rstrip(), _bare(value))
    return (text[:-1].rstrip(), "") if text.endswith(":") else ("", "")


def _bare(value: str) -> str:
    value = value.strip()
    return "" if value.startswith("#") else value


def _properties(text: str) -> str:
    match = PROPERTIES.match(text)
    return match[0] if match else ""


def _scalar(text: str) -> str | None:
    """Return a scalar without its quotes; None where the cluster fills something in, or an alias stands for it."""
    text = text[len(_properties(text)) :]
    quoted = QUOTED.match(text)
    return None if text.startswith("*") else known_text(quoted[2] if quoted else COMMENT.sub("", text))
