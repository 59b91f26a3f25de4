"""``ncclprobe validate-e2e``: is the real workload faster with the candidate's settings?"""

from __future__ import annotations

import os
import pathlib
import re
from typing import Any

import click
import msgspec
from click.core import ParameterSource

from ncclprobe.cli.output import drawn_seed, finish, note, shared_options
from ncclprobe.cli.settings import run_settings
from ncclprobe.e2e.run import compared
from ncclprobe.e2e.workload import WORKLOADS, make_workload
from ncclprobe.errors import RunDirectoryError, UsageError
from ncclprobe.records.e2e import ArmSettings, E2eDocument, E2eOptions, ProxyShape
from ncclprobe.records.inspect import TunerRow
from ncclprobe.report.text.validate_e2e import e2e_text
from ncclprobe.store import Manifest, RunDirectory, command_line, default_directory, relevant_environment
from ncclprobe.tuner.table import parse_table, table_text

NAME = "validate-e2e"
TABLE_VARIABLE = "NCCLPROBE_TUNER_TABLE"
TABLE_FILE = "candidate-table.csv"
WITH_RESUME = ("resume", "as_json")
"""Options that go with --resume; all others are the interrupted run's own."""
EXAMPLES = """\b
ncclprobe validate-e2e --candidate ncclprobe-runs/20261122T021100Z-sweep
ncclprobe validate-e2e --workload command --metric 'tok/s: ([0-9.]+)' \\
    --candidate NCCL_ALGO=allreduce:tree -- ./bench.sh --batch 64
"""
ONLY = {"command": ("metric", "lower_is_better", "tokens"), "proxy": ("layers", "hidden", "batch", "steps", "nranks")}
"""Workload -> options that are its alone."""


@click.command(NAME, epilog=EXAMPLES)
@click.argument("tokens", metavar="[-- COMMAND...]", nargs=-1, type=click.UNPROCESSED)
@click.option("--workload", type=click.Choice(list(WORKLOADS)), default="proxy", show_default=True, help="What is run.")
@click.option("--candidate", multiple=True, metavar="NAME=VALUE|RUN", help="A variable, or a run that recommends some.")
@click.option("--baseline", multiple=True, metavar="NAME=VALUE", help="A variable of the other arm.")
@click.option("--trials", type=click.IntRange(1), default=20, show_default=True, help="An arm, at most.")
@click.option("--warmup", type=click.IntRange(0), default=1, show_default=True, help="Trials an arm, thrown away.")
@click.option(
    "--min-effect",
    type=click.FloatRange(0, 0.5, min_open=True),
    default=0.02,
    show_default=True,
    help="A difference within this is no difference.",
)
@click.option("--budget", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Of all trials together.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    default=3600,
    show_default=True,
    help="Of one trial.",
)
@click.option("--metric", default="", metavar="REGEX", help="command: the first group of the last match is the value.")
@click.option("--lower-is-better", is_flag=True, help="command: the metric is a time.")
@click.option("--layers", type=click.IntRange(1), default=4, show_default=True, help="proxy: DeepSeek-V3 has 61.")
@click.option("--hidden", type=click.IntRange(16), default=512, show_default=True, help="proxy: DeepSeek-V3 has 7168.")
@click.option("--batch", type=click.IntRange(1), default=64, show_default=True, help="proxy: tokens a step.")
@click.option("--steps", type=click.IntRange(1), default=16, show_default=True, help="proxy: timed steps a trial.")
@click.option("--nranks", type=click.IntRange(1), default=4, show_default=True, help="proxy: tensor-parallel ranks.")
@click.option("--resume", type=click.Path(path_type=pathlib.Path), metavar="DIR", help="Go on with this run.")
@shared_options
@click.pass_context
def command(context: click.Context, /, resume: pathlib.Path | None, *, as_json: bool, **given: Any) -> int:
    """Compare a candidate's settings with a baseline's by a real workload, in interleaved trials."""
    directory = _resumed(context, resume) if resume is not None else _created(context, given)
    with directory:
        document = run_trials(directory)
    return finish(document, lambda: e2e_text(document, str(directory.path)), as_json=as_json)


def run_trials(directory: RunDirectory) -> E2eDocument:
    """Run what is left of a comparison and return its document, written to the run directory as well."""
    options = msgspec.convert(directory.manifest.options, E2eOptions)
    _write_table(directory, options)
    return compared(options, directory, note)


def _resumed(context: click.Context, path: pathlib.Path) -> RunDirectory:
    """Return the interrupted run's directory.

    Raises:
        UsageError: Other options were given, too.
    """
    extra = [name for name in context.params if name not in WITH_RESUME and _is_given(context, name)]
    if extra:
        raise UsageError(f"--resume goes on with the options of {path}; leave out {', '.join(map(_flag, extra))}")
    return RunDirectory.resume(path, NAME)


def _created(context: click.Context, given: dict[str, Any]) -> RunDirectory:
    """Return a new run directory with all that --resume needs in its manifest."""
    workload = given["workload"]
    misplaced = [name for other in ONLY if other != workload for name in ONLY[other] if _is_given(context, name)]
    if misplaced:
        raise UsageError(f"the workload {workload!r} does not take {', '.join(map(_flag, misplaced))}")
    path = (given["out"] or default_directory(NAME)).absolute()
    options = _options(given, path)
    make_workload(options)
    manifest = Manifest(
        command=NAME,
        argv=command_line(),
        seed=options.seed,
        environment=relevant_environment(dict(os.environ)),
        options=msgspec.to_builtins(options),
    )
    return RunDirectory.create(path, manifest)


def _options(given: dict[str, Any], path: pathlib.Path) -> E2eOptions:
    if not given["candidate"]:
        raise UsageError("there is nothing to compare; name --candidate NAME=VALUE or --candidate RUN")
    shape = {name: given[name] for name in ONLY["proxy"]}
    candidate = arm_settings(given["candidate"], path / TABLE_FILE)
    if candidate.table and given["workload"] == "command" and "NCCL_TUNER_PLUGIN" not in candidate.env:
        raise UsageError("the candidate's choice depends on the message size, which a command cannot be told")
    return E2eOptions(
        workload=given["workload"],
        baseline=ArmSettings(env=dict(variable_of(text) for text in given["baseline"])),
        candidate=candidate,
        trials=given["trials"],
        warmups=given["warmup"],
        min_effect=given["min_effect"],
        budget_s=given["budget"],
        timeout_s=given["timeout"],
        seed=drawn_seed(given["seed"]),
        metric=given["metric"],
        lower_is_better=given["lower_is_better"],
        command=given["tokens"],
        proxy=ProxyShape(**shape),
    )


def arm_settings(texts: tuple[str, ...], table: pathlib.Path) -> ArmSettings:
    """Return what variables and runs set together; later ones win.

    Args:
        texts: ``NAME=VALUE``, a run directory or a document, each.
        table: Where a per-size choice will be written; the arm's environment names it.

    Raises:
        UsageError: A text is neither.
    """
    env: dict[str, str] = {}
    rows: tuple[TunerRow, ...] = ()
    for text in texts:
        if _is_variable(text):
            env.update([variable_of(text)])
            continue
        settings = run_settings(_existing(text))
        env |= {variable.name: variable.value for variable in settings.variables}
        rows = settings.rows if settings.table_only else ()
    if rows:
        env[TABLE_VARIABLE] = str(table)
    elif TABLE_VARIABLE in env:
        rows = _read_table(pathlib.Path(env[TABLE_VARIABLE]))
    return ArmSettings(env=env, table=rows)


def _is_variable(text: str) -> bool:
    return re.match(r"[A-Za-z_][A-Za-z0-9_]*=", text) is not None


def variable_of(text: str) -> tuple[str, str]:
    """Return a variable's name and value.

    Raises:
        UsageError: The text is not ``NAME=VALUE``.
    """
    name, _, value = text.partition("=")
    if not _is_variable(text) or "\0" in value:
        raise UsageError(f"{text!r} is not NAME=VALUE")
    return name, value


def _existing(text: str) -> pathlib.Path:
    path = pathlib.Path(text)
    if not path.exists():
        raise UsageError(
            f"{text!r} is neither NAME=VALUE nor a run; name a run directory or a document of sweep or scan"
        )
    return path


def _read_table(path: pathlib.Path) -> tuple[TunerRow, ...]:
    try:
        return parse_table(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as problem:
        raise UsageError(f"{TABLE_VARIABLE}: cannot read {path} ({problem}); name a tuner table") from problem


def _write_table(directory: RunDirectory, options: E2eOptions) -> None:
    """Write the candidate's table to the run directory, if that is where its environment names it."""
    path = directory.path / TABLE_FILE
    tables = [arm.table for arm in options.arms.values() if arm.env.get(TABLE_VARIABLE) == str(path)]
    if tables:
        try:
            path.write_text(table_text(tables[0]), encoding="utf-8")
        except OSError as problem:
            raise RunDirectoryError(f"cannot write {path}: {problem.strerror}") from problem


def _is_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is not ParameterSource.DEFAULT


def _flag(name: str) -> str:
    return "COMMAND" if name == "tokens" else "--" + name.replace("_", "-")
