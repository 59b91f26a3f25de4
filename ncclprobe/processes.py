"""The one place where processes are started. Commands are token lists; no shell is ever involved."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import shutil
import signal
import subprocess
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence

from ncclprobe import segments
from ncclprobe.errors import LaunchError, MissingDependencyError
from ncclprobe.outputs import Output, TooMuch
from ncclprobe.records.base import Record

TimedOut = subprocess.TimeoutExpired
Process = subprocess.Popen
PIPE = subprocess.PIPE
DEVNULL = subprocess.DEVNULL
_PROC = pathlib.Path("/proc")
MARK = "NCCLPROBE_STARTED"
"""Variable by which the processes of one started job are found on this host when nobody is their parent any more."""
LONGEST_WAIT_S = 1e6
"""Of a single wait, 11 days: the kernel counts milliseconds in 32 bits. Source: poll(2)"""
_FIRST_LINE = 256
"""Bytes of it that the kernel reads. Source: execve(2), Interpreter scripts"""
_KILL_S = 1.0
"""How long killed processes are waited for; one in an uninterruptible system call may take longer."""
END_S = 6.0
"""After an interrupt, what a command may take to end what it started itself."""
_STARTED: weakref.WeakSet[subprocess.Popen[bytes]] = weakref.WeakSet()
_ENDING = threading.Event()
_TOOLS: weakref.WeakSet[subprocess.Popen[bytes]] = weakref.WeakSet()
_ON_KILL: weakref.WeakKeyDictionary[subprocess.Popen[bytes], Callable[[], object]] = weakref.WeakKeyDictionary()


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


def run(
    command: Sequence[str],
    *,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    on_kill: Callable[[], object] | None = None,
    at_the_end: bool = False,
) -> Completed:
    """Run a command to its end, and end it with all its children where it takes too long.

    Args:
        command: Tokens; the first is the program.
        timeout_s: After which it is killed and ``timed_out`` is set; LONGEST_WAIT_S at most. One that prints more than
            ``outputs.MOST_BYTES`` is killed, too, and its errors say so.
        env: Its whole environment; None inherits ours.
        on_kill: As of ``start``.
        at_the_end: As of ``start``.

    Raises:
        MissingDependencyError: The program is absent.
        LaunchError: It could not be started.
    """
    process, timed_out, too_much = start(command, env=env, on_kill=on_kill, at_the_end=at_the_end), False, ""
    if not at_the_end:
        _TOOLS.add(process)
    output = Output(process.stdout, process.stderr)
    deadline = time.monotonic() + min(timeout_s, LONGEST_WAIT_S)
    try:
        output.read(deadline - time.monotonic())
        process.wait(max(0.0, deadline - time.monotonic()))
    except (TimeoutError, subprocess.TimeoutExpired):
        timed_out = process.poll() is None  # else it left its output to one that goes on, such as ssh's ControlPersist
        _kill_trees([process])
        with contextlib.suppress(TimeoutError, TooMuch):  # whoever else has its pipes is not waited for
            output.read(_KILL_S)
        _reap(process)
    except TooMuch as problem:
        too_much = f"{command[0]} was ended: {problem}"
        _kill_trees([process])
        _reap(process)
    finally:
        if process.poll() is None:  # interrupted: nothing that we started outlives us
            _kill_trees([process])
            _reap(process)
        output.close()
        give_back(process)
    stdout, stderr = ("", too_much) if too_much else output.texts()
    return Completed(
        returncode=-signal.SIGKILL if process.returncode is None else process.returncode,
        stdout=stdout,
        stderr=stderr,
        timed_out=timed_out,
    )


def _reap(process: subprocess.Popen[bytes]) -> None:
    """Wait a moment for a killed command: one in an uninterruptible system call ends when the kernel lets it."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_KILL_S)


def end_all() -> None:
    """Begin to end everything that was started and runs, and return at once: whoever waits for it need not wait long.

    Commands that were only to say something are killed; others get SIGTERM and ``END_S`` to end what is theirs.
    Nothing is started any more.
    """
    _ENDING.set()
    running = _running_commands()
    segments.note(descendants(*(process.pid for process in running)))
    for process in running:
        if process not in _TOOLS:
            kill_group(process, signal.SIGTERM)
    threading.Thread(target=_end_late, daemon=True).start()


def _end_late() -> None:
    deadline = time.monotonic() + END_S
    while (running := _running_commands()) and time.monotonic() < deadline:
        _kill_trees([process for process in running if process in _TOOLS])  # also one that was being started just now
        time.sleep(0.02)
    for process in running:
        _end_tree(process, 0.0)


def _running_commands() -> list[subprocess.Popen[bytes]]:
    return [process for process in list(_STARTED) if process.returncode is None and process.poll() is None]


def start(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    stdin: int = subprocess.DEVNULL,
    stdout: int | None = subprocess.PIPE,
    stderr: int | None = subprocess.PIPE,
    on_kill: Callable[[], object] | None = None,
    at_the_end: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a command in a process group of its own.

    Args:
        command: Tokens; the first is the program.
        env: Its whole environment; None inherits ours.
        stdin: A descriptor, PIPE or DEVNULL.
        stdout: Likewise; None inherits ours.
        stderr: Likewise.
        on_kill: Called once, by whoever ends the command, where it was killed: to end what it leaves to a scheduler.
        at_the_end: Whether it is started even while everything is being ended, and not ended with it.

    Raises:
        MissingDependencyError: The program is absent.
        LaunchError: It could not be started, or everything is being ended.
    """
    if _ENDING.is_set() and not at_the_end:
        raise LaunchError(f"{command[0]!r} is not started any more: this run was interrupted")
    try:
        process = subprocess.Popen(
            list(command),
            env=None if env is None else dict(env),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
    except FileNotFoundError as problem:
        raise _absent(command[0], os.environ if env is None else env) from problem
    except (OSError, ValueError) as problem:
        if isinstance(problem, OSError) and problem.errno == errno.ENOEXEC:
            why = "it is neither a program of this machine's kind nor a script whose first line begins with #!"
            raise LaunchError(f"cannot start {command[0]!r}: {why}") from problem
        raise LaunchError(f"cannot start {command[0]!r}: {problem}") from problem
    if not at_the_end:
        _STARTED.add(process)
    if on_kill is not None:
        _ON_KILL[process] = on_kill
    return process


def _absent(program: str, env: Mapping[str, str]) -> MissingDependencyError:
    """Return what to say of a program that the system did not find: where it is there, what runs it is not.

    Source: execve(2), ENOENT
    """
    path = shutil.which(program, path=env.get("PATH"))
    if path is None:
        return MissingDependencyError(f"{program!r} is not installed or not on PATH")
    interpreter = _interpreter(pathlib.Path(path))
    missing = f"interpreter {interpreter!r}, which its first line names," if interpreter else "interpreter or loader"
    return MissingDependencyError(f"{path} is there, but its {missing} is not; install that, or mend the file")


def _interpreter(script: pathlib.Path) -> str:
    """Return the program that a script's first line names, empty where it is no script or cannot be read."""
    try:
        with script.open("rb") as file:
            line = file.read(_FIRST_LINE).partition(b"\n")[0].decode("utf-8", "replace")
    except OSError:
        return ""
    words = line.removeprefix("#!").split() if line.startswith("#!") else []
    return words[0] if words else ""


def kill_group(process: subprocess.Popen[bytes], with_signal: int = signal.SIGKILL) -> None:
    """End a started command and the children in its process group."""
    try:
        os.killpg(process.pid, with_signal)
    except ProcessLookupError:
        return


def _kill_trees(started: Sequence[subprocess.Popen[bytes]]) -> None:
    """Kill started commands with their children, also those that a launcher put into sessions of their own."""
    tree = descendants(*(process.pid for process in started if process.returncode is None))
    for process in started:
        kill_group(process)
    for pid in _running(tree):
        _kill(pid)


def give_back(process: subprocess.Popen[bytes]) -> None:
    """End what a command leaves to others, where it was killed: call its ``on_kill``, once."""
    killed = process.returncode is None or process.returncode < 0
    if killed and (on_kill := _ON_KILL.pop(process, None)) is not None:
        on_kill()


def end_tree(process: subprocess.Popen[bytes], grace_s: float = 2.0) -> None:
    """End a started command with everything that it started, also what went to sessions of its own; reap it.

    An MPI launcher puts each rank into a session of its own and ends ranks on other hosts only if it is asked to, so
    it gets SIGTERM and a moment first. What is left of its tree after that gets SIGKILL.

    Args:
        process: As ``start`` returned it.
        grace_s: How long the command may take to clean up by itself.
    """
    _end_tree(process, grace_s)
    give_back(process)


def _end_tree(process: subprocess.Popen[bytes], grace_s: float) -> None:
    tree = descendants(process.pid)
    segments.note(tree)
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(grace_s)
        except subprocess.TimeoutExpired:
            tree |= descendants(process.pid)
            segments.note(tree)
    kill_group(process)
    for pid in _running(tree):
        _kill(pid)
    _reap(process)
    deadline = time.monotonic() + _KILL_S
    while _running(tree) and time.monotonic() < deadline:
        time.sleep(0.002)
    segments.remove_noted()


def descendants(*pids: int) -> dict[int, int]:
    """Return the processes that some processes started, directly or not, with their start times in clock ticks.

    Empty where the system has no /proc. The start time tells a process from a later one of the same number.

    Source: proc_pid_stat(5), fields 4 and 22
    """
    if not _PROC.is_dir():
        return {}
    known = {number: _parent_and_start(number) for number in _numbers()}
    found: dict[int, int] = {}
    parents = set(pids)
    while parents:
        children = {child: start for child, (parent, start) in known.items() if parent in parents}
        found |= children
        parents = set(children)
    return found


def stopped(mark: str) -> list[int]:
    """Return the processes of this host with ``mark`` in the variable MARK that a signal has stopped."""
    return [pid for pid in sorted(marked(mark)) if _stat(pid)[:1] == ["T"]]


def marked(mark: str) -> list[int]:
    """Return the processes of this host that were started with ``mark`` in the variable MARK; none without /proc."""
    entry = f"{MARK}={mark}".encode()
    return [pid for pid in _numbers() if entry in _environ(pid).split(b"\0")]


def end_marked(mark: str) -> None:
    """End the processes of this host that were started with ``mark`` in the variable MARK; wait a moment for that."""
    deadline = time.monotonic() + _KILL_S
    while left := marked(mark):
        for pid in left:
            _kill(pid)
        if time.monotonic() > deadline:
            return
        time.sleep(0.01)


def environment_of(pid: int) -> dict[str, str]:
    """Return the variables that a process was started with; none where it has ended or is not ours."""
    pairs = (entry.partition("=") for entry in _environ(pid).decode("utf-8", "replace").split("\0"))
    return {name: value for name, equals, value in pairs if equals}


def started_at(pid: int) -> int:
    """Return when a process started, in clock ticks as ``descendants`` has it; -1 where it has ended."""
    return _parent_and_start(pid)[1]


def _running(tree: dict[int, int]) -> list[int]:
    """Return those of the processes that still run."""
    return [pid for pid, started in tree.items() if _parent_and_start(pid)[1] == started]


def _parent_and_start(pid: int) -> tuple[int, int]:
    """Return a process's parent and start time; -1 for both where it has ended."""
    fields = _stat(pid)
    return (-1, -1) if not fields or fields[0] == "Z" else (int(fields[1]), int(fields[19]))


def _stat(pid: int) -> list[str]:
    """Return a process's state and what follows it, nothing where it has ended."""
    try:
        return (_PROC / str(pid) / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return []


def _environ(pid: int) -> bytes:
    try:
        return (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return b""


def _numbers() -> list[int]:
    """Return all processes' numbers; none where the system has no /proc."""
    return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()] if _PROC.is_dir() else []


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
