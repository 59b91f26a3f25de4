"""From NCCL's logs, the tuner plugin's records and the processes' environments to what was in force.

Source: NCCL 2.28.9, src/enqueue.cc (``-> Algo`` lines, since 2.24, on rank 0 of each communicator), src/misc/param.cc
(``set by environment to``); SGLang 0.5.17, srt/distributed/device_communicators/custom_all_reduce.py (its own
all-reduce takes messages up to 8 MiB, newer variants larger ones).
"""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, TypeVar

from ncclprobe.names import Collective
from ncclprobe.records.in_force import Change, InForce, Process, Span, Traffic, Variable
from ncclprobe.records.inspect import NcclLog
from ncclprobe.records.tuner import AnswerSource, Recorded, RecordedAnswer

BYPASSED_UP_TO = 8 << 20
"""Bytes that SGLang's own all-reduce takes wherever it is on."""
LEAST_MESSAGE = 1024
"""Bytes; smaller ones are flags and counts, no activations."""
SAYS_CHOICES = (2, 24)
"""The first NCCL that logs what it chose."""
PLUGIN = "ncclprobe"
"""Our tuner plugin's name in NCCL's log."""
WATCHED = ("NCCL_", "NCCLPROBE_")
"""Prefixes of the variables of which all are followed."""
FOLLOWED = (*WATCHED, "CUDA_DEVICE_MAX_CONNECTIONS", "SGLANG_", "SGL_", "NVSHMEM_", "UCX_")
"""Prefixes of those that are followed where they were set; further ones that SGLang sets for itself don't matter."""
RESPELT = ("_LEVEL", "NCCL_LAUNCH_MODE", "NCCL_NET_MERGE_POLICY", "NCCL_CHECK_MODE")
"""Ends of names whose value NCCL logs in words of its own: ``4`` as ``PXB``. Source: NCCL 2.28.9, src/graph/paths.cc"""
TRACING = frozenset({"NCCL_DEBUG", "NCCL_DEBUG_FILE", "NCCL_DEBUG_SUBSYS", "NCCLPROBE_TUNER_RECORD"})
"""Set by ncclprobe to see what is in force."""
MOST_SPANS = 200
_T = TypeVar("_T")


class Evidence(NamedTuple):
    """What a trial left behind."""

    logs: tuple[NcclLog, ...]
    """One a process that used NCCL."""
    records: tuple[Recorded, ...]
    """One a process with our tuner plugin."""
    processes: tuple[Process, ...]
    """On this host, libnccl in them, the workload's workers alone."""


class Expected(NamedTuple):
    """The all-reduces that a model's forward pass makes."""

    token_bytes: int | None
    """What a token takes; None where unknown."""
    layers: int
    """The least number of all-reduces."""


class _Operation(NamedTuple):
    collective: str | None
    size: int
    setting: tuple[str | None, str | None, int | None]
    times: int


def in_force_of(
    evidence: Evidence, wanted: Mapping[str, str], named: Iterable[str], expected: Expected | None
) -> InForce:
    """Return what was in force.

    Args:
        evidence: What the trial left behind.
        wanted: The environment that the workload was started with.
        named: Variables that the arm sets.
        expected: The all-reduces to look for; None where the model needs none.
    """
    logs = evidence.logs
    source, operations = _operations(evidence)
    over_network = [log.gdr for log in logs if log.gdr is not None]
    return InForce(
        logs=len(logs),
        version=next((log.version for log in logs if log.version), None),
        libraries=_distinct(process.library for process in evidence.processes),
        nranks=max((log.nranks for log in logs if log.nranks), default=None),
        nnodes=max((log.nnodes for log in logs if log.nnodes), default=None),
        plugins=_distinct(plugin for log in logs for plugin in log.plugins),
        hcas=_distinct(hca for log in logs for hca in log.hcas),
        gdr=all(over_network) if over_network else None,
        transports=_summed(log.transports for log in logs),
        source=source,
        spans=tuple(itertools.islice(spans_of(operations), MOST_SPANS)),
        recorded=len(evidence.records),
        tabled=_most(evidence.records, lambda answer: answer.source is AnswerSource.TABLE),
        refused=_most(evidence.records, lambda answer: answer.refused is not None),
        variables=tuple(variables_of(evidence, wanted, named)),
        traffic=None if expected is None else _traffic(evidence, expected),
        errors=_distinct(failure.text[:300] for log in logs for failure in log.errors),
    )


def _distinct(values: Iterable[_T]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys(values))


def _summed(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: collections.Counter[str] = collections.Counter()
    for part in parts:
        total.update(part)
    return dict(total)


# ---- algorithm and protocol by size


def _operations(evidence: Evidence) -> tuple[str | None, list[_Operation]]:
    """Return what ran: by NCCL's log, which is proof, else by the record of what NCCL was told."""
    logged = [
        _Operation(one.collective, one.size_bytes, (one.algo, one.proto, one.nchannels), one.count)
        for log in evidence.logs
        for one in log.choices
    ]
    if logged:
        return "nccl-log", logged
    told = [
        _Operation(
            answer.collective, answer.size_bytes, (answer.algo, answer.proto, answer.nchannels), answer.operations
        )
        for record in evidence.records
        for answer in record.answers
    ]
    return ("tuner-record", told) if told else (None, [])


def spans_of(operations: Iterable[_Operation]) -> Iterator[Span]:
    """Yield neighbouring sizes that ran alike as one span, the smallest first."""
    counts: collections.Counter[tuple[str, int, tuple[str | None, str | None, int | None]]] = collections.Counter()
    for one in operations:
        counts[one.collective or "", one.size, one.setting] += one.times
    order = sorted(counts, key=lambda key: (key[0], key[1], str(key[2])))
    for (collective, setting), group in itertools.groupby(order, key=lambda key: (key[0], key[2])):
        keys = list(group)
        algo, proto, nchannels = setting
        yield Span(
            collective=collective or None,
            min_bytes=keys[0][1],
            max_bytes=keys[-1][1],
            sizes=len({key[1] for key in keys}),
            algo=algo,
            proto=proto,
            nchannels=nchannels,
            operations=sum(counts[key] for key in keys),
        )


# ---- whether NCCL carried the traffic


def _traffic(evidence: Evidence, expected: Expected) -> Traffic | None:
    seen = _seen(evidence, expected.token_bytes)
    if seen is None:
        return None
    return Traffic(token_bytes=expected.token_bytes, up_to_bytes=BYPASSED_UP_TO, expected=expected.layers, seen=seen)


def _seen(evidence: Evidence, token_bytes: int | None) -> int | None:
    """Return the all-reduces that one rank made, None where nothing would show them."""
    if evidence.records:
        return _most(
            evidence.records,
            lambda answer: (
                answer.collective == Collective.ALL_REDUCE and _is_activation(answer.size_bytes, token_bytes)
            ),
        )
    versions = [_version(log.version) for log in evidence.logs if log.version]
    if not versions or max(versions) < SAYS_CHOICES:
        return None
    choices = [one for log in evidence.logs for one in log.choices if one.collective == Collective.ALL_REDUCE]
    return sum(one.count for one in choices if _is_activation(one.size_bytes, token_bytes))


def _most(records: Iterable[Recorded], counts: Callable[[RecordedAnswer], bool]) -> int:
    """Return the operations of some kind on the rank that has the most."""
    totals = (sum(answer.operations for answer in record.answers if counts(answer)) for record in records)
    return max(totals, default=0)


def _is_activation(size: int, token_bytes: int | None) -> bool:
    whole = size >= LEAST_MESSAGE if token_bytes is None else size > 0 and size % token_bytes == 0
    return whole and size <= BYPASSED_UP_TO


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdecimal())


# ---- variables


def variables_of(evidence: Evidence, wanted: Mapping[str, str], named: Iterable[str]) -> Iterator[Variable]:
    """Yield the variables that some process saw otherwise than they were set, by name."""
    names = {*named, *(name for name in wanted if name.startswith(FOLLOWED))}
    names |= {name for log in evidence.logs for name in log.env if name.startswith(WATCHED)}
    names |= {name for process in evidence.processes for name in process.env or () if name.startswith(WATCHED)}
    for name in sorted(names - TRACING):
        sightings = _sightings(evidence, name)
        for seen, processes in collections.Counter(sightings).items():
            change = _change(wanted.get(name), seen)
            if change is not None:
                yield Variable(name=name, change=change, wanted=wanted.get(name), seen=seen, processes=processes)


def _sightings(evidence: Evidence, name: str) -> list[str | None]:
    """Return what each process saw: NCCL's log where it says so, else the environment; a log alone cannot say unset."""
    said = () if name.endswith(RESPELT) else evidence.logs
    logged: list[str | None] = [log.env[name] for log in said if name in log.env]
    return logged or [process.env.get(name) for process in evidence.processes if process.env is not None]


def _change(wanted: str | None, seen: str | None) -> Change | None:
    if _same(wanted, seen):
        return None
    if wanted is None:
        return Change.ADDED
    return Change.DROPPED if seen is None else Change.CHANGED


def _same(wanted: str | None, seen: str | None) -> bool:
    """Return whether two values are one: NCCL logs numbers as numbers, ``0x10`` as 16."""
    if wanted is None or seen is None:
        return wanted is seen
    try:
        return int(wanted, 0) == int(seen, 0)
    except ValueError:
        return wanted.strip() == seen.strip()


def not_in_force(in_force: InForce, named: Iterable[str], *, needs_plugin: bool) -> str:
    """Return which setting of an arm the workload did not run with; empty where nothing speaks against any.

    Args:
        in_force: What was seen.
        named: Variables that the arm sets.
        needs_plugin: Whether its choice by size reaches NCCL through the tuner plugin.
    """
    mine = set(named)
    for variable in in_force.variables:
        if variable.name in mine:
            seen = "is not set" if variable.seen is None else f"is {variable.seen!r}"
            return f"{variable.name} {seen} in {variable.processes} processes, not {variable.wanted!r}: not in force"
    loaded = in_force.recorded or any(
        plugin.kind == "tuner" and plugin.loaded and PLUGIN in plugin.name for plugin in in_force.plugins
    )
    if needs_plugin and in_force.logs and not loaded:
        return "NCCL did not load the tuner plugin, so the table was not in force: see the trial's nccl.* files"
    return ""
