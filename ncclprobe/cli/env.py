"""``ncclprobe env``: the chosen settings, as a job loads them; ``lint`` and ``explain`` are in ``env_lint``."""

from __future__ import annotations

import pathlib

import click

from ncclprobe.cli.env_check import check_command
from ncclprobe.cli.env_lint import explain_command, lint_command
from ncclprobe.cli.output import finish
from ncclprobe.cli.settings import run_settings
from ncclprobe.cli.verbosity import verbosity_options
from ncclprobe.errors import ProbeError
from ncclprobe.findings import Finding, info, warning
from ncclprobe.records.env import EnvDocument
from ncclprobe.tuner.emit import Form, emitted
from ncclprobe.tuner.environ import Settings, merged

TABLES = (Form.TUNER, Form.NVIDIA_CSV)


@click.group("env")
def command() -> None:
    """Emit the settings that runs recommend, check that they are in force, lint scripts, explain variables."""


command.add_command(check_command)
command.add_command(lint_command)
command.add_command(explain_command)


@command.command("emit")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(exists=True, path_type=pathlib.Path))
@click.option(
    "--format",
    "form",
    type=click.Choice([form.value for form in Form]),
    default=Form.SHELL.value,
    show_default=True,
    help="What loads it: a shell, NCCL itself, a Slurm or PBS job script, ncclprobe's tuner plugin or NVIDIA's.",
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=pathlib.Path), help="Write the text to this file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout and nothing else there.")
@verbosity_options
def emit(runs: tuple[pathlib.Path, ...], form: str, out: pathlib.Path | None, *, as_json: bool) -> int:
    """Emit what each RUN recommends: a run directory or a document of scan, sweep or tune.

    Several runs are merged; runs that contradict each other are an error.
    """
    settings = merged([run_settings(run) for run in runs])
    text = emitted(settings, Form(form))
    document = EnvDocument(
        sources=settings.sources,
        format=form,
        env=settings.variables,
        table=settings.rows,
        text=text,
        findings=_findings(settings, Form(form)),
    )
    if out is not None:
        _write(out, text)
    return finish(document, lambda: text.rstrip("\n") if out is None else f"Wrote {out}.", as_json=as_json)


def _findings(settings: Settings, form: Form) -> tuple[Finding, ...]:
    """Return what the text cannot do."""
    findings = []
    foreign = [variable.name for variable in settings.variables if not variable.name.startswith("NCCL_")]
    if form is Form.NCCL_CONF and foreign:
        findings.append(
            warning(
                "not-for-nccl-conf",
                ", ".join(foreign),
                "Only NCCL reads nccl.conf, and these variables are not NCCL's, so they were left out.",
                "Set them in the job's environment: --format shell, slurm or pbs.",
            )
        )
    findings += _table_findings(settings, form) if form in TABLES and settings.rows else []
    if form not in TABLES and settings.table_only:
        findings.append(
            info(
                "needs-tuner-table",
                ", ".join(settings.sources),
                "The choice depends on the message size, which no variable can say.",
                "Emit it with --format tuner and load it through a tuner plugin.",
            )
        )
    return tuple(findings)


def _table_findings(settings: Settings, form: Form) -> list[Finding]:
    """Return what a table cannot hold, and what its reader makes of it."""
    findings = []
    sources = ", ".join(settings.sources)
    if any(row.nnodes is None or row.nranks is None for row in settings.rows):
        findings.append(
            warning(
                "table-unconditioned",
                sources,
                "The run does not say on how many nodes it was measured, so rows match communicators on any number.",
                "Write the number into the table's column nNodes, or measure again with --hosts.",
            )
        )
    if form is Form.NVIDIA_CSV:
        findings.append(
            warning(
                "one-channel-elsewhere",
                sources,
                "NVIDIA's example plugin runs every operation that no row matches with 1 channel: other sizes, other "
                "collectives, other communicators.",
                "Use --format tuner with ncclprobe's own plugin, which leaves those to NCCL; see docs/tuner-plugin.md.",
            )
        )
    return findings


def _write(path: pathlib.Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as problem:
        raise ProbeError(f"cannot write {path}: {problem.strerror}; choose another --out") from problem
