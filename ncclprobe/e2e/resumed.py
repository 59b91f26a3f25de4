"""Whether the trials after a ``--resume`` inherited what those before it did."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ncclprobe.findings import Finding, warning
from ncclprobe.records.e2e import Changed, E2eOptions, Resumed

OF_A_JOB = ("SLURM_", "PBS_")
"""Prefixes of variables that number a job and its nodes: another allocation has others."""


def changes(options: E2eOptions, begun: Mapping[str, str], now: Mapping[str, str]) -> tuple[Changed, ...]:
    """Return the inherited variables that are not what they were, by name; what every arm sets is no matter.

    Args:
        options: Of the comparison.
        begun: What mattered of the environment at the start.
        now: Likewise, at this moment.
    """
    everywhere = set.intersection(*(set(arm.env) for arm in options.arms.values()))
    names = sorted({*begun, *now} - everywhere)
    found = (Changed(name=name, begun=begun.get(name), now=now.get(name)) for name in names)
    return tuple(one for one in found if one.begun != one.now and not one.name.startswith(OF_A_JOB))


def said(changed: Iterable[Changed]) -> str:
    """Return what changed, for a sentence."""
    return "; ".join(f"{one.name} was {_value(one.begun)}, and is {_value(one.now)}" for one in changed)


def _value(value: str | None) -> str:
    return "not set" if value is None else f"'{value}'"


def resumed_doubts(workload: str, lines: Sequence[Resumed]) -> Iterator[Finding]:
    """Yield where a comparison went on in another environment.

    Args:
        workload: Its name.
        lines: Of the journal, one a ``--resume`` that changed something.
    """
    if lines:
        found = dict.fromkeys(one for line in lines for one in line.changed)
        yield warning(
            "environment-changed",
            workload,
            f"From trial {lines[0].order + 1} on the arms inherited other variables than before: {said(found)}.",
            "The pairs are of several kinds: start again with another --out, or resume where the variables are set "
            "as at the start.",
        )
