"""What a Dockerfile sets for what its images run, and what its commands do.

Source: Dockerfile reference (continued lines, comments within them, ENV, exec form, here-documents; each RUN has a
shell of its own, each FROM begins a stage with an environment of its own).
"""

from __future__ import annotations

import bisect
import json
import re
import shlex
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import NamedTuple

from ncclprobe.tuner.quoted_words import unquoted, words
from ncclprobe.tuner.script import Dialect, How, Script, Setting
from ncclprobe.tuner.script_parts import SPAN, joined, placed
from ncclprobe.tuner.shell_script import shell_script

FILE = re.compile(
    r"(?:docker|container)file(?:\.(?!(?:sh|py|ya?ml|env)$).*)?|.*\.(?:docker|container)file", re.IGNORECASE
)
FIRST = re.compile(r"[ \t]*(?:FROM[ \t]+[^\s=(]|ARG[ \t]+\w)")
INSTRUCTION = re.compile(r"\s*([A-Za-z]+)\s+(.*)", re.DOTALL)
ASSIGNED = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
FLAGS = re.compile(r"(?:--\S+\s+|\\\n\s*)*")
"""Of RUN: ``--mount=type=cache,target=/x``."""
HERE = re.compile(r"(?<!<)<<-?([\"']?)([A-Za-z_]\w*)\1")


class Instruction(NamedTuple):
    """An instruction with all of its lines; comments within are gone."""

    keyword: str
    rest: str
    line: int


def is_dockerfile(text: str, source: str) -> bool:
    """Return whether a text is a Dockerfile, by its file's name or its first instruction."""
    if text.startswith("#!"):
        return False
    stripped = (line.strip() for line in text.splitlines())
    first = next((line for line in stripped if line and not line.startswith("#")), "")
    return bool(FILE.fullmatch(PurePath(source).name) or FIRST.match(first))


def docker_script(text: str, source: str) -> Script:
    """Return what a Dockerfile sets and starts.

    Args:
        text: Of the file.
        source: What findings call it.
    """
    reader = _Reader(source)
    for instruction in _instructions(text.splitlines()):
        reader.take(instruction)
    return joined(source, Dialect.DOCKERFILE, reader.settings, reader.parts)


def _instructions(lines: Sequence[str]) -> Iterator[Instruction]:
    ends: dict[str, list[int]] = defaultdict(list)
    for number, line in enumerate(lines):
        ends[line.strip()].append(number)
    at = 0
    while at < len(lines):
        first, kept = at, list(_continued(lines, at))
        at += len(kept) or 1
        for here in HERE.finditer("\n".join(kept)):
            places = ends[here[2]]
            end = bisect.bisect_left(places, at)
            if end < len(places):
                kept += lines[at : places[end] + 1]
                at = places[end] + 1
        if match := INSTRUCTION.match("\n".join(kept)):
            yield Instruction(match[1].upper(), match[2], first + 1)


def _continued(lines: Sequence[str], at: int) -> Iterator[str]:
    """Yield the lines of one instruction, of which comments and empty ones within count for nothing."""
    for number in range(at, len(lines)):
        line = lines[number].rstrip()
        if line.strip() and not line.lstrip().startswith("#"):
            yield line
            if not line.endswith("\\"):
                return
        elif number == at:
            return
        else:
            yield "\\"


class _Reader:
    """Follows the stages."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.stage = 0
        self.known: dict[str, str] = {}
        self.settings: list[Setting] = []
        self.parts: list[Script] = []

    def take(self, instruction: Instruction) -> None:
        keyword, rest, line = instruction
        if keyword == "FROM":
            self.stage += 1
            self.known = {}
        elif keyword == "ENV":
            self.environment(rest, line)
        elif keyword in ("RUN", "CMD", "ENTRYPOINT"):
            self.command(keyword, rest, line)
        elif keyword in ("COPY", "ADD") and HERE.search(rest):
            self.parts.append(placed(shell_script(f"cat {rest}", self.source, line), (self.stage, -line), line))

    def environment(self, rest: str, line: int) -> None:
        """Take ``ENV NAME=VALUE ...``, or the older ``ENV NAME VALUE``."""
        found = list(words(rest, line))
        self.parts.append(Script(self.source, Dialect.DOCKERFILE, used=_used(rest)))
        if found and "=" not in found[0][0]:
            self.set(found[0][0], rest.partition(found[0][0])[2].strip(), found[0][1])
            return
        for word, number in found:
            if match := ASSIGNED.fullmatch(word):
                self.set(match[1], match[2], number)

    def set(self, name: str, written: str, line: int) -> None:
        value = unquoted(written, self.known)
        self.known.pop(name, None)
        if value is not None:
            self.known[name] = value
        self.settings.append(Setting(name, value, line, How.EXPORT, (self.stage,), SPAN * line))

    def command(self, keyword: str, rest: str, line: int) -> None:
        flags = FLAGS.match(rest)
        command = rest[flags.end() :] if flags else rest
        line += rest.count("\n", 0, len(rest) - len(command))
        text = f"sh {command}" if command.startswith("<<") else _executed(command)
        part = placed(shell_script(text, self.source, line), (self.stage, -line), line)
        self.parts.append(part._replace(ended=_ended(part) if keyword == "RUN" else ()))


def _used(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\$\{?(\w+)", text))


def _executed(command: str) -> str:
    """Return the exec form's words as a shell has them, and what is no such form as it stands."""
    if not command.startswith("["):
        return command
    try:
        found = json.loads(command.replace("\\\n", "\n"))
    except (ValueError, RecursionError):
        return command
    return shlex.join(found) if isinstance(found, list) and all(isinstance(one, str) for one in found) else ""


def _ended(part: Script) -> tuple[Setting, ...]:
    """Return what a shell exports and ends with, as it starts nothing behind it."""
    last = max((launch.order for launch in part.launches), default=-1)
    told = part.used | {one.name for one in part.lost}
    exported = (one for one in part.settings if one.how is How.EXPORT and one.name not in told)
    return tuple(one for one in exported if one.order > last)
