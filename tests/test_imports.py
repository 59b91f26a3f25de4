"""Start-up stays light, and every command's help can be read."""

from __future__ import annotations

import subprocess
import sys
import time

import click
import pytest

from ncclprobe.cli import COMMANDS, group

HEAVY = ("numpy", "scipy", "cupy", "mpi4py", "pynvml", "tqdm", "tabulate")


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_help_imports_nothing_heavy() -> None:
    ended = python("-X", "importtime", "-m", "ncclprobe", "--help")
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in ended.stderr.splitlines()}
    assert ended.returncode == 0
    assert "click" in imported
    assert not imported & set(HEAVY)


def test_help_is_fast() -> None:
    def seconds() -> float:
        started = time.perf_counter()
        python("-m", "ncclprobe", "--help")
        return time.perf_counter() - started

    assert min(seconds() for _ in range(3)) < 1.0, "0.2 s on an idle machine; this one may be busy"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_can_be_imported_alone(command: str) -> None:
    ended = python("-c", f"import ncclprobe.cli.{command.replace('-', '_')} as module; print(module.command.name)")
    assert (ended.stdout.strip(), ended.stderr) == (command, "")


def commands() -> list[tuple[str, click.Command]]:
    """Return every command and subcommand with its words."""
    context = click.Context(group)
    found = [(name, group.get_command(context, name)) for name in COMMANDS]
    subcommands = [
        (f"{name} {sub}", command.commands[sub])
        for name, command in found
        if isinstance(command, click.Group)
        for sub in command.commands
    ]
    return [(name, command) for name, command in found if command is not None] + subcommands


@pytest.mark.parametrize(("name", "command"), [pytest.param(*pair, id=pair[0]) for pair in commands()])
def test_help_says_what_each_option_does(name: str, command: click.Command) -> None:
    assert command.help
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    assert [option.name for option in options if not option.help] == []
    with click.Context(command, info_name=name) as context:
        assert all(option.opts[0] in command.get_help(context) for option in options)


@pytest.mark.parametrize(("name", "command"), [pytest.param(*pair, id=pair[0]) for pair in commands()])
def test_help_exits_with_0(name: str, command: click.Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert group.main([*name.split(), "--help"], standalone_mode=False) == 0
    assert capsys.readouterr().out.startswith("Usage: ")


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in ("schema", "env", "completion")])
def test_commands_share_json_and_out(command: str) -> None:
    loaded = group.get_command(click.Context(group), command)
    assert loaded is not None
    names = {option for parameter in loaded.params for option in parameter.opts}
    assert names >= ({"--json"} if command == "report" else {"--json", "--out", "--seed"})
