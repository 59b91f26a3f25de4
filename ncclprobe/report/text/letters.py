"""Letters that stand for runs where several are shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def letter(number: int) -> str:
    """Return what stands for the n-th run, from 0: ``A``, …, ``Z``, ``run 27``."""
    return chr(ord("A") + number) if number < 26 else f"run {number + 1}"


def letters(sources: Iterable[str]) -> dict[str, str]:
    """Return each run's letter; none where a run stands alone."""
    names = list(dict.fromkeys(sources))
    return {name: letter(number) for number, name in enumerate(names)} if len(names) > 1 else {}


def mark(runs: Iterable[str], known: Mapping[str, str]) -> str:
    """Return ``[A, C]`` for the runs that something is true of; empty where a run stands alone."""
    found = [known[run] for run in runs if run in known]
    return f"[{', '.join(found)}]" if found else ""
