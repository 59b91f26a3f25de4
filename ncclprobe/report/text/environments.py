"""What people read of a sweep's environments: what each combination of variables gives over all sizes."""

from __future__ import annotations

from collections.abc import Mapping

from tabulate import tabulate

from ncclprobe.records.sweep import EnvironmentResult, EnvironmentStatus, SweepDocument, environment_label

MOST_ROWS = 10
"""Environments that are shown, the best first; the document has all of them."""


def environment_key(env: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return what an environment is known by."""
    return tuple(sorted(env.items()))


def environment_numbers(document: SweepDocument) -> dict[tuple[tuple[str, str], ...], int]:
    """Return the numbers that stand for environments in a table, 0 for the one that all are compared with."""
    return {environment_key(one.env): number for number, one in enumerate(document.environments)}


def chosen_environment(document: SweepDocument) -> dict[str, str]:
    """Return the variables of the environment that was chosen, empty where that is the one that is there."""
    chosen = (one.env for one in document.environments if one.status is EnvironmentStatus.CHOSEN)
    return next(chosen, {})


def environments_text(document: SweepDocument) -> str:
    """Return a row for each environment with its number, the best first; empty without any."""
    if not document.environments:
        return ""
    numbers = environment_numbers(document)
    best = sorted(document.environments, key=lambda one: -(one.ratio or 0.0))
    rows = [_row(one, numbers[environment_key(one.env)]) for one in best[:MOST_ROWS]]
    table = tabulate(
        rows,
        headers=("", "environment", "all sizes", "rounds", ""),
        disable_numparse=True,
        colalign=("right", "left", "right", "right", "left"),
    )
    left = len(best) - len(rows)
    return f"{table}\n... and {left} more in the document" if left else table


def _row(one: EnvironmentResult, number: int) -> tuple[str, ...]:
    ratio = f"{one.ratio:.3f}" if one.ratio is not None else "-"
    return f"[{number}]", environment_label(environment_key(one.env)), ratio, str(one.rounds), one.status.value
