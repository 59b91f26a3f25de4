"""``ncclprobe inspect``: what other tools' outputs say, recognised by content."""

from __future__ import annotations

import functools
import pathlib

import click

from ncclprobe.cli.keeping import keep
from ncclprobe.cli.output import OUT_ON_REQUEST, finish, note, shared_options
from ncclprobe.errors import UsageError
from ncclprobe.findings import error
from ncclprobe.inspect.recognise import inspect
from ncclprobe.inspect.source import Reading
from ncclprobe.reading import LOG_BYTES, whole_file
from ncclprobe.records.inspect import InspectDocument
from ncclprobe.report.text.inspect import inspect_text

NAME = "inspect"


@click.command(NAME)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@functools.partial(shared_options, out_help=OUT_ON_REQUEST)
def command(files: tuple[str, ...], out: pathlib.Path | None, seed: int | None, *, as_json: bool) -> int:
    """Read what other tools wrote; each FILE's kind is recognised by its content, - is the standard input.

    NCCL_DEBUG logs, nccl-tests' tables and JSON, SGLang's results, nsys' kernel tables and tuner CSVs, also behind
    what mpirun, srun and log collectors put before each line.

    \b
    ncclprobe inspect nccl.log
    srun all_reduce_perf -g 8 | ncclprobe inspect -

    Exit status 3 if a file says that something failed or is of no known kind, 2 if a file cannot be read.
    """  # noqa: D301 (click reads the backspace)
    readings, unreadable = [], 0
    for name in dict.fromkeys(files):
        try:
            readings.append(inspect(name, _content(name)))
        except UsageError as problem:
            readings.append(_refused(name, problem))
            unreadable += 1
    document = InspectDocument(
        documents=tuple(document for reading in readings for document in reading.documents),
        findings=tuple(finding for reading in readings for finding in reading.findings),
    )
    path = keep(NAME, document, files, out, seed)
    status = finish(document, lambda: inspect_text(document, path), as_json=as_json, path=path)
    return UsageError.exit_status if unreadable else status


def _content(name: str) -> bytes:
    """Return a file's bytes.

    Raises:
        UsageError: It cannot be read.
    """
    try:
        return whole_file(name, LOG_BYTES)
    except OSError as problem:
        hint = "; name the files in it" if pathlib.Path(name).is_dir() else ""
        raise UsageError(f"cannot read {name}: {problem.strerror or problem}{hint}") from problem


def _refused(name: str, problem: UsageError) -> Reading:
    """Say on stderr, and in the document, that a file cannot be read; the others are read all the same."""
    note(f"Error: {problem}")
    hint = "check the name and the permissions; the other files were read"
    return Reading(documents=(), findings=(error("unreadable-input", name, str(problem), hint),))
