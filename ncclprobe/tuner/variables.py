"""The variables that NCCL and SGLang know, and the nearest real name to one that neither does."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable

from ncclprobe.records.base import Record

OLDEST, NEWEST = "2.18", "2.32"
"""The versions of NCCL that the table covers."""
NEAR = 0.75
"""Least similarity (difflib's ratio) of a name that is proposed."""
MISSPELT = 0.82
"""From which similarity on an unknown name is taken for a misspelling."""


class Variable(Record, frozen=True, kw_only=True):
    """A variable of NCCL's, a row of nccl_variables.csv."""

    name: str
    """Such as ``NCCL_IB_HCA``."""
    type: str
    """``bool``, ``switch`` (words too), ``int``, ``enum``, ``level`` (a distance), ``list``, ``subsys``, ``algo``,
    ``proto``, ``hca``, ``ifname``, ``path`` or ``text``."""
    values: str
    """``0..31``, ``1..``, or words with commas; empty where nothing is documented."""
    default: str
    """Empty where there is none, or where it depends on the system."""
    since: str
    """The first release whose sources have it; empty for older than 2.3.5."""
    until: str
    """The last release with it; empty for the newest known."""
    read: str
    """``process``: once, kept; ``communicator``: again for each one."""
    documented: str
    """``yes``, or ``no`` for a name of the sources alone."""
    source: str
    """The file of NCCL's sources that reads it; empty where only the library was seen."""
    replaced_by: str
    """The name that has its place today."""
    about: str
    """What it does."""


class SglangName(Record, frozen=True, kw_only=True):
    """A variable of SGLang's, a row of sglang_variables.csv."""

    name: str
    since: str
    """The first of the compared releases that has it."""
    until: str
    """The last one; empty for the newest."""


class Catalog(Record, frozen=True, kw_only=True):
    """All known names."""

    nccl: dict[str, Variable]
    sglang: dict[str, SglangName]


@functools.cache
def release(version: str) -> tuple[int, ...]:
    """Return ``2.27.3`` as numbers; letters end it."""
    numbers = []
    for part in version.split("."):
        if not (part.isascii() and part.isdigit() and len(part) < 10):
            break
        numbers.append(int(part))
    return tuple(numbers)


def is_sglang(name: str) -> bool:
    """Return whether a name has one of SGLang's prefixes."""
    return name.startswith(("SGLANG_", "SGL_"))


def known_to_sglang(name: str, catalog: Catalog) -> bool:
    """Return whether SGLang reads a name; from 0.5.4 on it takes SGL_ for SGLANG_."""
    return name in catalog.sglang or (name.startswith("SGL_") and f"SGLANG_{name[4:]}" in catalog.sglang)


def nearest(name: str, names: Iterable[str], most: int = 3) -> tuple[str, ...]:
    """Return the names most like one, the most similar first; prefixes do not count.

    Args:
        name: That nobody knows.
        names: That are known.
        most: How many.
    """
    stems: dict[str, str] = {}
    for known in sorted(names):  # SGLANG_ before SGL_: the newer spelling is proposed
        stems.setdefault(stem(known), known)
    short = stem(name)
    close = difflib.get_close_matches(short, list(stems), n=most, cutoff=NEAR)
    longer = [one for one in stems if one.startswith(f"{short}_") or (len(one) > 3 and short.startswith(one))]
    return tuple(stems[one] for one in dict.fromkeys((*close, *longer)))[:most]


def misspells(name: str, known: str) -> bool:
    """Return whether a name is so like a known one that it must be meant."""
    return difflib.SequenceMatcher(None, stem(name), stem(known)).ratio() >= MISSPELT


@functools.cache
def stem(name: str) -> str:
    """Return a name without its prefix."""
    for prefix in ("SGLANG_", "SGL_", "NCCL_"):
        if name.startswith(prefix):
            return name[len(prefix) :]
    return name
