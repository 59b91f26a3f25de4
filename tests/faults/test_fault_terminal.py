"""Ctrl-C once and twice, and a terminal that goes away: real signals from a real terminal to its foreground group."""

from __future__ import annotations

import contextlib
import os
import pathlib
import pty
import signal
import sys
import time
from collections.abc import Iterator

import pytest
from fault_runs import MARK, SWEEP, command, lines

from ncclprobe.processes import environment_of

ENDED_S = 15.0


class OnTerminal:
    """A command of ours whose standard streams are a terminal that it controls."""

    def __init__(self, folder: pathlib.Path, *words: str) -> None:
        self.out, self.shown = folder / "run", b""
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.environ[MARK] = str(folder)
            os.execv(sys.executable, [sys.executable, "-m", "ncclprobe", *words, "--out", str(self.out)])
        os.set_blocking(self.terminal, False)
        self._mark = str(folder)

    def pids(self, word: str = "") -> list[int]:
        """Return its processes whose command line has a word."""
        numbers = (int(entry.name) for entry in pathlib.Path("/proc").iterdir() if entry.name.isdigit())
        return sorted(pid for pid in numbers if environment_of(pid).get(MARK) == self._mark and word in command(pid))

    def wait_for_samples(self) -> None:
        """Wait until ranks measure."""
        self._wait(lambda: len(lines(self.out, "measurement")) > 3, 60)

    def wait_for(self, words: bytes) -> None:
        """Wait until it has printed something."""
        self._wait(lambda: words in self.shown, ENDED_S)

    def press_ctrl_c(self) -> None:
        """Have the terminal send SIGINT to its foreground group."""
        os.write(self.terminal, b"\x03")

    def hang_up(self) -> None:
        """Take the terminal away."""
        os.close(self.terminal)
        self.terminal = -1

    def status(self) -> int:
        """Return its exit status, with nothing of it left."""
        ended: list[int] = []

        def has_ended() -> bool:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            ended.extend([status] * (pid == self.pid))
            return bool(ended)

        self._wait(has_ended, ENDED_S)
        self._wait(lambda: self.pids() == [], 5)
        return os.waitstatus_to_exitcode(ended[0])

    def _wait(self, what, within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while not what():
            assert time.monotonic() < deadline, (self.shown[-2000:], [command(pid) for pid in self.pids()])
            if self.terminal >= 0:
                with contextlib.suppress(OSError):  # nothing there yet, or nobody writes any more
                    self.shown += os.read(self.terminal, 1 << 16)
            time.sleep(0.02)


@pytest.fixture
def started(tmp_path: pathlib.Path) -> Iterator[list[OnTerminal]]:
    made: list[OnTerminal] = []
    yield made
    for run in made:
        for pid in run.pids():
            os.kill(pid, signal.SIGKILL)
        if run.terminal >= 0:
            os.close(run.terminal)


def _measuring(started: list[OnTerminal], folder: pathlib.Path) -> OnTerminal:
    started.append(OnTerminal(folder, *SWEEP))
    started[0].wait_for_samples()
    return started[0]


@pytest.mark.mpi
@pytest.mark.slow  # the next one presses the same key first
def test_ctrl_c_ends_ranks_and_keeps_samples(started: list[OnTerminal], tmp_path: pathlib.Path) -> None:
    run = _measuring(started, tmp_path)
    run.press_ctrl_c()
    run.wait_for(b"Interrupted; what was measured is kept.")
    assert run.status() == 130


@pytest.mark.mpi
def test_a_second_ctrl_c_does_not_stop_the_clean_up(started: list[OnTerminal], tmp_path: pathlib.Path) -> None:
    run = _measuring(started, tmp_path)
    for pid in run.pids("mpiexec"):
        os.kill(pid, signal.SIGSTOP)  # it cannot end its ranks, so that they are ended one by one after a while
    run.press_ctrl_c()
    time.sleep(0.3)
    run.press_ctrl_c()
    run.wait_for(b"Still ending what was started")
    assert run.status() == 130
    assert b"Interrupted; what was measured is kept." in run.shown


@pytest.mark.mpi
def test_a_terminal_that_goes_away_leaves_nothing(started: list[OnTerminal], tmp_path: pathlib.Path) -> None:
    run = _measuring(started, tmp_path)
    run.hang_up()
    assert run.status() == 130


def test_ctrl_c_does_not_wait_for_hosts_that_hang(started: list[OnTerminal], tmp_path: pathlib.Path) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\ntrap '' TERM\nexec sleep 600\n")
    ssh.chmod(0o755)
    run = OnTerminal(tmp_path, "scan", "--hosts", "dgx[001-080]", "--ssh", str(ssh))
    started.append(run)
    run._wait(lambda: len(run.pids("sleep")) > 60, 60)
    run.press_ctrl_c()
    assert run.status() == 130
