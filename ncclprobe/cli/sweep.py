"""``ncclprobe sweep``: does any algorithm, protocol or number of channels beat the library's defaults?"""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import click
import msgspec

from ncclprobe.backends import BACKENDS, auto_backend, make_backend
from ncclprobe.backends.base import Backend, BackendOptions, Capabilities, GpuOptions
from ncclprobe.backends.geometry import ITEM_BYTES, part_bytes
from ncclprobe.cli.normal import seen_hardware, with_normality
from ncclprobe.cli.numbers import Number
from ncclprobe.cli.output import drawn_seed, finish, note, refuse_options_with_resume, shared_options
from ncclprobe.cli.profile_files import workload_of_profile
from ncclprobe.cli.progress import LaunchProgress
from ncclprobe.errors import UsageError
from ncclprobe.launchers import LAUNCHERS
from ncclprobe.launchers.allocation import rank_hosts
from ncclprobe.names import DEFAULT, Collective
from ncclprobe.nodesets import expand
from ncclprobe.records.prediction import Workload
from ncclprobe.records.sweep import Cell, SweepDocument
from ncclprobe.report.text.sweep import sweep_text
from ncclprobe.report.text.verdict import counted
from ncclprobe.store import (
    Manifest,
    RunDirectory,
    command_line,
    default_directory,
    relevant_environment,
    stored_options,
)
from ncclprobe.sweep import prediction, summary
from ncclprobe.sweep.axes import check_search, environments, parse_axes
from ncclprobe.sweep.doubts import doubts
from ncclprobe.sweep.plan import DEFAULT_DTYPE, SweepOptions, planned_cells, planned_points
from ncclprobe.sweep.race import Race, RacePlan
from ncclprobe.sweep.run import run_race
from ncclprobe.sweep.search import race_of
from ncclprobe.sweep.weights import extents, placed
from ncclprobe.tuner.choose import choose, widened

NAME = "sweep"
DEFAULT_BUDGET_S = 120.0
"""Of a real sweep, for each of its environments; a simulated one measures until the answer is clear."""
MOST_BUDGETS = 15
"""Environments of which each adds to the budget that a sweep has by itself."""


def _names(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip()) if text else ()


def _numbers(context: click.Context, option: click.Parameter, text: str | None) -> tuple[int, ...]:
    names = _names(context, option, text)
    if not all(name == DEFAULT or (name.isdigit() and int(name)) for name in names):
        raise UsageError(f"--channels {text!r}: write numbers over 0 with commas, such as 1,4,16 or default,1,4,16")
    return tuple(0 if name == DEFAULT else int(name) for name in names)


@click.command(NAME)
@click.option("--algo", callback=_names, metavar="NAME,...", help="Tree,Ring  [default: all that the backend has]")
@click.option("--proto", callback=_names, metavar="NAME,...", help="LL,LL128,Simple  [default: all]")
@click.option(
    "--channels", callback=_numbers, metavar="N,...", help="default,1,4,16  [default: all, or the library's own]"
)
@click.option(
    "--env", multiple=True, metavar="NAME=VALUE,...",
    help="NCCL_NTHREADS=default,256,512: a variable of whole processes to try; several of them are combined.",
)  # fmt: skip
@click.option(
    "--search", type=click.Choice(["grid", "optuna"]), default="grid", show_default=True,
    help="Race all combinations of --env, or look for the best ones and race these.",
)  # fmt: skip
@click.option("--sizes", metavar="FROM:TO:FACTOR|SIZE,...", help="8:1G:8  [default: the fabric's, or 8:8M:8]")
@click.option(
    "--collective", type=click.Choice([c.value for c in Collective]), default=None,
    help="What is run  [default: all_reduce, or what carries most of the profile]",
)  # fmt: skip
@click.option(
    "--profile", type=click.Path(exists=True, path_type=pathlib.Path), metavar="FILE",
    help="Measure a workload's sizes and weigh them: a run of profile, or what it reads.",
)  # fmt: skip
@click.option("--dtype", help="float32, float16, ...  [default: float32, or the fabric's]")
@click.option(
    "--nranks", type=click.IntRange(2), help="Ranks  [default: one a GPU; mpi: one a host or a Slurm job's task, or 4]"
)
@click.option(
    "--backend", type=click.Choice(["auto", *BACKENDS]), default="auto", show_default=True, help="What runs it."
)
@click.option("--fabric", type=click.Path(path_type=pathlib.Path), metavar="FILE", help="Simulated fabric (TOML).")
@click.option(
    "--launcher", type=click.Choice(list(LAUNCHERS)), default="local", show_default=True, help="Starts ranks."
)
@click.option(
    "--hosts", metavar="NODESET",
    help="Where ranks are started: dgx[001-002]  [default: the job's, but with local; or this host]",
)  # fmt: skip
@click.option(
    "--budget", type=Number(0, min_open=True), metavar="SECONDS",
    help=f"Wall time at most  [default: {DEFAULT_BUDGET_S:g}, more with --env; none for sim]",
)  # fmt: skip
@click.option(
    "--timeout", type=Number(0, min_open=True), default=10.0, show_default=True, metavar="SECONDS",
    help="A sample that takes longer is aborted and its cell left out.",
)  # fmt: skip
@click.option(
    "--sample", type=Number(0, 1e4, min_open=True), default=0.5, show_default=True, metavar="MS",
    help="A sample lasts at least so long; 10 for times as exact as nccl-tests'.",
)  # fmt: skip
@click.option(
    "--mode", type=click.Choice(["auto", "graph", "eager"]), default="auto", show_default=True,
    help="GPUs: replay captured operations, or enqueue each; auto captures up to 32 MiB.",
)  # fmt: skip
@click.option("--in-place", is_flag=True, help="GPUs: read and write the same buffer.")
@click.option(
    "--memory", type=click.Choice(["cuda", "nccl"]), default="cuda", show_default=True,
    help="GPUs: buffers from cudaMalloc, as in PyTorch, or ncclMemAlloc, as in nccl-tests.",
)  # fmt: skip
@click.option("--exhaustive", is_flag=True, help="Measure every cell as often as the plain design would; drop nothing.")
@click.option(
    "--scan", type=click.Path(exists=True, path_type=pathlib.Path), metavar="RUN",
    help="A scan of the nodes, for what their hardware allows  [default: a look at this one]",
)  # fmt: skip
@click.option("--resume", type=click.Path(path_type=pathlib.Path), metavar="DIR", help="Go on with this run.")
@shared_options
@click.pass_context
def command(
    context: click.Context,
    /,
    *,
    resume: pathlib.Path | None,
    out: pathlib.Path | None,
    scan: pathlib.Path | None,
    as_json: bool,
    **given: Any,
) -> int:
    """Measure cells (algorithm, protocol, channels) against the library's own choice, and say whether to change.

    Cells are switched live, in randomised blocks with the default in each; clearly slower ones drop out; winners are
    measured again in fresh launches. "Keep the defaults" is an answer.

    \b
    ncclprobe sweep --algo Tree,Ring
    ncclprobe sweep --profile nccl.log
    ncclprobe sweep --env NCCL_NTHREADS=default,256,512 --env NCCL_BUFFSIZE=default,8388608
    ncclprobe sweep --backend sim --fabric data/fabric_two_nodes/fabric.toml
    """  # noqa: D301 (click reads the backspace)
    if resume is not None:
        refuse_options_with_resume(context)
    options = None if resume else sweep_options(**given)
    with open_run(options, resume or out, scan) as directory:
        document = swept(directory)
    path = str(directory.path)
    return finish(document, lambda: sweep_text(document, path), as_json=as_json, path=path)


def sweep_options(
    *, backend: str, fabric: pathlib.Path | None, hosts: str | None, budget: float | None, timeout: float,
    sample: float, seed: int | None, env: Sequence[str] = (), profile: pathlib.Path | None = None,
    collective: str | None = None, **same: Any,
) -> SweepOptions:  # fmt: skip
    """Return what was asked for, with every default that depends on the machine settled.

    Raises:
        UsageError: The options contradict each other.
    """
    name = auto_backend(fabric) if backend == "auto" else backend
    if fabric is not None and name != "sim":
        raise UsageError(f"--fabric describes a simulated fabric; leave it away with --backend {name}")
    if name == "sim" and (hosts or same["launcher"] != "local"):
        raise UsageError("a simulated fabric starts no ranks; leave --hosts and --launcher away, or --fabric")
    axes = parse_axes(env, os.environ)
    workload = workload_of_profile(profile, collective, axes=bool(axes), sizes=same.get("sizes")) if profile else None
    check_search(axes, same["search"], exhaustive=same["exhaustive"])
    if workload and name == "nccl" and not same["dtype"] and workload.dtype in ITEM_BYTES:
        same["dtype"] = workload.dtype
    most = DEFAULT_BUDGET_S * min(1 + len(environments(axes)), MOST_BUDGETS)
    return SweepOptions(
        backend=name,
        fabric=str(fabric.absolute()) if fabric else None,
        hosts=tuple(expand(hosts)) if hosts else rank_hosts(same["launcher"], same["nranks"], os.environ),
        budget_s=budget if budget or name == "sim" else most,
        env=axes,
        timeout_s=timeout,
        sample_s=sample / 1e3,
        seed=drawn_seed(seed),
        collective=workload.collective if workload else collective or Collective.ALL_REDUCE.value,
        workload=workload,
        **same,
    )


def open_run(options: SweepOptions | None, path: pathlib.Path | None, scan: pathlib.Path | None = None) -> RunDirectory:
    """Return a new run directory for these options; without options, the one to go on with.

    Args:
        options: What was asked for.
        path: Of the run directory.
        scan: A scan of the nodes that take part; None looks at this machine.
    """
    if options is None:
        return RunDirectory.resume(path or pathlib.Path(), NAME)
    manifest = Manifest(
        command=NAME,
        argv=command_line(),
        seed=options.seed,
        environment=relevant_environment(dict(os.environ)),
        options=msgspec.to_builtins(options),
        hardware=seen_hardware(options, scan),
    )
    _, _, plan = planned(options)
    race_of(plan, options.env, options.search)
    return RunDirectory.create(path or default_directory(NAME), manifest)


def swept(directory: RunDirectory) -> SweepDocument:
    """Run what is left of a sweep and return its document, written to the run directory as well."""
    options = stored_options(directory.path, directory.manifest, SweepOptions)
    backend, capabilities, plan = planned(options)
    beside = f" in {1 + len(envs)} environments" if (envs := environments(options.env)) else ""
    who = f"{capabilities.library}, {capabilities.nranks} ranks"
    counts = f"{counted(len(plan.cells), 'cell')} at {counted(len(plan.points), 'size')}"
    note(f"{who}: {counts}{beside}")
    race = race_of(plan, options.env, options.search)
    with contextlib.closing(backend):
        run_race(race, backend, directory, LaunchProgress(options.budget_s))
    workload = _placed(options, backend, capabilities)
    document = with_normality(_judged(race, backend, capabilities, directory.dropped, workload), directory.manifest)
    directory.finish(document)
    return document


def planned(options: SweepOptions) -> tuple[Backend, Capabilities, RacePlan]:
    """Return what will run, and what of.

    Raises:
        UsageError: The backend cannot run what was asked for.
    """
    fabric = pathlib.Path(options.fabric) if options.fabric else None
    backend = make_backend(
        options.backend,
        BackendOptions(
            nranks=options.nranks,
            fabric=fabric,
            launcher=options.launcher,
            hosts=options.hosts,
            seed=options.seed,
            channels=tuple(filter(None, options.channels)),
            gpu=GpuOptions(mode=options.mode, in_place=options.in_place, memory=options.memory),
            ahead=not options.env,  # the next launch's variables are not this one's
        ),
    )
    collective = Collective(options.collective)
    capabilities = backend.capabilities(collective)
    options = options.with_(workload=_placed(options, backend, capabilities))
    plan = RacePlan(
        points=planned_points(options, backend.points(collective)),
        cells=planned_cells(options, capabilities),
        nranks=capabilities.nranks,
        seed=options.seed,
        timeout_s=options.timeout_s,
        sample_s=options.sample_s,
        budget_s=options.budget_s,
        exhaustive=options.exhaustive,
    )
    return backend, capabilities, plan


def _placed(options: SweepOptions, backend: Backend, capabilities: Capabilities) -> Workload | None:
    """Return the workload with sizes that the backend can measure."""
    if options.workload is None:
        return None
    collective = Collective(options.collective)
    offered = sorted({point.size_bytes for point in backend.points(collective)})
    return placed(
        options.workload, offered, part_bytes(collective, options.dtype or DEFAULT_DTYPE, capabilities.nranks)
    )


def _judged(
    race: Race, backend: Backend, capabilities: Capabilities, dropped_bytes: int, workload: Workload | None = None
) -> SweepDocument:
    def environment(collective: str, cell: Cell) -> dict[str, str]:
        return backend.environment(Collective(collective), cell)

    own = race.evidence.own_channels
    gain = summary.gain(race, prediction.weights(race, workload) if workload else None)
    choice = choose(race.plan.points, race.winners, race.ratios, gain, environment, own)
    if workload is not None:
        choice = choice.with_(table=widened(choice.table, extents(workload)))
    return SweepDocument(
        findings=(
            *capabilities.findings,
            *doubts(race, choice, dropped_bytes),
            *(prediction.doubts(workload) if workload else ()),
        ),
        prediction=prediction.predicted(race, workload) if workload else None,
        backend=backend.name,
        library=capabilities.library,
        nranks=capabilities.nranks,
        nnodes=capabilities.nnodes,
        launches=len(race.evidence.launches),
        seed=race.plan.seed,
        cells=summary.cell_results(race),
        choice=choice,
        cost=summary.cost(race),
        environments=race.environment_results(),
    )
