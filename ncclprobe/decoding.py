"""JSON and TOML that others may have written: whatever is wrong with it, one error says so.

The decoders raise errors of several kinds for text that is no UTF-8, nests too deep or holds a number of thousands of
digits. Here all of these are the decoder's own error, which callers already turn into ours.

Source: msgspec 0.20, Python 3.11 (``sys.set_int_max_str_digits``, ``RecursionError``)
"""

from __future__ import annotations

import json
import os
import tomllib
from typing import Any, TypeVar

import msgspec

Kind = TypeVar("Kind")
SMALLEST, LARGEST = 1e-100, 1e100
"""Of numbers that are read: nothing that a program measures lies beyond, and their products and ratios are finite."""
LONGEST_NUMBER = 18
"""Digits of a whole number that is read: as many as fit into 64 bits whatever they are."""


def from_json(content: bytes | str, kind: type[Kind]) -> Kind:
    """Return a JSON text as a record.

    Raises:
        msgspec.DecodeError: It is none, or has a number that no program of ours writes; ``msgspec.ValidationError``
            where it is JSON of another kind.
    """
    try:
        found = msgspec.json.decode(content)
        if (number := _out_of_range(found)) is not None:
            raise msgspec.DecodeError(f"{str(number)[:40]} is too large a number")
        return msgspec.convert(found, kind, str_keys=True)
    except (UnicodeError, RecursionError) as problem:
        raise msgspec.DecodeError(_why(problem)) from problem


def readable(text: str) -> str:
    """Return a text of the system's as UTF-8 can hold it; what is none of its characters is replaced.

    Source: PEP 383 (Python decodes such bytes of arguments and variables to surrogates)
    """
    return os.fsencode(text).decode("utf-8", "replace")


def _out_of_range(found: Any) -> int | float | None:
    """Return a number that calculations would fail with: a whole one of over 64 bits, another over LARGEST."""
    left = [found]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            left.extend(one.values())
        elif isinstance(one, list):
            left.extend(one)
        elif (isinstance(one, int) and not -(1 << 63) <= one < 1 << 64) or (
            isinstance(one, float) and abs(one) > LARGEST
        ):
            return one
    return None


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


def finite(value: object) -> float | None:
    """Return the number that a number or a text is, None for nan, for over LARGEST, and for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) <= LARGEST else None


def is_measured(value: float) -> bool:
    """Return whether a value can be a time, a rate or a ratio: over 0, so that it has a logarithm, and divides."""
    return SMALLEST <= value <= LARGEST


def whole_number(text: str) -> int | None:
    """Return the number that ASCII digits write, None for anything else: ``²`` and ``٣`` are digits to Python."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER else None
