"""``ncclprobe completion``: print the script that makes a shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from ncclprobe.cli.verbosity import verbosity_options
from ncclprobe.errors import UsageError

SHELLS = ("bash", "zsh", "fish")
PROGRAM, VARIABLE = "ncclprobe", "_NCCLPROBE_COMPLETE"
"""The variable's name follows from the program's. Source: click 8.1, ``Command.main``"""


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@verbosity_options
@click.pass_context
def command(context: click.Context, shell: str) -> int:
    """Print what makes SHELL complete ncclprobe's commands, options and files.

    \b
    bash: ncclprobe completion bash > ~/.local/share/bash-completion/completions/ncclprobe
    zsh:  ncclprobe completion zsh > ~/.zfunc/_ncclprobe
    fish: ncclprobe completion fish > ~/.config/fish/completions/ncclprobe.fish
    """  # noqa: D301 (click reads the backspace)
    click.echo(completion_script(context.find_root().command, shell))
    return 0


def completion_script(program: click.Command, shell: str) -> str:
    """Return a shell's completion script.

    Raises:
        UsageError: There is no completion for that shell.
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f"there is no completion for {shell!r}; choose from {', '.join(SHELLS)}")
    return kind(program, {}, PROGRAM, VARIABLE).source()
