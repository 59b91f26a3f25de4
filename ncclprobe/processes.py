"""The one place where processes are started. Commands are token lists; no shell is ever involved."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence

from ncclprobe.errors import LaunchError, MissingDependencyError
from ncclprobe.records.base import Record

TimedOut = subprocess.TimeoutExpired
Process = subprocess.Popen


class Completed(Record, frozen=True, kw_only=True):
    """How a command ended."""

    returncode: int
    """Negative: the signal that ended it."""
    stdout: str
    """Undecodable bytes are replaced."""
    stderr: str
    """Likewise."""
    timed_out: bool = False
    """Whether it was ended for taking too long."""


def which(program: str) -> str | None:
    """Return a program's path, None where it is absent."""
    return shutil.which(program)


def run(command: Sequence[str], *, timeout_s: float, env: Mapping[str, str] | None = None) -> Completed:
    """Run a command to its end, and end it with all its children where it takes too long.

    Args:
        command: Tokens; the first is the program.
        timeout_s: After which it is killed and ``timed_out`` is set.
        env: Its whole environment; None inherits ours.

    Raises:
        MissingDependencyError: The program is absent.
        LaunchError: It could not be started.
    """
    process = start(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        stdout, stderr = process.communicate(timeout=timeout_s)
        timed_out = False
    except subprocess.TimeoutExpired:
        kill_group(process)
        stdout, stderr = process.communicate()
        timed_out = True
    except BaseException:
        kill_group(process)
        process.wait()
        raise
    return Completed(
        returncode=process.returncode,
        stdout=stdout.decode("utf-8", "replace"),
        stderr=stderr.decode("utf-8", "replace"),
        timed_out=timed_out,
    )


def start(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    stdin: int = subprocess.DEVNULL,
    stdout: int | None = subprocess.PIPE,
    stderr: int | None = subprocess.PIPE,
) -> subprocess.Popen[bytes]:
    """Start a command in a process group of its own.

    Raises:
        MissingDependencyError: The program is absent.
        LaunchError: It could not be started.
    """
    try:
        return subprocess.Popen(
            list(command),
            env=None if env is None else dict(env),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
    except FileNotFoundError as problem:
        raise MissingDependencyError(f"{command[0]!r} is not installed or not on PATH") from problem
    except (OSError, ValueError) as problem:
        raise LaunchError(f"cannot start {command[0]!r}: {problem}") from problem


def kill_group(process: subprocess.Popen[bytes], with_signal: int = signal.SIGKILL) -> None:
    """End a started command and the children in its process group."""
    try:
        os.killpg(process.pid, with_signal)
    except ProcessLookupError:
        return
