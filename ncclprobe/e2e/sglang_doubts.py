"""What is doubtful about how SGLang's trials ran: another NCCL, traffic past NCCL, variables that were lost."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from ncclprobe.e2e.evidence import SAYS_CHOICES
from ncclprobe.e2e.sglang_command import has, requests_of
from ncclprobe.e2e.sweep_environment import sweep_doubts
from ncclprobe.findings import Finding, info, warning
from ncclprobe.records.e2e import Arm, ArmSettings, Layout, SglangOptions, Trial, TrialStatus
from ncclprobe.records.in_force import Change, InForce, Traffic
from ncclprobe.records.inspect import TunerRow
from ncclprobe.units import format_size

THROUGH_NCCL = ("--disable-custom-all-reduce", "--enforce-disable-flashinfer-allreduce-fusion")
"""Options that send a tensor-parallel model's all-reduces through NCCL.

Source: SGLang 0.5.17, srt/distributed/parallel_state.py, srt/arg_groups/overrides.py
"""
PAST_NCCL = ("--enable-mscclpp", "--enable-torch-symm-mem", "--enable-symm-mem", "--enable-quant-communications")
"""Options that send some of them elsewhere, or through kernels without algorithm and protocol. Source: likewise."""
SERVED = ("successful_requests", "completed")
"""SGLang's names for the requests that were served. Source: SGLang 0.5.17, benchmark/offline_throughput.py,
benchmark/serving.py."""


def doubts(trials: Sequence[Trial], arms: Mapping[str, ArmSettings], options: SglangOptions) -> tuple[Finding, ...]:
    """Return the findings over all trials: each kind once an arm, and what is alike together.

    Args:
        trials: In order.
        arms: All, by name.
        options: How SGLang was run.
    """
    first: dict[tuple[str, str], Finding] = {}
    for trial in trials:
        in_force = seen_in(trial)
        if in_force is not None:
            for finding in _of_trial(trial, in_force, arms[trial.arm], options):
                first.setdefault((finding.code, trial.arm), finding)
    alike: dict[tuple[str, str], tuple[Finding, list[str]]] = {}
    for (code, arm), finding in first.items():
        alike.setdefault((code, finding.message), (finding, []))[1].append(arm)
    return tuple(msgspec.structs.replace(one, subject=_subject(named, arms)) for one, named in alike.values())


def _subject(named: Iterable[str], arms: Mapping[str, ArmSettings]) -> str:
    """Return the arms' names, the workload's where they are all."""
    return "sglang" if set(named) == set(arms) else ", ".join(named)


def seen_in(trial: Trial) -> InForce | None:
    """Return what was in force in a trial, None where it did not get so far."""
    content = trial.effective.get("in_force")
    return None if content is None else msgspec.convert(content, InForce)


def _of_trial(trial: Trial, in_force: InForce, arm: ArmSettings, options: SglangOptions) -> Iterator[Finding]:
    yield from _version(in_force, options)
    yield from _variables(trial.arm, in_force)
    if trial.status is TrialStatus.FAILED:
        return
    yield from _requests(trial, options)
    if trial.arm.partition("+")[0] == Arm.CANDIDATE:
        yield from sweep_doubts(trial, in_force, arm.env, options)
    if in_force.traffic is not None and in_force.traffic.seen < in_force.traffic.expected:
        yield _bypassed(trial.arm, in_force.traffic, options)
    if arm.table and in_force.recorded:
        yield from _table(trial.arm, in_force, arm)
    if (arm.layout or Layout()).tp > 1 and (not in_force.logs or in_force.source is None) and in_force.traffic is None:
        yield _unknown(trial.arm, in_force)


def _version(in_force: InForce, options: SglangOptions) -> Iterator[Finding]:
    measured = re.fullmatch(r"NCCL (\d+\.\d+\.\d+)\D?.*", options.measured_with)
    if measured and in_force.version and measured[1] != in_force.version:
        where = f" It loads {', '.join(in_force.libraries)}." if in_force.libraries else ""
        yield warning(
            "nccl-version-differs",
            "sglang",
            f"SGLang ran with NCCL {in_force.version}, but the candidate's settings were measured with NCCL "
            f"{measured[1]}.",
            f"Sweep with the library that SGLang loads: the best settings differ between releases.{where}",
        )


def _requests(trial: Trial, options: SglangOptions) -> Iterator[Finding]:
    asked = requests_of(options)
    runs = trial.repeats or (trial.metrics,)
    served = min((run[name] for run in runs for name in SERVED if name in run), default=None)
    if asked is not None and served is not None and served < asked:
        yield warning(
            "fewer-requests",
            trial.arm,
            f"{served:.0f} requests were served, and --num-prompts asks for {asked}.",
            "A trial is shorter than it was meant to be. SGLang takes no more prompts than the dataset has, and leaves "
            "out those that are too long: name a larger --dataset-path. A server's requests may have failed, too: see "
            "the output in trials/.",
        )


def _variables(arm: str, in_force: InForce) -> Iterator[Finding]:
    lost = [one for one in in_force.variables if one.change is not Change.ADDED]
    added = [one for one in in_force.variables if one.change is Change.ADDED]
    if lost:
        what = ", ".join(f"{one.name}={one.wanted} is {_shown(one.seen)}" for one in lost)
        yield warning(
            "env-rewritten",
            arm,
            f"Variables did not reach NCCL as they were set: {what}.",
            "SGLang rewrites some at its start, and a launcher may drop all that it is not told to pass on.",
        )
    if added:
        what = ", ".join(f"{one.name}={one.seen}" for one in added)
        yield info(
            "env-added",
            arm,
            f"Variables that nobody asked for were in force: {what}.",
            "SGLang, the launcher or an nccl.conf set them; a sweep is comparable only with the same.",
        )


def _shown(seen: str | None) -> str:
    return "not set" if seen is None else repr(seen)


def _bypassed(arm: str, traffic: Traffic, options: SglangOptions) -> Finding:
    missing = [flag for flag in THROUGH_NCCL if not has(options.arguments, flag)]
    others = [flag for flag in PAST_NCCL if has(options.arguments, flag)]
    size = "" if traffic.token_bytes is None else f" of whole tokens ({format_size(traffic.token_bytes)} each)"
    way = f"Add {' '.join(missing)}" if missing else "Leave out what sends all-reduces elsewhere"
    way += f"; leave out {' '.join(others)}" if others and missing else f": {' '.join(others)}" if others else ""
    return warning(
        "nccl-bypassed",
        arm,
        f"NCCL saw {traffic.seen} all-reduces{size} of up to {format_size(traffic.up_to_bytes)}, and a single forward "
        f"pass has at least {traffic.expected}: SGLang's own all-reduce carries them, which no NCCL setting reaches.",
        f"{way} to send them through NCCL. That may cost more than tuning gains: compare without, too.",
    )


def _table(arm: str, in_force: InForce, settings: ArmSettings) -> Iterator[Finding]:
    """Yield where the arm's table says nothing about what ran, or asks for what NCCL cannot run."""
    if not in_force.tabled:
        yield warning(
            "table-not-exercised",
            arm,
            f"No row of the table matched any operation, so NCCL chose by itself. The table is for "
            f"{_meant(settings.table)}; there were {_seen(in_force, settings.table)}.",
            "Sweep with as many ranks and nodes as the model is spread over, and over the sizes that it sends.",
        )
    if in_force.refused:
        yield warning(
            "tuner-refused",
            arm,
            f"{in_force.refused} operations of a rank had a setting in the table that NCCL cannot run, so its own "
            "choice stood.",
            "Sweep again with this NCCL and this number of ranks and nodes, and use the table that follows.",
        )


def _meant(table: Sequence[TunerRow]) -> str:
    """Return which operations a table is for."""
    shapes = sorted({(row.nranks, row.nnodes) for row in table}, key=str)
    meant = ", ".join(f"{ranks or 'any'} ranks on {nodes or 'any'} nodes" for ranks, nodes in shapes)
    return f"{_sizes(table)} between {meant}"


def _seen(in_force: InForce, table: Sequence[TunerRow]) -> str:
    """Return which of the same collectives ran."""
    where = f"between {in_force.nranks or '?'} ranks on {in_force.nnodes or '?'} nodes"
    words = []
    for name in dict.fromkeys(row.collective for row in table):
        spans = [span for span in in_force.spans if span.collective == name]
        low, high = min((s.min_bytes for s in spans), default=0), max((s.max_bytes for s in spans), default=0)
        count = sum(span.sizes for span in spans)
        words.append(
            f"{name} of {count} sizes from {format_size(low)} to {format_size(high)}" if spans else f"no {name}"
        )
    return f"{'; '.join(words)} {where}"


def _sizes(rows: Iterable[TunerRow]) -> str:
    """Return what rows are for in a few words: ``all_reduce of 2M, 128M to 1G``."""
    by_name: dict[str, list[str]] = {}
    for row in rows:
        ends = dict.fromkeys((format_size(row.min_bytes), format_size(row.max_bytes)))
        by_name.setdefault(row.collective, []).append(" to ".join(ends))
    return "; ".join(f"{name} of {', '.join(dict.fromkeys(words))}" for name, words in by_name.items())


def _unknown(arm: str, in_force: InForce) -> Finding:
    why = (
        f"NCCL {in_force.version} logs no choices (since {'.'.join(map(str, SAYS_CHOICES))} it does), and the tuner "
        "plugin left no record"
        if in_force.logs
        else "there is no log of NCCL and no record of the tuner plugin"
    )
    return warning(
        "in-force-unknown",
        arm,
        f"Nothing shows what NCCL ran: {why}.",
        "Let NCCL_DEBUG and NCCL_DEBUG_FILE be, and see that the run directory is visible where SGLang runs, in a "
        "container, too.",
    )
