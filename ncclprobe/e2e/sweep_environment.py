"""Whether a sweep measured with the variables that were in force in the trials: its best setting holds with these."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ncclprobe.e2e.evidence import TRACING
from ncclprobe.findings import Finding, warning
from ncclprobe.records.e2e import SglangOptions, Trial
from ncclprobe.records.in_force import InForce

PREFIX = "NCCL_"
BESIDE = TRACING | {"NCCL_TUNER_PLUGIN", "NCCL_VERSION"}
"""Not NCCL's behaviour: what makes it visible, our plugin, and the label of NVIDIA's container images."""
Difference = tuple[str, str | None, str | None]
"""Name, the sweep's value, the trials' value; None for not set."""


def sweep_doubts(trial: Trial, in_force: InForce, named: Iterable[str], options: SglangOptions) -> Iterator[Finding]:
    """Yield where the candidate's settings were found with other variables than a trial had.

    Args:
        trial: Of an arm with the candidate's settings.
        in_force: What was seen in it.
        named: Variables that the arm sets: the sweep's own choice among them.
        options: What is known of the sweep.
    """
    if options.measured_env is None:
        return
    found = differences(options.measured_env, environment_of(trial, in_force), named)
    if found:
        yield warning(
            "sweep-environment-differs",
            trial.arm,
            "The candidate's settings were found with other variables than SGLang ran with: "
            f"{'; '.join(map(_said, found))}.",
            f"What is best may differ with them: sweep again with the same, `{again(options.measured_argv, found)}`.",
        )


def environment_of(trial: Trial, in_force: InForce) -> dict[str, str | None]:
    """Return the variables that NCCL had in a trial: as they were set, corrected by what was seen."""
    wanted = trial.effective.get("env", {})
    return {**wanted, **{variable.name: variable.seen for variable in in_force.variables}}


def differences(
    sweep: Mapping[str, str], trials: Mapping[str, str | None], named: Iterable[str]
) -> tuple[Difference, ...]:
    """Return NCCL's variables that are not alike, by name.

    Args:
        sweep: As it was started.
        trials: As they ran.
        named: Left out.
    """
    names = {name for name in (*sweep, *trials) if name.startswith(PREFIX)} - BESIDE - set(named)
    both = ((name, sweep.get(name), trials.get(name)) for name in sorted(names))
    return tuple(one for one in both if one[1] != one[2])


def again(argv: Sequence[str], found: Iterable[Difference]) -> str:
    """Return the command that sweeps with the trials' variables.

    Args:
        argv: The first sweep's tokens, the program first; empty where unknown.
        found: What differed.
    """
    found = tuple(found)
    unset = [word for name, _, value in found if value is None for word in ("-u", name)]
    values = [f"{name}={shlex.quote(value)}" for name, _, value in found if value is not None]
    command = [shlex.quote(word) for word in _without_out(argv[1:])] or ["sweep"]
    return " ".join([*(["env", *unset] if unset else []), *values, "ncclprobe", *command])


def _without_out(words: Sequence[str]) -> Iterator[str]:
    """Yield a command's words but its run directory, which holds a run already."""
    skip = False
    for word in words:
        if not skip and word != "--out" and not word.startswith("--out="):
            yield word
        skip = not skip and word == "--out"


def _said(one: Difference) -> str:
    name, sweep, trials = one
    return f"{name} {_value(sweep)} in the sweep, {_value(trials)} here"


def _value(value: str | None) -> str:
    return "not set" if value is None else f"'{value}'"
