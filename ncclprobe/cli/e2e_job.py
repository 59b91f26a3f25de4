"""``validate-e2e`` as a job: its script written, submitted, watched, and its result collected."""

from __future__ import annotations

import pathlib
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from ncclprobe.cli.numbers import Number
from ncclprobe.cli.output import note
from ncclprobe.errors import ProbeError, UsageError, reason
from ncclprobe.launchers.jobs import failure, has_job, settle, submit, submitted, watch
from ncclprobe.launchers.schedulers import SCHEDULERS
from ncclprobe.launchers.scripts import SCRIPTS, Batch
from ncclprobe.launchers.site import Site, parse_site
from ncclprobe.reading import whole_file
from ncclprobe.records.e2e import E2eDocument, E2eOptions, Layout
from ncclprobe.store import DOCUMENT, read_document

WAIT_S = 7 * 86400.0
"""Watching a job ends then, for queues that take days."""
INSIDE = {"slurm": "srun", "pbs": "pbs"}
"""Scheduler -> what starts ranks inside its jobs."""
JOB_ONLY = (
    "emit",
    "submit",
    "site",
    "walltime",
    "queue",
    "account",
    "gpus_per_node",
    "ranks_per_node",
    "cpus_per_node",
)
"""Options that say what a job asks for."""
DP_ATTENTION = "--enable-dp-attention"
_OF_THIS_PROCESS = (*JOB_ONLY, "wait", "here", "launcher", "out", "resume", "as_json", "tokens")
Command = TypeVar("Command", bound=Callable[..., Any])


def _minutes(_context: click.Context, _option: click.Parameter, text: str) -> int:
    """Return a wall time in minutes, rounded up."""
    match = re.fullmatch(r"(?:(\d+):(\d{1,2})(?::(\d{2}))?|(\d+))", text)
    if match is None:
        raise UsageError(f"--walltime {text!r}: write HH:MM:SS, HH:MM or minutes")
    hours, minutes, seconds, alone = (int(part) if part else 0 for part in match.groups())
    total = alone or 60 * hours + minutes + (seconds > 0)
    if not total:
        raise UsageError(f"--walltime {text!r} is no time")
    return total


def job_options(command: Command) -> Command:
    """Add the options of job scripts to a command."""
    size = click.IntRange(1)
    for option in (
        click.option("--here", is_flag=True, help="With --resume: run the rest here, also of a run that a job began."),
        click.option(
            "--wait", type=Number(0), default=WAIT_S, show_default=True, metavar="SECONDS",
            help="Watch a job at most so long; it goes on.",
        ),
        click.option("--cpus-per-node", type=size, help="job: cores of a node  [default: the scheduler's]"),
        click.option("--ranks-per-node", type=size, help="job: ranks of a node  [default: the workload's]"),
        click.option("--gpus-per-node", type=click.IntRange(0), help="job: GPUs of a node  [default: the workload's]"),
        click.option("--account", metavar="NAME", help="job: who pays."),
        click.option("--queue", metavar="NAME", help="job: partition or queue."),
        click.option(
            "--walltime", default="01:00:00", show_default=True, metavar="HH:MM:SS", callback=_minutes, help="job: its."
        ),
        click.option(
            "--site", type=click.Path(exists=True, dir_okay=False, path_type=pathlib.Path), metavar="FILE",
            help="job: the site's modules, set-up and directives (TOML).",
        ),
        click.option("--submit", is_flag=True, help="Submit the job of --launcher slurm|pbs, watch it, and collect."),
        click.option("--emit", metavar="FILE|-", help="Write the job script of --launcher slurm|pbs, - for stdout."),
    ):  # fmt: skip
        command = option(command)
    return command


def is_job(context: click.Context, given: dict[str, Any]) -> bool:
    """Return whether a job script is asked for.

    Raises:
        UsageError: Options of jobs and of this process contradict each other.
    """
    wanted, launcher = bool(given["emit"] or given["submit"]), given["launcher"]
    if not wanted and launcher == "slurm":
        raise UsageError("--launcher slurm writes a job script: add --emit FILE or --submit; inside a job it is srun")
    if wanted and launcher not in SCRIPTS:
        raise UsageError("--emit and --submit need --launcher slurm or pbs")
    stray = [name for name in JOB_ONLY if not wanted and _is_given(context, name)]
    if stray:
        raise UsageError(f"{_flag(stray[0])} is for job scripts; add --emit FILE or --submit")
    if wanted and given["hosts"]:
        raise UsageError(
            "the scheduler chooses a job's hosts; leave --hosts away, or name some in the site's directives"
        )
    if given["here"]:
        raise UsageError("--here goes with --resume")
    return wanted


def job_script(
    context: click.Context, given: dict[str, Any], options: E2eOptions, path: pathlib.Path, name: str
) -> str:
    """Return the script that runs this very command in a job.

    Args:
        context: Of the command, for what was given on its command line.
        given: Its options.
        options: Of the comparison.
        path: The run directory.
        name: The job's.

    Raises:
        UsageError: A value cannot stand in a script.
        ParseError: The site's file is none.
    """
    nodes = _nodes(given, options)
    gpus = given["gpus_per_node"]
    gpus = _gpus(options) if gpus is None else gpus
    batch = Batch(
        directory=str(path),
        command=("validate-e2e", *_words(context, given, path)),
        go_on=("validate-e2e", f"--resume={path}", "--here"),
        program=(sys.executable, "-m", "ncclprobe"),
        nodes=nodes,
        ranks_per_node=given["ranks_per_node"] or _ranks(options, nodes) or gpus or 1,
        gpus_per_node=gpus,
        cpus_per_node=given["cpus_per_node"] or 0,
        minutes=given["walltime"],
        name=name,
        queue=given["queue"],
        account=given["account"],
        site=_site(given["site"]),
    )
    return SCRIPTS[given["launcher"]](batch)


def emit(target: str, script: str) -> None:
    """Write a script to a file, or to stdout for ``-``."""
    if target == "-":
        click.echo(script, nl=False)
        return
    try:
        pathlib.Path(target).write_text(script, encoding="utf-8")
    except OSError as problem:
        raise ProbeError(f"cannot write {target}: {problem.strerror}; choose another --emit") from problem
    note(f"Wrote {target}.")


def submitted_document(launcher: str, name: str, script: str, path: pathlib.Path, wait_s: float) -> E2eDocument:
    """Submit a job, watch it to its end, and return what it found."""
    job = submit(path, launcher, name, script)
    note(f"{SCHEDULERS[launcher].title} job {job.job} ({job.name}), run directory {path}")
    note(f"It goes on without this process; `ncclprobe validate-e2e --resume {path}` watches it.")
    return collected(path, wait_s)


def watches(path: pathlib.Path, *, here: bool) -> bool:
    """Return whether --resume watches a job, rather than run the rest here."""
    return not here and has_job(path)


def collected(path: pathlib.Path, wait_s: float) -> E2eDocument:
    """Watch a run directory's job to its end and return what it found; nothing is submitted.

    Raises:
        LaunchError: The job failed, was cancelled, or has not ended within that time.
    """
    if not (path / DOCUMENT).is_file():
        job = submitted(path)
        state = watch(job, wait_s, note)
        if not settle(path, DOCUMENT, state):
            raise failure(path, job, state)
    document = read_document(path, (E2eDocument,))
    assert isinstance(document, E2eDocument)  # noqa: S101 - read_document returns one of the types it was given
    return document


def _words(context: click.Context, given: dict[str, Any], path: pathlib.Path) -> list[str]:
    """Return the command line's own options and words, without those of this process, for the process in the job."""
    shown = set(context.params) - {*_OF_THIS_PROCESS, *(["nnodes"] if given["workload"] == "command" else [])}
    options = [p for p in context.command.params if isinstance(p, click.Option) and p.name in shown]
    words = [word for option in options if _is_given(context, str(option.name))
             for word in _option_words(option, context.params[str(option.name)])]  # fmt: skip
    launcher = [] if given["workload"] == "command" else [f"--launcher={INSIDE[given['launcher']]}"]
    rest = ["--", *given["tokens"]] if given["tokens"] else []
    return [*words, *launcher, f"--out={path}", *rest]


def _option_words(option: click.Option, value: Any) -> Iterable[str]:
    flag = max(option.opts, key=len)
    if option.is_flag:
        return [flag]
    return [f"{flag}={one}" for one in (value if option.multiple else [value])]


def _nodes(given: dict[str, Any], options: E2eOptions) -> int:
    layouts = (arm.layout.nnodes for arm in options.arms.values() if arm.layout is not None)
    return max(layouts, default=int(given["nnodes"]))


def _gpus(options: E2eOptions) -> int:
    """Return how many GPUs of a node the largest layout takes; none where the workload has no layout."""
    shared = DP_ATTENTION in options.sglang.arguments
    layouts = [arm.layout for arm in options.arms.values() if arm.layout is not None]
    return max((_gpus_of_node(layout, shared=shared) for layout in layouts), default=0)


def _gpus_of_node(layout: Layout, *, shared: bool) -> int:
    """Return how many GPUs of each node a layout takes; with DP attention, replicas share the tensor-parallel ranks."""
    gpus = layout.tp * layout.pp * (1 if shared else layout.dp)
    return -(-gpus // layout.nnodes)


def _ranks(options: E2eOptions, nodes: int) -> int | None:
    return -(-options.proxy.nranks // nodes) if options.workload == "proxy" else None


def _site(path: pathlib.Path | None) -> Site:
    if path is None:
        return Site()
    try:
        return parse_site(whole_file(path).decode(), str(path))
    except (OSError, UnicodeDecodeError) as problem:
        raise UsageError(f"cannot read --site {path}: {reason(problem)}") from problem


def _is_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is not ParameterSource.DEFAULT


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
