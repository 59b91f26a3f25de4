"""What a job is to set: from the documents of scan and sweep to ordered variables, each with its reason."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ncclprobe.errors import UsageError
from ncclprobe.names import MORE_CHANNELS
from ncclprobe.records.base import EnvVariable, Record
from ncclprobe.records.inspect import TunerRow
from ncclprobe.records.scan import ScanDocument
from ncclprobe.records.sweep import EnvironmentStatus, SweepDocument, Verdict, environment_label
from ncclprobe.records.tune import TuneDocument
from ncclprobe.tuner.table import sweep_rows

_ALGORITHM = re.compile(r"^NCCL_(ALGO|PROTO)$|_ALGORITHM$", re.IGNORECASE)
"""Variables with which a sweep's choice is said where no table is needed."""


class Settings(Record, frozen=True, kw_only=True):
    """What one or several runs recommend."""

    sources: tuple[str, ...]
    """The runs, as they were named."""
    variables: tuple[EnvVariable, ...] = ()
    """Each name once, in the order in which they are set."""
    rows: tuple[TunerRow, ...] = ()
    """The choice by message size; empty where there is none."""
    table_only: bool = False
    """Whether the variables do not say what the table says."""
    notes: tuple[str, ...] = ()
    """Sentences for people: why nothing is set, what a variable cannot say."""


def scan_settings(document: ScanDocument, source: str) -> Settings:
    """Return what a scan recommends."""
    notes = () if document.env else (f"{source}: the scan found no grounds to set a variable.",)
    return Settings(sources=(source,), variables=document.env, notes=notes)


def sweep_settings(document: SweepDocument, source: str) -> Settings:
    """Return what a sweep chose: variables where they can say it, and the table by size."""
    choice = document.choice
    if choice.verdict is Verdict.KEEP_DEFAULTS:
        return Settings(sources=(source,), notes=(f"{source}: keep the defaults; no setting beat them clearly.",))
    gain = choice.gain
    measured = (
        f"Measured with {document.library} on {document.nranks} ranks: {gain.ratio:.3f} times the defaults' speed "
        f"(95 %: {gain.low:.3f} to {gain.high:.3f})."
    )
    own = next((one.env for one in document.environments if one.status is EnvironmentStatus.CHOSEN), {})
    said = bool(set(choice.env) - set(own) - {MORE_CHANNELS} or (own and not choice.table))
    label = environment_label(tuple(own.items()))
    beside = f", measured with {label}, which is to be set beside the table" if own else ""
    if more := choice.env.get(MORE_CHANNELS):
        beside += f", for which a job has to set {MORE_CHANNELS}={more}"
    return Settings(
        sources=(source,),
        variables=tuple(EnvVariable(name=name, value=value, reason=measured) for name, value in choice.env.items()),
        rows=sweep_rows(document),
        table_only=not said,
        notes=() if said else (f"{source}: a choice by message size{beside}. {measured}",),
    )


def tune_settings(document: TuneDocument, source: str) -> Settings:
    """Return what a whole run recommends: a sweep's choice that the workload spoke against is not in it."""
    said = any(_ALGORITHM.search(variable.name) for variable in document.env)
    return Settings(
        sources=(source,),
        variables=document.env,
        rows=document.table,
        table_only=bool(document.table) and not said,
        notes=() if said else (f"{source}: {document.verdict}",),
    )


def merged(parts: Sequence[Settings]) -> Settings:
    """Return what several runs recommend together, each variable and row once.

    Raises:
        UsageError: Two runs contradict each other; the message names both.
    """
    variables: dict[str, tuple[EnvVariable, str]] = {}
    rows: dict[TunerRow, str] = {}
    for part in parts:
        source = ", ".join(part.sources)
        for variable in part.variables:
            _add_variable(variables, variable, source)
        for row in part.rows:
            _add_row(rows, row, source)
    return Settings(
        sources=tuple(source for part in parts for source in part.sources),
        variables=tuple(variable for variable, _ in variables.values()),
        rows=tuple(rows),
        table_only=any(part.table_only for part in parts),
        notes=tuple(note for part in parts for note in part.notes),
    )


def _add_variable(seen: dict[str, tuple[EnvVariable, str]], variable: EnvVariable, source: str) -> None:
    first, where = seen.setdefault(variable.name, (variable, source))
    if first.value != variable.value:
        raise UsageError(
            f"{where} sets {variable.name} to {first.value!r}, {source} to {variable.value!r}; emit one of them alone"
        )


def _add_row(seen: dict[TunerRow, str], row: TunerRow, source: str) -> None:
    for other, where in seen.items():
        if _overlap(row, other) and _setting(row) != _setting(other):
            raise UsageError(
                f"{where} and {source} choose differently for {row.collective} of {row.min_bytes} to {row.max_bytes} "
                f"bytes: {'/'.join(_setting(other)[:2])} and {'/'.join(_setting(row)[:2])}; emit one of them alone"
            )
    seen.setdefault(row, source)


def _overlap(row: TunerRow, other: TunerRow) -> bool:
    """Return whether an operation can match both rows."""
    sizes = row.min_bytes <= other.max_bytes and other.min_bytes <= row.max_bytes
    shapes = ((row.nnodes, other.nnodes), (row.nranks, other.nranks))
    return sizes and row.collective == other.collective and all(None in pair or pair[0] == pair[1] for pair in shapes)


def _setting(row: TunerRow) -> tuple[str, str, str]:
    return (row.algo, row.proto, str(row.nchannels))
