"""JSON and TOML that others may have written: whatever is wrong with it, one error says so.

The decoders raise errors of several kinds for text that is no UTF-8, nests too deep or holds a number of thousands of
digits. Here all of these are the decoder's own error, which callers already turn into ours.

Source: msgspec 0.20, Python 3.11 (``sys.set_int_max_str_digits``, ``RecursionError``)
"""

from __future__ import annotations

import json
import tomllib
from typing import Any, TypeVar

import msgspec

Kind = TypeVar("Kind")
LONGEST_NUMBER = 18
"""Digits of a whole number that is read: as many as fit into 64 bits whatever they are."""


def from_json(content: bytes | str, kind: type[Kind]) -> Kind:
    """Return a JSON text as a record.

    Raises:
        msgspec.DecodeError: It is none; ``msgspec.ValidationError`` where it is JSON of another kind.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except (UnicodeError, RecursionError) as problem:
        raise msgspec.DecodeError(_why(problem)) from problem


def any_json(text: str) -> Any:
    """Return a JSON text as Python's own values.

    Raises:
        ValueError: It is none.
    """
    try:
        return json.loads(text)
    except RecursionError as problem:
        raise ValueError(_why(problem)) from problem


def from_toml(text: str) -> dict[str, Any]:
    """Return a TOML text as Python's own values.

    Raises:
        tomllib.TOMLDecodeError: It is none.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except (ValueError, RecursionError) as problem:
        raise tomllib.TOMLDecodeError(_why(problem)) from problem


def _why(problem: Exception) -> str:
    return "it nests too deep" if isinstance(problem, RecursionError) else str(problem)


def whole_number(text: str) -> int | None:
    """Return the number that ASCII digits write, None for anything else: ``²`` and ``٣`` are digits to Python."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER else None
