"""``ncclprobe validate-e2e``: is the real workload faster with the candidate's settings?"""

from __future__ import annotations

import os
import pathlib
import shlex
from typing import Any

import click
import msgspec
from click.core import ParameterSource

from ncclprobe.cli.e2e_arms import (
    TABLE_FILE,
    arm_settings,
    baseline_settings,
    expectation_of,
    for_workload,
    inherited_by,
    measured_by,
    measured_with,
    refuse_nothing,
    split_variants,
    with_layouts,
)
from ncclprobe.cli.e2e_job import collected, emit, is_job, job_options, job_script, submitted_document, watches
from ncclprobe.cli.e2e_run import run_anew, run_trials, surroundings, working_directory
from ncclprobe.cli.numbers import Number
from ncclprobe.cli.output import drawn_seed, finish, note, shared_options
from ncclprobe.e2e.command import refuse_absent
from ncclprobe.e2e.gpus import gpu_bytes
from ncclprobe.e2e.workload import WORKLOADS, make_workload
from ncclprobe.errors import UsageError
from ncclprobe.launchers import LAUNCHERS
from ncclprobe.launchers.jobs import fresh_name
from ncclprobe.launchers.scripts import SCRIPTS
from ncclprobe.nodesets import expand
from ncclprobe.records.e2e import (
    TELEMETRY_S,
    Arm,
    ArmSettings,
    Bench,
    E2eDocument,
    E2eOptions,
    Layout,
    Placement,
    ProxyShape,
    SglangOptions,
)
from ncclprobe.report.text.validate_e2e import e2e_text
from ncclprobe.secrecy import holds_secret
from ncclprobe.store import Manifest, RunDirectory, command_line, default_directory, relevant_environment

NAME = "validate-e2e"
WITH_RESUME = ("resume", "here", "wait", "as_json")
"""Options that go with --resume; all others are the interrupted run's own."""
EXAMPLES = """\b
ncclprobe validate-e2e --candidate ncclprobe-runs/20261122T021100Z-sweep
ncclprobe validate-e2e --workload command --metric 'tok/s: ([0-9.]+)' \\
    --candidate NCCL_ALGO=allreduce:tree -- ./bench.sh --batch 64
ncclprobe validate-e2e --workload sglang --model deepseek-ai/DeepSeek-R1 --tp 8 \\
    --candidate ncclprobe-runs/20261122T021100Z-sweep -- --load-format dummy --num-prompts 2000
ncclprobe validate-e2e --workload sglang --tp 16 --nnodes 2 --candidate NCCL_PROTO=LL --launcher slurm --submit
"""
MOST_TRIALS = 100_000
"""An arm: more tell nothing apart that is worth a setting, and each look at the data goes through all of them."""
_PROXY = ("layers", "hidden", "batch", "steps", "nranks")
_LAYOUT = ("tp", "pp", "dp", "nnodes")
_PLACEMENT = ("launcher", "hosts", "nnodes")
_SGLANG = ("bench", "repeats", "model", *_LAYOUT, "variants", "prefix", "python", "launcher", "hosts")
_MEASURED = ("metric", "lower_is_better", "tokens")
_PLACED = ("launcher", "nnodes")
TAKES = {"command": _MEASURED, "proxy": (*_PROXY, *_PLACEMENT), "sglang": (*_MEASURED, *_SGLANG)}
"""Workload -> options that not every workload takes; as a job, each takes a launcher and a number of nodes."""


@click.command(NAME, epilog=EXAMPLES)
@click.argument("tokens", metavar="[-- COMMAND...]", nargs=-1, type=click.UNPROCESSED)
@click.option("--workload", type=click.Choice(list(WORKLOADS)), default="proxy", show_default=True, help="What is run.")
@click.option("--candidate", multiple=True, metavar="NAME=VALUE|RUN", help="A variable, or a run that recommends some.")
@click.option("--baseline", multiple=True, metavar="NAME=VALUE", help="A variable of the other arm.")
@click.option("--trials", type=click.IntRange(1, MOST_TRIALS), default=20, show_default=True, help="An arm, at most.")
@click.option(
    "--warmup", type=click.IntRange(0, MOST_TRIALS), default=1, show_default=True, help="Trials an arm, thrown away."
)
@click.option(
    "--min-effect",
    type=Number(0, 0.5, min_open=True),
    default=0.02,
    show_default=True,
    help="A difference within this is no difference.",
)
@click.option("--budget", type=Number(0, min_open=True), metavar="SECONDS", help="Of all trials, warm-ups aside.")
@click.option(
    "--timeout",
    type=Number(0, min_open=True),
    metavar="SECONDS",
    default=3600,
    show_default=True,
    help="Of one trial.",
)
@click.option(
    "--metric",
    default="",
    metavar="REGEX|NAME",
    help="command: the first group of the last match is the value. sglang: a name in its JSONL.",
)
@click.option("--lower-is-better", is_flag=True, help="command, sglang: the metric is a time.")
@click.option("--layers", type=click.IntRange(1), default=4, show_default=True, help="proxy: DeepSeek-V3 has 61.")
@click.option("--hidden", type=click.IntRange(16), default=512, show_default=True, help="proxy: DeepSeek-V3 has 7168.")
@click.option("--batch", type=click.IntRange(1), default=64, show_default=True, help="proxy: tokens a step.")
@click.option("--steps", type=click.IntRange(1), default=16, show_default=True, help="proxy: timed steps a trial.")
@click.option("--nranks", type=click.IntRange(1), default=4, show_default=True, help="proxy: tensor-parallel ranks.")
@click.option(
    "--bench",
    type=click.Choice([one.value for one in Bench]),
    default="offline",
    show_default=True,
    help="sglang: which.",
)
@click.option(
    "--repeats",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="sglang --bench serving: client runs against each started server; their median is a trial's value.",
)
@click.option(
    "--model",
    default="tiny-deepseek",
    show_default=True,
    metavar="PATH|NAME",
    help="sglang: a model, or one without weights that is made: tiny-deepseek, mid-deepseek.",
)
@click.option("--tp", type=click.IntRange(1), default=1, show_default=True, help="sglang: tensor-parallel ranks.")
@click.option("--pp", type=click.IntRange(1), default=1, show_default=True, help="sglang: pipeline stages.")
@click.option("--dp", type=click.IntRange(1), default=1, show_default=True, help="sglang: data-parallel replicas.")
@click.option("--nnodes", type=click.IntRange(1), default=1, show_default=True, help="Nodes; sglang: of the baseline.")
@click.option("--variants", multiple=True, metavar="tp=N,pp=N...", help="sglang: further layouts, each an arm.")
@click.option("--prefix", default="", metavar="TOKENS", help="sglang: before its command: 'apptainer exec --nv x.sif'.")
@click.option("--python", metavar="PROGRAM", help="sglang: the Python that has it  [default: this one, or python3]")
@click.option(
    "--launcher",
    type=click.Choice(sorted({*LAUNCHERS, *SCRIPTS})),
    help="proxy, sglang: what starts them on several nodes. With --emit or --submit: slurm or pbs.",
)
@click.option("--hosts", metavar="NODESET", help="proxy, sglang: these nodes: dgx[001-002]  [default: the job's]")
@job_options
@click.option(
    "--telemetry",
    type=Number(0),
    metavar="SECONDS",
    default=TELEMETRY_S,
    show_default=True,
    help="Between samples of GPUs, HCAs and CPUs while a trial runs; 0 takes none.",
)
@click.option("--resume", type=click.Path(path_type=pathlib.Path), metavar="DIR", help="Go on with this run.")
@shared_options
@click.pass_context
def command(context: click.Context, /, resume: pathlib.Path | None, *, as_json: bool, **given: Any) -> int:
    """Compare a candidate's settings with a baseline's by a real workload, in interleaved trials."""
    if resume is None and is_job(context, given):
        return _job(context, given, as_json=as_json)
    if resume is not None and watches(resume, here=given["here"]):
        _refuse_with_resume(context, resume)
        return _finished(collected(resume, given["wait"]), resume, as_json=as_json)
    with _resumed(context, resume) if resume is not None else _created(context, given) as directory:
        document = run_anew(directory) if resume is None else run_trials(directory)
    return _finished(document, directory.path, as_json=as_json)


def _finished(document: E2eDocument, path: pathlib.Path, *, as_json: bool) -> int:
    return finish(document, lambda: e2e_text(document, str(path)), as_json=as_json, path=str(path))


def _job(context: click.Context, given: dict[str, Any], *, as_json: bool) -> int:
    """Write the job script, submit it and wait for its result, whatever of this was asked for."""
    if as_json and not given["submit"]:
        raise UsageError("--emit writes a script, no document; leave --json away, or --submit it")
    _refuse_misplaced(context, given["workload"], as_job=True)
    path = given["out"] or default_directory(NAME)
    path = path.absolute() if given["submit"] else path
    options = _options(given, path)
    if options.workload == "command":
        make_workload(options, surroundings(path))
    _note_secret(options, "stands in the job's script, and a job that is started again cannot go on with its run")
    name = fresh_name() if given["submit"] else "ncclprobe"
    script = job_script(context, given, options, path, name)
    if given["emit"]:
        emit(given["emit"], script)
    if not given["submit"]:
        return 0
    document = submitted_document(given["launcher"], name, script, path, given["wait"])
    return _finished(document, path, as_json=as_json)


def _resumed(context: click.Context, path: pathlib.Path) -> RunDirectory:
    """Return the interrupted run's directory.

    Raises:
        UsageError: Other options were given, too.
    """
    _refuse_with_resume(context, path)
    return RunDirectory.resume(path.absolute(), NAME)


def _refuse_with_resume(context: click.Context, path: pathlib.Path) -> None:
    extra = [name for name in context.params if name not in WITH_RESUME and _is_given(context, name)]
    if extra:
        raise UsageError(f"--resume goes on with the options of {path}; leave out {', '.join(map(_flag, extra))}")


def _created(context: click.Context, given: dict[str, Any]) -> RunDirectory:
    """Return a new run directory with all that --resume needs in its manifest."""
    _refuse_misplaced(context, given["workload"])
    path = (given["out"] or default_directory(NAME)).absolute()
    options = _options(given, path)
    make_workload(options, surroundings(path))
    if options.workload == "command":
        refuse_absent(options.command, options.arms.values(), os.environ)
    manifest = Manifest(
        command=NAME,
        argv=command_line(),
        directory=working_directory(),
        seed=options.seed,
        environment=relevant_environment(dict(os.environ)),
        options=msgspec.to_builtins(options),
    )
    directory = RunDirectory.create(path, manifest)
    _note_secret(options, "is not kept, so --resume cannot go on with this run")
    return directory


def _note_secret(options: E2eOptions, consequence: str) -> None:
    if holds_secret(msgspec.to_builtins(options)):
        note(f"The command line holds what looks like a secret; it {consequence}. Better export it as a variable.")


def _refuse_misplaced(context: click.Context, workload: str, *, as_job: bool = False) -> None:
    special = dict.fromkeys(name for names in TAKES.values() for name in names)
    takes = {*TAKES[workload], *(_PLACED if as_job else ())}
    misplaced = [name for name in special if name not in takes and _is_given(context, name)]
    if misplaced:
        raise UsageError(f"the workload {workload!r} does not take {', '.join(map(_flag, misplaced))}")


def _options(given: dict[str, Any], path: pathlib.Path) -> E2eOptions:
    is_sglang = given["workload"] == "sglang"
    variants, tokens = split_variants(given["tokens"]) if is_sglang else ((), given["tokens"])
    variants = (*(word for text in given["variants"] for word in text.split()), *variants)
    if not given["candidate"] and not variants:
        raise UsageError("there is nothing to compare; name --candidate NAME=VALUE or --candidate RUN")
    baseline = baseline_settings(given["baseline"])
    candidate = arm_settings(given["candidate"], path / TABLE_FILE) if given["candidate"] else None
    refuse_nothing(given["candidate"], baseline, candidate)
    expected = expectation_of(given["candidate"], (baseline, candidate)) if candidate else None
    baseline = for_workload(given["workload"], Arm.BASELINE, baseline)
    candidate = for_workload(given["workload"], Arm.CANDIDATE, candidate) if candidate else None
    further: dict[str, ArmSettings] = {}
    hosts = expand(given["hosts"]) if given["hosts"] else ()
    if is_sglang:
        base = Layout(**{name: given[name] for name in _LAYOUT})
        baseline, candidate, further = with_layouts(baseline, candidate, base, variants)
    options = E2eOptions(
        workload=given["workload"],
        baseline=baseline,
        candidate=candidate,
        variants=further,
        trials=given["trials"],
        warmups=given["warmup"],
        min_effect=given["min_effect"],
        budget_s=given["budget"],
        timeout_s=given["timeout"],
        seed=drawn_seed(given["seed"]),
        metric=given["metric"],
        lower_is_better=given["lower_is_better"],
        command=() if is_sglang else tokens,
        proxy=ProxyShape(**{name: given[name] for name in _PROXY}),
        placement=Placement(
            launcher=given["launcher"] or "local",
            hosts=hosts,
            nnodes=given["nnodes"] if _is_given(click.get_current_context(), "nnodes") else None,
        ),
        sglang=_sglang(given, tokens) if is_sglang else SglangOptions(),
        telemetry_s=given["telemetry"],
        expected=expected,
    )
    return options.with_(inherited=inherited_by(options.arms.values(), os.environ))


def _sglang(given: dict[str, Any], tokens: tuple[str, ...]) -> SglangOptions:
    end = tokens.index("--") if "--" in tokens else len(tokens)
    try:
        prefix = tuple(shlex.split(given["prefix"]))
    except ValueError as problem:
        raise UsageError(f"--prefix {given['prefix']!r} is no command: {problem}") from problem
    manifest = measured_by(given["candidate"])
    return SglangOptions(
        bench=Bench(given["bench"]),
        model=given["model"],
        python=given["python"],
        prefix=prefix,
        arguments=tokens[:end],
        client_arguments=tokens[end + 1 :],
        repeats=given["repeats"],
        launcher=given["launcher"],
        hosts=expand(given["hosts"]) if given["hosts"] else (),
        measured_with=measured_with(given["candidate"]),
        measured_env=manifest.environment if manifest else None,
        measured_argv=manifest.argv if manifest else (),
        gpu_bytes=gpu_bytes(),
    )


def _is_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is not ParameterSource.DEFAULT


def _flag(name: str) -> str:
    return "COMMAND" if name == "tokens" else "--" + name.replace("_", "-")
