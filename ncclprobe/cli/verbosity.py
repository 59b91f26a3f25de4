"""How much a command says beside its result: ``--quiet`` and ``-v``, the same under every command."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, TypeVar

import click

from ncclprobe.control import visible
from ncclprobe.errors import UsageError

_KEY = "ncclprobe.verbosity"
Command = TypeVar("Command", bound=Callable[..., Any])


class Verbosity(enum.IntEnum):
    """From the least to the most."""

    QUIET = 0
    NORMAL = 1
    VERBOSE = 2


def verbosity_options(command: Command) -> Command:
    """Add ``--quiet`` and ``--verbose`` to a command; neither is among its parameters."""
    for names, help_ in (
        (("-v", "--verbose"), "Say each step on stderr."),
        (("-q", "--quiet"), "Print the answer alone: no tables, no progress."),
    ):
        command = click.option(*names, is_flag=True, expose_value=False, callback=_heard, help=help_)(command)
    return command


def _heard(context: click.Context, option: click.Parameter, given: bool) -> None:
    if not given:
        return
    level = Verbosity.QUIET if option.name == "quiet" else Verbosity.VERBOSE
    if context.meta.setdefault(_KEY, level) is not level:
        raise UsageError("--quiet and --verbose exclude each other")


def verbosity() -> Verbosity:
    """Return how much the running command is to say."""
    context = click.get_current_context(silent=True)
    level: Verbosity = context.meta.get(_KEY, Verbosity.NORMAL) if context is not None else Verbosity.NORMAL
    return level


def is_quiet() -> bool:
    """Return whether only the answer is wanted."""
    return verbosity() is Verbosity.QUIET


def note(message: str) -> None:
    """Print a line for people on stderr, unless they asked for quiet."""
    if not is_quiet():
        click.echo(visible(message), err=True)


def detail(message: str) -> None:
    """Print a line on stderr for those who asked for each step."""
    if verbosity() is Verbosity.VERBOSE:
        click.echo(visible(message), err=True)
