"""Folded sets of node names: ``dgx[001-004,007]`` is five names.

Source: the notation that Slurm 24.05 (``scontrol show hostnames``) and ClusterShell 1.9 (NodeSet) share; steps
(``[0-8/2]``) are ClusterShell's.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ncclprobe.decoding import whole_number
from ncclprobe.errors import UsageError

LIMIT = 100_000
"""Names that one set may have: a typing error such as ``n[1-999999999]`` is no fleet."""

LONGEST = 255
"""Characters of a name. Source: POSIX, HOST_NAME_MAX of Linux is 64, a full domain name has 253 (RFC 1035)."""

_NAME = re.compile(r"\w[\w.:@%+/-]*")
_PIECE = re.compile(r"\[([^\[\]]*)\]|([^\[\]]+)")
_DIGITS = re.compile(r"([0-9]+)")
_RANGE = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18})(?:/([0-9]{1,18}))?)?")
_NUMBERED = re.compile(r"(.*?)([0-9]{1,18})([^0-9]*)", re.DOTALL)


def expand(text: str) -> tuple[str, ...]:
    """Return the names that a folded set means, in the order written and each once.

    Args:
        text: Sets separated by commas or blanks: ``dgx[001-004,007],login1``.

    Raises:
        UsageError: The text is empty or no such set.
    """
    words = [_pieces(word, text) for word in _words(text)]
    if not words:
        raise UsageError(f"{text!r} names no node; write a set such as dgx[001-004,007]")
    if sum(map(_count, words)) > LIMIT:
        raise UsageError(f"{text!r} has more than {LIMIT} names; is a range mistyped?")
    return tuple(dict.fromkeys(_checked(name) for pieces in words for name in _names(pieces)))


def is_name(text: str) -> bool:
    """Return whether a text can be a node's name: nothing that a shell or a launcher would take for something else."""
    return len(text) <= LONGEST and _NAME.fullmatch(text) is not None


def _checked(name: str) -> str:
    if not is_name(name):
        shown = f"{name[:40]!r}{'…' if len(name) > 40 else ''}"
        raise UsageError(
            f"{shown} is no node's name: at most {LONGEST} letters, digits and any of . _ - : @ % + /, none of "
            "these at its start"
        )
    return name


def fold(names: Iterable[str]) -> str:
    """Return the shortest usual set for some names, in natural order: ``dgx[001-004,007]``; empty for no name."""
    plain: list[str] = []
    numbered: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in dict.fromkeys(names):
        match = _NUMBERED.fullmatch(name)
        if match:
            numbered[match[1], match[3]].append(match[2])
        else:
            plain.append(name)
    folded = plain + [
        f"{prefix}{_bracket(numbers)}{suffix}"
        for (prefix, suffix), digits in numbered.items()
        for numbers in _by_width(digits)
    ]
    return ",".join(sorted(folded, key=natural_key))


def natural_key(name: str) -> tuple[tuple[int, str], ...]:
    """Return a sort key by which ``mlx5_2`` comes before ``mlx5_10``."""
    parts = ((whole_number(part), part) for part in _DIGITS.split(name) if part)
    return tuple((-1, part) if number is None else (number, "") for number, part in parts)


def _words(text: str) -> Iterator[str]:
    """Yield what stands between the commas and blanks outside brackets."""
    yield from (word for word in re.findall(r"(?:[^\s,\[\]]|\[[^\[\]]*\]|[\[\]])+", text) if word)


def _pieces(word: str, text: str) -> list[str | list[_Numbers]]:
    """Return a word's pieces in order: plain text, or the ranges of a bracket."""
    pieces = list(_PIECE.finditer(word))
    if sum(len(piece[0]) for piece in pieces) != len(word):
        raise UsageError(f"a bracket in {text!r} is not closed or not opened; write a set such as dgx[001-004,007]")
    return [piece[2] or [_numbers(part.strip(), text) for part in piece[1].split(",")] for piece in pieces]


class _Numbers(NamedTuple):
    """One range of a bracket."""

    values: range
    width: int
    """Digits that are written at least."""


def _numbers(part: str, text: str) -> _Numbers:
    match = _RANGE.fullmatch(part)
    low, high, step = (match[1], match[2] or match[1], int(match[3] or 1)) if match else ("", "", 1)
    if not match or int(high) < int(low) or step < 1:
        raise UsageError(f"{part!r} in {text!r} is no range; write LOW-HIGH, such as 001-004")
    values = range(int(low), int(high) + 1, step)
    if len(values) > LIMIT:
        raise UsageError(f"{part!r} in {text!r} has more than {LIMIT} names; is it mistyped?")
    return _Numbers(values, len(low))


def _count(pieces: list[str | list[_Numbers]]) -> int:
    """Return how many names the pieces of a word mean, before any of them is made."""
    return math.prod(sum(len(one.values) for one in piece) for piece in pieces if not isinstance(piece, str))


def _names(pieces: list[str | list[_Numbers]]) -> Iterator[str]:
    """Yield each name that the pieces of a word mean."""
    alternatives = [[piece] if isinstance(piece, str) else list(_written(piece)) for piece in pieces]
    yield from ("".join(parts) for parts in itertools.product(*alternatives))


def _written(ranges: list[_Numbers]) -> Iterator[str]:
    yield from (f"{number:0{one.width}d}" for one in ranges for number in one.values)


def _by_width(digits: list[str]) -> Iterator[list[str]]:
    """Yield the numbers in groups that one bracket can write: padded ones by their width, all others together."""
    padded = {len(number) for number in digits if number[0] == "0" and len(number) > 1}
    groups: dict[int, list[str]] = defaultdict(list)
    for number in digits:
        groups[len(number) if len(number) in padded else 0].append(number)
    yield from groups.values()


def _bracket(numbers: list[str]) -> str:
    """Return ``[001-004,007]``, or the bare number where there is one."""
    ordered = sorted(numbers, key=int)
    if len(ordered) == 1:
        return ordered[0]
    runs: list[list[str]] = []
    for number in ordered:
        if runs and int(number) == int(runs[-1][-1]) + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return "[" + ",".join(run[0] if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs) + "]"
