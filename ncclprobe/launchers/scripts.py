"""Job scripts for Slurm and PBS that run a command of ours inside an allocation. Pure text; every value is quoted."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ncclprobe import __version__
from ncclprobe.errors import UsageError
from ncclprobe.launchers.quoting import directive, directive_value, quoted, shell_line
from ncclprobe.launchers.site import Site
from ncclprobe.records.base import Record

STATUS, OUTPUT, JOB_ID = "job.status", "job.out", "job.id"
"""Files that a job leaves in its run directory: its exit status, all that it printed, and which job it was."""

_OURS_SLURM = re.compile(
    r"(-[JNnaoeDW].*|--(job-name|nodes|ntasks|ntasks-per-node|array|output|error|chdir|wait|wrap|parsable)(=.*)?)"
)
_OURS_PBS = re.compile(r"(-[NJtoekdCIzSj].*|-W ?block.*|-l ?(.*,)?(select|nodes|walltime)=.*)")
"""Directives that the script has itself, or that would hide the job, its end or its output from who watches it."""


class Batch(Record, frozen=True, kw_only=True):
    """What a job script asks the scheduler for, and what it runs there."""

    directory: str
    """The run directory, absolute or below the folder that the job is submitted in."""
    command: tuple[str, ...]
    """Words after ``ncclprobe``, run once on the first host: ``("validate-e2e", "--launcher=srun")``."""
    go_on: tuple[str, ...]
    """Words instead where the run directory holds a run: the job was queued again, or its script submitted again."""
    program: tuple[str, ...] = ("ncclprobe",)
    """How ncclprobe is started, unless the site says so."""
    nodes: int
    """Hosts."""
    ranks_per_node: int
    """Ranks on each, which is one a GPU."""
    gpus_per_node: int = 0
    """0 asks for none."""
    cpus_per_node: int = 0
    """0 leaves them to the scheduler."""
    minutes: int = 60
    """Wall time."""
    name: str = "ncclprobe"
    """The job's."""
    queue: str | None = None
    """Partition or queue; None leaves it to the scheduler."""
    account: str | None = None
    """Who pays; None leaves it to the scheduler."""
    site: Site = Site()
    """What all scripts of this site have."""


def slurm_script(batch: Batch) -> str:
    """Return a script for sbatch.

    Raises:
        UsageError: A value cannot stand in a directive.

    Source: Slurm 22.05, sbatch(1)
    """
    _refuse(batch.site.directives, _OURS_SLURM)
    directives = [
        *map(directive, batch.site.directives),
        f"--job-name={directive_value(batch.name, 'the name')}",
        f"--nodes={batch.nodes}",
        f"--ntasks-per-node={batch.ranks_per_node}",
        *([f"--gpus-per-node={batch.gpus_per_node}"] if batch.gpus_per_node else []),
        *([f"--cpus-per-task={max(1, batch.cpus_per_node // batch.ranks_per_node)}"] if batch.cpus_per_node else []),
        f"--time={_clock(batch.minutes)}",
        *([f"--partition={directive_value(batch.queue, '--queue')}"] if batch.queue else []),
        *([f"--account={directive_value(batch.account, '--account')}"] if batch.account else []),
    ]
    return _script("#SBATCH", directives, batch, folder="SLURM_SUBMIT_DIR", job="SLURM_JOB_ID")


def pbs_script(batch: Batch) -> str:
    """Return a script for qsub.

    Raises:
        UsageError: A value cannot stand in a directive.

    Source: OpenPBS 22, qsub(1B) and pbs_resources(7B)
    """
    _refuse(batch.site.directives, _OURS_PBS)
    cpus = f":ncpus={batch.cpus_per_node}" if batch.cpus_per_node else ""
    gpus = f":ngpus={batch.gpus_per_node}" if batch.gpus_per_node else ""
    directives = [
        *map(directive, batch.site.directives),
        f"-N {directive_value(batch.name, 'the name')}",
        f"-l select={batch.nodes}{cpus}{gpus}:mpiprocs={batch.ranks_per_node}",
        f"-l walltime={_clock(batch.minutes)}",
        *([f"-q {directive_value(batch.queue, '--queue')}"] if batch.queue else []),
        *([f"-A {directive_value(batch.account, '--account')}"] if batch.account else []),
    ]
    return _script("#PBS", directives, batch, folder="PBS_O_WORKDIR", job="PBS_JOBID")


SCRIPTS = {"slurm": slurm_script, "pbs": pbs_script}
"""Scheduler -> what writes its script."""


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}:00"


def _refuse(directives: Sequence[str], ours: re.Pattern[str]) -> None:
    if taken := [text for text in directives if ours.fullmatch(text)]:
        raise UsageError(f"the site's directive {taken[0]!r} is set by ncclprobe itself, or hides the job from it")


def _script(prefix: str, directives: Sequence[str], batch: Batch, *, folder: str, job: str) -> str:
    """Return the script; its first line that is no comment comes after all directives and before any value."""
    start = (*batch.site.prefix, *(batch.site.program or batch.program))
    login = " -l" if batch.site.modules else ""  # a site's profile is what brings `module`
    lines = [
        f"#!/bin/bash{login}",
        *(f"{prefix} {text}" for text in directives),
        f"# Written by ncclprobe {__version__}. Submitted again, it goes on where its last job ended.",
        f'cd "${{{folder}:?}}" || exit',
        f"run={quoted(batch.directory)}",
        'mkdir -p -- "$run" || exit',
        f'exec >>"$run"/{OUTPUT} 2>&1',
        f'printf "%s\\n" "${job}" >"$run"/{JOB_ID} && rm -f -- "$run"/{STATUS} || exit',
        *(["export SLURM_EXPORT_ENV=ALL"] if prefix == "#SBATCH" else []),
        *batch.site.lines,
        'if [ -e "$run"/manifest.json ]; then',
        f"  {shell_line((*start, *batch.go_on))}",
        "else",
        f"  {shell_line((*start, *batch.command))}",
        "fi",
        "status=$?",
        f'printf "%s\\n" "$status" >"$run"/{STATUS}',
        'exit "$status"',
    ]
    return "\n".join([*lines, ""])
