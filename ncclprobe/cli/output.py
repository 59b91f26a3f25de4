"""What every command shares: ``--json``, ``--out``, ``--seed``, how a document is printed, and the exit status."""

from __future__ import annotations

import pathlib
import secrets
from collections.abc import Callable
from typing import Any, TypeVar

import click
import msgspec
from click.core import ParameterSource

from ncclprobe.errors import UsageError
from ncclprobe.findings import has_error
from ncclprobe.records.base import Document

OUT_HELP = "Run directory  [default: ncclprobe-runs/<UTC time>-<command>]"
Command = TypeVar("Command", bound=Callable[..., Any])


def shared_options(command: Command) -> Command:
    """Add ``--json``, ``--out`` and ``--seed`` to a command."""
    for option in (
        click.option(
            "--seed", type=click.IntRange(0), help="Seed of every random order; drawn and recorded if absent."
        ),
        click.option("--out", type=click.Path(path_type=pathlib.Path), help=OUT_HELP),
        click.option(
            "--json", "as_json", is_flag=True, help="Print one JSON document on stdout and nothing else there."
        ),
    ):
        command = option(command)
    return command


def refuse_options_with_resume(context: click.Context) -> None:
    """Raise UsageError where options other than --json stand beside --resume: a run goes on as it was begun."""
    given = [
        f"--{name.replace('_', '-')}"
        for name in context.params
        if name not in ("resume", "as_json") and context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise UsageError(f"--resume goes on with the run's own options; leave {', '.join(given)} away")


def drawn_seed(seed: int | None) -> int:
    """Return the seed asked for, or a fresh one."""
    return secrets.randbelow(2**31) if seed is None else seed


def finish(document: Document, text: Callable[[], str], *, as_json: bool) -> int:
    """Print a document for a machine or for people, and return the exit status.

    Args:
        document: The command's result.
        text: Makes the text for people; called only where it is printed.
        as_json: Print JSON on stdout, and nothing else there.
    """
    if as_json:
        click.echo(msgspec.json.encode(document).decode())
    else:
        click.echo(text())
    return 3 if has_error(document.findings) else 0


def note(message: str) -> None:
    """Print a line for people on stderr."""
    click.echo(message, err=True)
