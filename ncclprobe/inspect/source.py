"""What a reader is given, and what it gives back."""

from __future__ import annotations

import functools
import json
import re
from typing import Any

import msgspec

from ncclprobe.captured import Line, clean
from ncclprobe.decoding import any_json
from ncclprobe.findings import Finding
from ncclprobe.records.base import Record
from ncclprobe.records.inspect import Inspected


class Reading(Record, frozen=True, kw_only=True):
    """What one reader found in one file."""

    documents: tuple[Inspected, ...]
    """All of the reader's kind."""
    findings: tuple[Finding, ...] = ()
    """What is worth knowing beyond them."""


_NCCL = ("NCCL INFO", "NCCL WARN", "NCCL TRACE")
_OPEN_ROW = re.compile(
    r"(?<![\w.])\d{1,18}\s{1,40}\d{1,18}\s{1,40}[a-z]\w{1,15}(?:\s{1,40}[a-z]{1,15})?(?:\s{1,40}-1|\s{1,40}\d{1,4}(?=\s))?"
)
"""The start of an nccl-tests row, into which NCCL's first messages burst before its times are known."""
_OPEN_HALF = re.compile(r"(?<![\w.])\d[\d.]{0,12}(?:\s{1,40}\d{1,7}\.\d\d){2}\s{1,40}(?:0|N/A)(?=[\[A-Za-z])")
"""Its times out of place, into which those burst that come before the times in place."""


_LONGEST = 8000
_JSON_START = re.compile(r"\{\s{0,80}\"|\[\s{0,80}\{")


class Source:
    """A file's text, cleaned at most once for all readers."""

    def __init__(self, name: str, text: str) -> None:
        self.name, self.text = name, text

    @functools.cached_property
    def json(self) -> Any:
        """Return the JSON document that the text is, or that other lines surround; None where there is none."""
        found = _decoded(self.text.strip().removeprefix("\ufeff"))
        if found is not None:
            return found
        text = "\n".join(line.text for line in self.whole_lines)
        start = _JSON_START.search(text)
        return _first_document(text, start.start()) if start else None

    @functools.cached_property
    def lines(self) -> list[Line]:
        """Return the lines without launchers' prefixes and without NCCL's own, which only its log's reader wants.

        Nobody's table is wider than ``_LONGEST`` characters: what follows is cut, so that no search takes long.
        """
        return [
            line if len(line.text) <= _LONGEST else msgspec.structs.replace(line, text=line.text[:_LONGEST])
            for line in self.whole_lines
        ]

    @functools.cached_property
    def whole_lines(self) -> list[Line]:
        """Return the same lines, uncut: a line of JSON may be as long as it likes."""
        if not any(mark in self.text for mark in _NCCL):
            return clean(self.text)
        return clean("\n".join(_foreign(line) for line in self.text.split("\n")))


def _decoded(text: str) -> Any:
    if not text.startswith(("{", "[")):
        return None
    try:
        return any_json(text)
    except ValueError:
        return None


def _first_document(text: str, start: int) -> Any:
    """Return the document that begins there, None where it is broken or another follows: JSON Lines are none."""
    try:
        document, end = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    return None if _JSON_START.search(text, end) else document


def _foreign(line: str) -> str:
    """Return what of a line is another program's."""
    if not any(mark in line for mark in _NCCL):
        return line
    started = _OPEN_HALF.search(line) or _OPEN_ROW.search(line)
    return line[: started.end()] if started else ""
