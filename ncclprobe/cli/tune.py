"""``ncclprobe tune``: scan, sweep, nodes, env and validate-e2e in order, in one run directory."""

from __future__ import annotations

import os
import pathlib

import click
import msgspec
from click.core import ParameterSource

from ncclprobe.backends import BACKENDS, auto_backend, make_backend
from ncclprobe.backends.base import BackendOptions
from ncclprobe.cli import stages
from ncclprobe.cli.course import Course
from ncclprobe.cli.numbers import Number
from ncclprobe.cli.output import drawn_seed, finish, note, shared_options
from ncclprobe.cli.report import read_run
from ncclprobe.cli.sweep import planned
from ncclprobe.errors import ProbeError, RunDirectoryError, UsageError
from ncclprobe.records.e2e import E2eDocument, ProxyShape
from ncclprobe.records.nodes import NodesDocument
from ncclprobe.records.scan import ScanDocument
from ncclprobe.records.sweep import SweepDocument, Verdict
from ncclprobe.records.tune import StageName, StageStatus, TuneDocument, TuneOptions
from ncclprobe.report.text.runs import runs_text
from ncclprobe.report.text.tune import UNFINISHED, tune_verdict
from ncclprobe.store import Manifest, RunDirectory, command_line, default_directory, relevant_environment
from ncclprobe.tuner.confirm import candidate, computes_otherwise, doubts, stands
from ncclprobe.tuner.environ import Settings
from ncclprobe.units import format_seconds, parse_sizes

NAME = "tune"
BUDGET_S = 75.0
"""Of measuring on real ranks; starting Python and ranks comes on top."""
SWEEP_SHARE = 0.6
"""Of the budget; the rest is the workload's."""
MOST_RANKS = 4
"""On this machine, where the user names no number."""
REPORT = "report.txt"
WITH_RESUME = ("resume", "as_json")


@click.command(NAME)
@click.option("--backend", type=click.Choice(["auto", *BACKENDS]), default="auto", show_default=True, help="What runs.")
@click.option("--fabric", type=click.Path(path_type=pathlib.Path), metavar="FILE", help="Simulated fabric (TOML).")
@click.option("--nranks", type=click.IntRange(2), help="Ranks  [default: one a core, 2 to 4; sim: the fabric's]")
@click.option("--sizes", metavar="FROM:TO:FACTOR|SIZE,...", help="8:1G:8  [default: the fabric's, or 8:8M:8]")
@click.option(
    "--budget",
    type=Number(0, min_open=True),
    metavar="SECONDS",
    help=f"Of all measuring; with a workload {SWEEP_SHARE:.0%} go to the sweep, the rest to it"
    f"  [default: {BUDGET_S:g}; none for sim]",
)
@click.option("--resume", type=click.Path(path_type=pathlib.Path), metavar="DIR", help="Go on with this run.")
@shared_options
@click.pass_context
def command(
    context: click.Context,
    /,
    backend: str,
    fabric: pathlib.Path | None,
    nranks: int | None,
    sizes: str | None,
    budget: float | None,
    resume: pathlib.Path | None,
    out: pathlib.Path | None,
    seed: int | None,
    *,
    as_json: bool,
) -> int:
    """Probe, measure, judge, confirm by a workload and report: everything in order, in one run directory.

    An interrupted run goes on with --resume: stages that have ended are kept, the one in flight goes on where it was.

    \b
    ncclprobe tune
    ncclprobe tune --fabric data/fabric_two_nodes/fabric.toml
    ncclprobe tune --resume ncclprobe-runs/20261122T021100Z-tune
    """  # noqa: D301 (click reads the backspace)
    if resume is not None:
        directory = resumed(context, resume)
    else:
        directory = created(tune_options(backend, fabric, nranks, sizes, budget, seed), out)
    with directory:
        document = tuned(Course(directory))
        text = runs_text([read_run(directory.path)])
        _write(directory.path / REPORT, f"{text}\n")
    path = str(directory.path)
    return finish(document, lambda: f"{text}\n\nRun directory: {path}", as_json=as_json, path=path)


def tune_options(
    backend: str,
    fabric: pathlib.Path | None,
    nranks: int | None,
    sizes: str | None,
    budget: float | None,
    seed: int | None,
) -> TuneOptions:
    """Return what was asked for, with every default that depends on the machine settled.

    Raises:
        UsageError: The options contradict each other, or the fabric has no times for what would be swept.
        MissingDependencyError: Nothing can run here; the message says what to install.
    """
    name = auto_backend(fabric) if backend == "auto" else backend
    if fabric is not None and name != "sim":
        raise UsageError(f"--fabric describes a simulated fabric; leave it away with --backend {name}")
    if sizes is not None:
        parse_sizes(sizes)
    options = TuneOptions(
        backend=name,
        fabric=str(fabric.absolute()) if fabric else None,
        nranks=_uncrowded_ranks() if name == "mpi" and nranks is None else nranks,
        sizes=sizes,
        sweep_budget_s=sweep_budget_s(name, budget),
        e2e_budget_s=(1 - SWEEP_SHARE) * (budget or BUDGET_S),
        seed=drawn_seed(seed),
    )
    make_backend(name, BackendOptions(nranks=options.nranks, fabric=fabric, seed=options.seed))
    if name == "sim":
        planned(stages.sweep_options(options))
    return options


def sweep_budget_s(backend: str, budget_s: float | None) -> float | None:
    """Return what of the budget is the sweep's: all of it where no workload follows; None for no limit."""
    if backend == "sim":
        return budget_s
    return (1 if backend in stages.WITHOUT_WORKLOAD else SWEEP_SHARE) * (budget_s or BUDGET_S)


def _uncrowded_ranks() -> int:
    """Return a core for each rank: ranks that share one measure the scheduler, not the collective."""
    return max(2, min(MOST_RANKS, len(os.sched_getaffinity(0))))


def created(options: TuneOptions, out: pathlib.Path | None) -> RunDirectory:
    """Return a new run directory with all that --resume needs in its manifest."""
    manifest = Manifest(
        command=NAME,
        argv=command_line(),
        seed=options.seed,
        environment=relevant_environment(dict(os.environ)),
        options=msgspec.to_builtins(options),
    )
    return RunDirectory.create(out or default_directory(NAME), manifest)


def resumed(context: click.Context, path: pathlib.Path) -> RunDirectory:
    """Return the interrupted run's directory.

    Raises:
        UsageError: Other options were given, too.
    """
    given = [name for name in context.params if context.get_parameter_source(name) is not ParameterSource.DEFAULT]
    extra = ", ".join(f"--{name}" for name in given if name not in WITH_RESUME)
    if extra:
        raise UsageError(f"--resume goes on with the options of {path}; leave out {extra}")
    return RunDirectory.resume(path, NAME)


def tuned(course: Course) -> TuneDocument:
    """Run what is left of a run and return its document; it is in the run directory after each stage."""
    note(_plan(course.options))
    for name, work in stages.STAGES.items():
        try:
            course.run(name, work)
        except ProbeError:
            course.directory.finish(summarised(course))
            note(f"What has ended is kept; go on with: ncclprobe tune --resume {course.directory.path}")
            raise
        document = summarised(course)
        course.directory.finish(document)
    _withdraw(course, document)
    return document


def _withdraw(course: Course, document: TuneDocument) -> None:
    """Take a change that makes the workload slower, or wrong, out of the files as well."""
    if document.choice is course.read(StageName.SWEEP, SweepDocument).choice.verdict:
        return
    wrong = computes_otherwise(course.read(StageName.VALIDATE, E2eDocument))
    why = "the workload's results differ with it" if wrong else "the workload was slower with it"
    settings = Settings(
        sources=("scan", "sweep", "validate-e2e"),
        variables=document.env,
        notes=(f"The sweep's choice is left out: {why}.",),
    )
    with RunDirectory.resume(course.directory.path / StageName.ENV, StageName.ENV) as directory:
        stages.emit(settings, directory)


def summarised(course: Course) -> TuneDocument:
    """Return what the stages that have ended say together."""
    scan = course.found(StageName.SCAN, ScanDocument)
    sweep = course.found(StageName.SWEEP, SweepDocument)
    e2e = course.found(StageName.VALIDATE, E2eDocument)
    choice = None if sweep is None else stands(sweep, e2e)
    settings = stages.recommended(scan, sweep if choice is Verdict.CHANGE else None)
    nodes = course.found(StageName.NODES, NodesDocument)
    tried = candidate(sweep, ProxyShape()) if sweep else None
    label = tried.label if tried else ""
    found = (scan, sweep, nodes, e2e)
    return TuneDocument(
        findings=(*(finding for one in found if one for finding in one.findings), *doubts(sweep, e2e, label)),
        verdict=tune_verdict(sweep, nodes, e2e, label, _skipped(course)) if sweep else UNFINISHED,
        choice=choice,
        backend=course.options.backend,
        stages=tuple(course.stages[name] for name in StageName if name in course.stages),
        env=settings.variables,
        table=settings.rows,
        seed=course.options.seed,
    )


def _plan(options: TuneOptions) -> str:
    """Return what will take how long, for people."""
    if options.backend == "sim":
        return f"Simulated fabric {options.fabric}"
    sweep, workload = format_seconds(options.sweep_budget_s or 0), format_seconds(options.e2e_budget_s)
    trials = "" if options.backend in stages.WITHOUT_WORKLOAD else f" and {workload} of trials of the workload"
    return f"Backend {options.backend}; at most {sweep} of sweeping{trials}"


def _skipped(course: Course) -> str:
    """Return why the workload was skipped; empty where it was not."""
    stage = course.stages.get(StageName.VALIDATE)
    return stage.message if stage is not None and stage.status is StageStatus.SKIPPED else ""


def _write(path: pathlib.Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as problem:
        raise RunDirectoryError(f"cannot write {path}: {problem.strerror}; free space, then --resume") from problem
