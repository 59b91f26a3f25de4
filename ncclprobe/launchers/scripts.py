"""Job scripts for Slurm and PBS that run a command of ours inside an allocation. Pure text; every value is quoted."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

from ncclprobe.errors import UsageError
from ncclprobe.records.base import Record

_SAFE = re.compile(r"[A-Za-z0-9_.,:@%+=/-]+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Batch(Record, frozen=True, kw_only=True):
    """What a job script asks the scheduler for, and what it runs there."""

    command: tuple[str, ...]
    """Tokens, run once on the first host: ``("ncclprobe", "sweep", "--launcher", "srun")``."""
    nodes: int
    """Hosts."""
    ranks_per_node: int
    """Ranks on each, which is one a GPU."""
    gpus_per_node: int = 0
    """0 asks for none."""
    minutes: int = 60
    """Wall time."""
    name: str = "ncclprobe"
    """The job's."""
    queue: str | None = None
    """Partition or queue; None leaves it to the scheduler."""
    env: tuple[tuple[str, str], ...] = ()
    """Variables to export before the command."""


def slurm_script(batch: Batch) -> str:
    """Return a script for sbatch.

    Raises:
        UsageError: A value cannot stand in a directive.

    Source: Slurm 22.05, sbatch(1)
    """
    directives = [
        f"--job-name={batch.name}",
        f"--nodes={batch.nodes}",
        f"--ntasks-per-node={batch.ranks_per_node}",
        *([f"--gpus-per-node={batch.gpus_per_node}"] if batch.gpus_per_node else []),
        f"--time={batch.minutes}",
        *([f"--partition={batch.queue}"] if batch.queue else []),
    ]
    return _script("#SBATCH", directives, batch, "")


def pbs_script(batch: Batch) -> str:
    """Return a script for qsub.

    Raises:
        UsageError: A value cannot stand in a directive.

    Source: OpenPBS 22, qsub(1B) and pbs_resources(7B)
    """
    gpus = f":ngpus={batch.gpus_per_node}" if batch.gpus_per_node else ""
    directives = [
        f"-N {batch.name}",
        f"-l select={batch.nodes}:ncpus={batch.ranks_per_node}:mpiprocs={batch.ranks_per_node}{gpus}",
        f"-l walltime={batch.minutes // 60:02}:{batch.minutes % 60:02}:00",
        *([f"-q {batch.queue}"] if batch.queue else []),
    ]
    return _script("#PBS", directives, batch, 'cd "$PBS_O_WORKDIR"\n')


def _script(prefix: str, directives: Iterable[str], batch: Batch, before: str) -> str:
    for value in filter(None, (batch.name, batch.queue)):
        if not _SAFE.fullmatch(value):
            raise UsageError(f"{value!r} cannot stand in a job script's directive; use letters, digits and _.,:@%+=/-")
    for name, _ in batch.env:
        if not _VARIABLE.fullmatch(name):
            raise UsageError(f"{name!r} is no variable's name; write NAME=VALUE with letters, digits and _")
    lines = ["#!/bin/bash", *(f"{prefix} {directive}" for directive in directives), "set -eu"]
    exports = [f"export {name}={shlex.quote(value)}" for name, value in batch.env]
    return "\n".join([*lines, *exports, f"{before}{shlex.join(batch.command)}", ""])
