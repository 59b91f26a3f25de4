"""Axes of the environment: what a library reads once a process, so that each combination needs processes of its own.

A launch of the race may hold cells of several environments. It is then a round: a part for each environment, run one
after the other with fresh ranks. Its blocks pair cells across the parts as they do within one.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from ncclprobe.errors import LaunchError, UsageError
from ncclprobe.names import DEFAULT, LIBRARY_PREFIXES
from ncclprobe.records.base import Record
from ncclprobe.records.sweep import Cell, Environment, Launch, Measurement, Status

OWN = re.compile(
    r"NCCL_(ALGO|PROTO|TUNER_\w+|DEBUG\w*|COMM_ID|HOSTID|CONF_FILE|TESTS_\w+)"
    r"|MPIR_CVAR_(COLLECTIVE_FALLBACK|\w+_(ALGORITHM|DEVICE_COLLECTIVE))"
    r"|OMPI_MCA_coll_(tuned_\w*_algorithm|tuned_use_dynamic_rules|hcoll_enable)"
)
"""Variables that a sweep sets itself, or that name a run rather than a setting."""


class Axis(Record, frozen=True, kw_only=True):
    """A variable and what it is tried with."""

    name: str
    """Of the variable."""
    values: tuple[str | None, ...]
    """Each once, in the order given; None leaves the variable as it is."""


def parse_axes(texts: Sequence[str], environment: Mapping[str, str]) -> tuple[Axis, ...]:
    """Return the axes of ``--env NAME=VALUE,...`` options; ``;`` stands between values that have commas.

    A value that the variable has anyway is no other environment.

    Args:
        texts: As given.
        environment: That ranks are started from.

    Raises:
        UsageError: A text is no axis, names a variable twice or one that cannot be an axis.
    """
    axes = tuple(_axis(text, environment) for text in texts)
    twice = [name for i, name in enumerate(axis.name for axis in axes) if name in {a.name for a in axes[:i]}]
    if twice:
        raise UsageError(f"--env {twice[0]} stands there twice; write all its values into one: {twice[0]}=1,2")
    return axes


def _axis(text: str, environment: Mapping[str, str]) -> Axis:
    name, equals, listed = text.partition("=")
    if not equals or re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is None:
        raise UsageError(f"--env {text!r}: write NAME=VALUE,VALUE, such as NCCL_NTHREADS=default,256,512")
    if not name.startswith(LIBRARY_PREFIXES):
        known = ", ".join(f"{prefix}*" for prefix in LIBRARY_PREFIXES)
        raise UsageError(f"--env {name}: no variable of a communication library; those are {known}")
    if OWN.fullmatch(name):
        raise UsageError(f"--env {name}: the sweep sets it itself; use --algo, --proto and --channels")
    if any(not letter.isprintable() for letter in listed):
        raise UsageError(f"--env {name}: a value has letters that cannot be printed")
    values = (value.strip() for value in listed.split(";" if ";" in listed else ","))
    return Axis(name=name, values=tuple(dict.fromkeys(_value(value, environment.get(name)) for value in values)))


def _value(text: str, present: str | None) -> str | None:
    return None if text in ("", DEFAULT, present) else text


def check_search(axes: Sequence[Axis], search: str, *, exhaustive: bool) -> None:
    """Refuse a search among nothing, and one that is to drop nothing.

    Raises:
        UsageError: The options contradict each other.
    """
    if axes and not environments(axes):
        raise UsageError("--env: all of these values are what the variables have anyway; name others")
    if search != "grid" and not axes:
        raise UsageError(f"--search {search} needs something to search in; add --env NAME=VALUE,VALUE")
    if search != "grid" and exhaustive:
        raise UsageError(f"--search {search} leaves combinations out, --exhaustive none; choose one of them")


def environments(axes: Sequence[Axis]) -> tuple[Environment, ...]:
    """Return every combination of the axes' values that is not the environment as it is, each once."""
    names = [axis.name for axis in axes]
    combined = (environment_of(dict(zip(names, values, strict=True))) for values in grid(axes))
    return tuple(dict.fromkeys(env for env in combined if env))


def grid(axes: Sequence[Axis]) -> Iterator[tuple[str | None, ...]]:
    """Yield every combination of values, the last axis turning fastest."""
    return itertools.product(*(axis.values for axis in axes))


def environment_of(values: Mapping[str, str | None]) -> Environment:
    """Return variables as an environment, in the order of their names, without those that stay as they are."""
    return tuple(sorted((name, value) for name, value in values.items() if value is not None))


def under_each(cells: Sequence[Cell], envs: Sequence[Environment]) -> tuple[Cell, ...]:
    """Return the cells, and after them for each environment the library's own choice and the cells under it."""
    return (*cells, *(cell.under(env) for env in envs for cell in (Cell(), *cells)))


# ---- a round of launches


def parts(launch: Launch) -> Iterator[tuple[Environment, Launch]]:
    """Yield a launch for each environment that a round has cells of, in an order drawn from the round's seed.

    The order is drawn anew in each round, so that what drifts over a round favours none. A part draws of its own; that
    of the environment as it is draws what the round itself would.
    """
    envs = list(dict.fromkeys(cell.env for block in launch.blocks for cell in block.cells))
    order = random.Random(f"{launch.seed} {launch.index} parts").sample(envs, len(envs))  # noqa: S311, no secret
    for env in order:
        yield env, _part(launch, env) if len(envs) > 1 or env else launch


def _part(launch: Launch, env: Environment) -> Launch:
    own = (
        block.with_(cells=tuple(cell.under(()) for cell in block.cells if cell.env == env)) for block in launch.blocks
    )
    blocks = tuple(block for block in own if block.cells)
    return launch.with_(blocks=blocks, env=(*launch.env, *env), seed=_seed(launch.seed, env) if env else launch.seed)


def _seed(seed: int, env: Environment) -> int:
    digest = hashlib.blake2b(repr((seed, env)).encode(), digest_size=4).digest()
    return int.from_bytes(digest) >> 1


def measure_by_environment(launch: Launch, measure: Callable[[Launch], Iterator[Measurement]]) -> Iterator[Measurement]:
    """Yield what a round measures, part by part, each cell with the environment that it ran in.

    A part that hangs ends alone. One whose ranks cannot be started is refused, all of its cells with it.

    Args:
        launch: A round, or a launch of one environment.
        measure: A backend's.

    Raises:
        LaunchError: The ranks could not be started in the environment as it is, or died there.
    """
    for env, part in parts(launch):
        if not env:
            yield from measure(part)
            continue
        try:
            for measurement in measure(part):
                yield _under(measurement, env)
        except LaunchError as problem:
            yield from _refused(part, env, str(problem))


def _under(measurement: Measurement, env: Environment) -> Measurement:
    return measurement.with_(cells=tuple(cell.under(env) for cell in measurement.cells))


def _refused(part: Launch, env: Environment, message: str) -> Iterator[Measurement]:
    for block in part.blocks:
        count = len(block.cells)
        yield Measurement(
            launch=part.index,
            point=block.point,
            block=0,
            cells=tuple(cell.under(env) for cell in block.cells),
            times_us=(None,) * count,
            statuses=(Status.REFUSED,) * count,
            wrong=(0,) * count,
            spent_s=0.0,
            warmup=True,
            message=message,
        )
