"""``ncclprobe report``: what runs found, on the terminal or for other programs."""

from __future__ import annotations

import functools
import os
import pathlib

import click

from ncclprobe.cli.output import OUT_ON_REQUEST, drawn_seed, finish, note, shared_options
from ncclprobe.cli.report_html import write_page
from ncclprobe.cli.unfinished import is_unfinished, so_far
from ncclprobe.control import visible
from ncclprobe.errors import RunDirectoryError
from ncclprobe.findings import has_error
from ncclprobe.records.base import Document
from ncclprobe.records.report import ReportDocument, Reported
from ncclprobe.records.tune import TuneDocument
from ncclprobe.report.csv import csv_text
from ncclprobe.report.prometheus import prometheus_text
from ncclprobe.report.text.github import github_text
from ncclprobe.report.text.lines import in_lines
from ncclprobe.report.text.next_step import next_step
from ncclprobe.report.text.runs import Run, all_findings, runs_text
from ncclprobe.report.text.verdict import DOCUMENTS, verdict
from ncclprobe.secrecy import without_secrets
from ncclprobe.store import (
    DOCUMENT,
    Manifest,
    RunDirectory,
    command_line,
    read_document,
    relevant_environment,
    write_whole,
)

NAME = "report"
FORMS = ("plain", "github", "csv", "json")


@click.command(NAME)
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(exists=True, path_type=pathlib.Path))
@click.option(
    "--format", "form", type=click.Choice(FORMS), default="plain", show_default=True,
    help="Text for terminals or for a GitHub issue, all figures as CSV, or as --json.",
)  # fmt: skip
@click.option(
    "--prometheus", type=click.Path(dir_okay=False, path_type=pathlib.Path), metavar="FILE",
    help="Write metrics to FILE, for node_exporter's textfile collector.",
)  # fmt: skip
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=pathlib.Path), metavar="FILE",
    help="Write one HTML file with plots, which opens without a network.",
)  # fmt: skip
@functools.partial(shared_options, out_help=OUT_ON_REQUEST)
def command(
    runs: tuple[pathlib.Path, ...],
    form: str,
    prometheus: pathlib.Path | None,
    html: pathlib.Path | None,
    out: pathlib.Path | None,
    seed: int | None,
    *,
    as_json: bool,
) -> int:
    """Show what each RUN found: a run directory, or a document that a command printed with --json.

    Answers first, then what they rest on, then all findings with what to do next. With --json: each run's answer, and
    the findings of all.

    \b
    ncclprobe report ncclprobe-runs/20261122T021100Z-tune
    ncclprobe report before.json after.json
    ncclprobe report before after --html report.html
    ncclprobe report RUN --format github | gh issue create --title slow --body-file -
    ncclprobe report RUN --prometheus /var/lib/prometheus/node-exporter/ncclprobe.prom
    """  # noqa: D301 (click reads the backspace)
    read = [read_run(path) for path in dict.fromkeys(runs)]
    fit = [in_lines(run) for run in read]
    document = ReportDocument(runs=tuple(map(_reported, read, fit)), findings=all_findings(read))
    _keep(document, runs, out, seed)
    if prometheus is not None:
        write_whole(prometheus, prometheus_text(one for run in read for one in (*run.stages, run.document)))
        note(f"Wrote {prometheus}.")
        note_uncollected(prometheus)
    if html is not None:
        write_page(html, read)
        note(f"Wrote {html}.")
    return _shown(document, read, fit, "json" if as_json else form)


def note_uncollected(file: pathlib.Path) -> None:
    """Say where no collector will read a file of metrics.

    Source: node_exporter 1.5, collector/textfile.go
    """
    if file.suffix != ".prom":
        note(f"node_exporter's collector reads only files whose name ends in .prom, so not {file.name}.")


def _shown(document: ReportDocument, read: list[Run], fit: list[Run], form: str) -> int:
    """Print the runs in a format and return the exit status; ``fit`` are those for text."""
    if form in ("plain", "json"):
        return finish(document, lambda: _plain(fit), as_json=form == "json")
    if form == "csv":
        figures = [(run.source, one) for run in read for one in (*run.stages, run.document)]
        click.echo(csv_text(figures), nl=False)
    else:
        click.echo(visible(github_text(without_secrets(runs_text(fit)))))
    return 3 if has_error(document.findings) else 0


def _plain(read: list[Run]) -> str:
    """Return the text for people, with what to do next where there is one run."""
    following = next_step(read[0].document, read[0].source) if len(read) == 1 else ""
    return "\n\n".join(part for part in (runs_text(read), following) if part)


def read_run(path: pathlib.Path) -> Run:
    """Return a run with the documents of its stages; of an unfinished one what it says so far.

    Raises:
        RunDirectoryError: It says nothing yet.
    """
    document = so_far(path) if is_unfinished(path) else read_document(path, DOCUMENTS)
    return Run(source=str(path), document=document, stages=_stages(path, document))


def _stages(path: pathlib.Path, document: Document) -> tuple[Document, ...]:
    """Return what a run of ``tune`` holds of its stages; nothing where its document was read from a file alone."""
    if not isinstance(document, TuneDocument) or not path.is_dir():
        return ()
    folders = [path / stage.path for stage in document.stages if stage.path is not None]
    return tuple(read_document(folder, DOCUMENTS) for folder in folders if (folder / DOCUMENT).is_file())


def _reported(run: Run, fit: Run) -> Reported:
    document = run.document
    return Reported(
        source=run.source,
        schema=document.schema,
        version=document.version,
        created=document.created,
        verdict=verdict(fit.document),
    )


def _keep(document: ReportDocument, runs: tuple[pathlib.Path, ...], out: pathlib.Path | None, seed: int | None) -> None:
    """Write a run directory where one was asked for."""
    if out is None:
        return
    if any(out.absolute() == run.absolute() for run in runs):
        raise RunDirectoryError(f"--out {out} is one of the runs to report; choose another")
    manifest = Manifest(
        command=NAME,
        argv=command_line(),
        seed=drawn_seed(seed),
        environment=relevant_environment(dict(os.environ)),
        options={"runs": [str(run) for run in runs]},
    )
    with RunDirectory.create(out, manifest) as directory:
        directory.finish(document)
