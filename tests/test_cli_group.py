"""The group: help, version, unknown names, exit status, errors without tracebacks."""

from __future__ import annotations

import re

import click
import pytest

import ncclprobe
from ncclprobe import cli
from ncclprobe.cli import COMMANDS, main
from ncclprobe.errors import (
    BackendError,
    LaunchError,
    MeasurementTimeout,
    MissingDependencyError,
    ParseError,
    ProbeError,
    RunDirectoryError,
    UsageError,
)


def status_of(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    return int(exit_.value.code or 0)


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("--help") == 0
    lines = capsys.readouterr().out.splitlines()
    listed = [line.split()[0] for line in lines[lines.index("Commands:") + 1 :] if re.match(r"  \S", line)]
    assert listed == list(COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("--version") == 0
    assert capsys.readouterr().out == f"ncclprobe {ncclprobe.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no-such-command"], "No such command 'no-such-command'"),
        (["scan", "--no-such-option"], "No such option"),
        (["schema"], "Missing argument"),
        (["schema", "no-such-document"], "no-such-document"),
        (["report", "/no/such/run"], "/no/such/run"),
    ],
)
def test_usage_errors_exit_with_2(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    ("problem", "status"),
    [
        (ProbeError("it broke"), 1),
        (UsageError("it broke"), 2),
        (ParseError("it broke", source="a.log", line=3, text="x"), 1),
        (RunDirectoryError("it broke"), 1),
        (MissingDependencyError("it broke"), 1),
        (LaunchError("it broke"), 1),
        (BackendError("it broke"), 1),
        (MeasurementTimeout("it broke"), 1),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (BrokenPipeError(), 1),
    ],
)
def test_errors_are_one_message_and_a_status(
    problem: BaseException, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise problem

    monkeypatch.setattr(cli.group, "main", broken)
    assert status_of() == status
    captured = capsys.readouterr()
    assert captured.out == ""
    if isinstance(problem, ProbeError):
        assert captured.err == f"Error: {problem}\n"


@pytest.mark.parametrize(("outcome", "status"), [(None, 0), (0, 0), (3, 3), ("text", 0)])
def test_a_command_returns_its_status(outcome: object, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli.group, "main", lambda *_, **__: outcome)
    assert status_of() == status


def test_parse_errors_say_where() -> None:
    problem = ParseError("no number", source="a.csv", line=3, text="x" * 300)
    assert str(problem) == f"a.csv:3: no number: {'x' * 200!r}"
    assert (problem.source, problem.line, len(problem.text)) == ("a.csv", 3, 200)
    assert str(ParseError("no run", source="a")) == "a: no run"
