"""The command line: the group, what errors look like, and the exit status.

Exit status: 0 healthy, 1 the tool failed, 2 usage, 3 the fabric or the environment is at fault.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import signal
import sys
import time
from typing import Any

import click
from click.shell_completion import CompletionItem

from ncclprobe import __version__, processes
from ncclprobe.errors import ProbeError

COMMANDS = {
    "scan": "Probe HCAs, GPUs and their affinity; derive NCCL_IB_HCA.",
    "sweep": "Measure algorithms, protocols and channels against the defaults.",
    "nodes": "Name the slow node, link or rail.",
    "inspect": "Read NCCL logs, nccl-tests, SGLang and nsys outputs.",
    "profile": "Read a workload's message sizes from logs, exports and records.",
    "env": "Emit the chosen settings, check a script's, explain variables.",
    "validate-e2e": "Compare settings by a real workload, interleaved.",
    "report": "Show runs on the terminal, or for other programs.",
    "tune": "Do all of it in order, in one run directory.",
    "watch": "Repeat a short check on a schedule and notice changes.",
    "schema": "Print a document's JSON Schema.",
    "completion": "Print what makes a shell complete commands and options.",
}
"""Name -> the line in ``--help``; a command's module is imported when it is called."""

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE_S = 15.0
"""After which a further interrupt ends this process as it is."""


class _LazyGroup(click.Group):
    """A group whose commands are imported when they are called: ``--help`` stays fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"ncclprobe.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is named first, or say which name is near."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as problem:
            import difflib  # a misspelt name is rare, and every start would pay for it

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            if not near:
                raise
            raise click.UsageError(f"{problem.message.rstrip('.')}; is {near[0]!r} meant?", ctx) from problem

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return commands and options that begin so, without importing any command."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [CompletionItem(name, help=line) for name, line in COMMANDS.items() if name.startswith(incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=_LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def group(context: click.Context) -> None:
    """Measure which NCCL settings, nodes and links a job should use.

    Without a command it says what to do next on this machine.

    Exit status: 0 healthy, 1 the tool failed, 2 usage, 3 the fabric or the environment is at fault.
    """
    if context.invoked_subcommand is None:
        from ncclprobe.cli.start import advice

        click.echo(advice())


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit; an error is one message, never a traceback."""
    for number in INTERRUPTS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, _interrupt)
    status = _status(arguments)
    _drop_unwritten()
    sys.exit(status)


def _flush() -> None:
    """Write what is still to be written, so that a full disk or a closed pipe is an error like others."""
    if sys.stdout is not None:
        sys.stdout.flush()


def _drop_unwritten() -> None:
    """Forget what could not be written: at its end Python would try again, and change the status to 120."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _interrupt(_number: int, _frame: object) -> None:
    """End what was started, and keep what was measured; a second interrupt does not stop that."""
    end_by = time.monotonic() + PATIENCE_S

    def again(_number: int, _frame: object) -> None:
        _say("Still ending what was started; it takes a few seconds.")
        if time.monotonic() > end_by:
            os._exit(130)

    for number in INTERRUPTS:
        signal.signal(number, again)
    processes.end_all()
    raise KeyboardInterrupt


def _say(line: str) -> None:
    """Print a line on stderr, whatever it interrupts; the terminal may be gone."""
    with contextlib.suppress(OSError):
        os.write(2, f"{line}\n".encode())


def _say_what_is_wrong(problem: ProbeError) -> None:
    from ncclprobe.control import visible
    from ncclprobe.secrecy import without_secrets  # an error is rare, and every start would pay for them

    with contextlib.suppress(OSError):
        click.echo(visible(f"Error: {without_secrets(str(problem))}"), err=True)


def _status(arguments: list[str] | None) -> int:
    try:
        outcome: Any = group.main(arguments, prog_name="ncclprobe", standalone_mode=False)
        _flush()
    except ProbeError as problem:
        _say_what_is_wrong(problem)
        return problem.exit_status
    except click.ClickException as problem:
        with contextlib.suppress(OSError):
            problem.show()
        return problem.exit_code
    except (click.Abort, KeyboardInterrupt):
        _say("Interrupted; what was measured is kept.")
        return 130
    except BrokenPipeError:
        return 1
    except OSError as problem:
        if problem.errno == errno.EIO and problem.filename is None:  # the terminal went away, and SIGHUP is on its way
            return 130
        where = f"{problem.filename}: " if problem.filename else ""
        _say(f"Error: {where}{problem.strerror or problem}; what was measured is kept")
        return 1
    except MemoryError:
        _say("Error: out of memory; what was measured is kept")
        return 1
    return outcome if isinstance(outcome, int) else 0
