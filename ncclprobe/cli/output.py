"""What every command shares: its options, how a document is printed, what to do next, and the exit status."""

from __future__ import annotations

import pathlib
import secrets
from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from ncclprobe.cli.colour import painted
from ncclprobe.cli.verbosity import detail, is_quiet, note, verbosity_options
from ncclprobe.control import visible
from ncclprobe.errors import UsageError
from ncclprobe.findings import has_error
from ncclprobe.records.base import Document
from ncclprobe.records.env import EnvDocument
from ncclprobe.secrecy import kept_json, without_secrets

__all__ = ["detail", "drawn_seed", "finish", "note", "refuse_options_with_resume", "shared_options"]

OUT_HELP = "Run directory  [default: ncclprobe-runs/<UTC time>-<command>]"
OUT_WHERE_MEASURED = f"{OUT_HELP.removesuffix(']')}; none where files are read]"
OUT_ON_REQUEST = "Run directory  [default: none is written]"
Command = TypeVar("Command", bound=Callable[..., Any])


def shared_options(command: Command, out_help: str = OUT_HELP) -> Command:
    """Add ``--json``, ``--out``, ``--seed``, ``--quiet`` and ``--verbose`` to a command."""
    command = verbosity_options(command)
    for option in (
        click.option(
            "--seed", type=click.IntRange(0), help="Seed of every random order; drawn and recorded if absent."
        ),
        click.option("--out", type=click.Path(path_type=pathlib.Path), help=out_help),
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


def finish(document: Document, text: Callable[[], str], *, as_json: bool, path: str = "") -> int:
    """Print a document for a machine or for people, and return the exit status.

    Args:
        document: The command's result.
        text: Makes the text for people; called only where it is printed.
        as_json: Print JSON on stdout, and nothing else there.
        path: The run directory, for what to do next; empty for none.
    """
    if as_json:
        click.echo(kept_json(document).decode())
    elif isinstance(document, EnvDocument):
        click.echo(text())  # settings to be loaded, so never coloured or shortened
    else:
        shown = _answer(document) if is_quiet() else _with_next(document, text(), path)
        click.echo(painted(visible(without_secrets(shown))))
    return 3 if has_error(document.findings) else 0


def _answer(document: Document) -> str:
    from ncclprobe.report.text.verdict import verdict  # knows every command's document

    return verdict(document)


def _with_next(document: Document, text: str, path: str) -> str:
    from ncclprobe.report.text.next_step import next_step

    return "\n\n".join(part for part in (text, next_step(document, path)) if part)
