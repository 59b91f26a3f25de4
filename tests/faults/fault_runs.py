"""A command of ours as a real process with real ranks, on which a fault is brought, and what is left of it."""

from __future__ import annotations

import json
import os
import pathlib
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from ncclprobe.processes import environment_of

MARK = "NCCLPROBE_FAULT_TEST"
STARTERS = ("mpiexec", "hydra", "launchers.spawn")
"""In the command lines of what starts ranks, which name their module as well."""
PATIENCE_S = 60.0
SAMPLES = 4
"""After so many, ranks are measuring."""
SWEEP = (
    "sweep",
    "--backend",
    "mpi",
    "--nranks",
    "2",
    "--algo",
    "Ring",
    "--sizes",
    "1K,64K",
    "--budget",
    "60",
    "--timeout",
    "2",
    "--seed",
    "1",
)


class Ended(NamedTuple):
    """How a command ended."""

    status: int
    """Negative: the signal that ended it."""
    document: dict[str, Any]
    """What it printed as JSON; empty for none."""
    stderr: str
    """What it said."""

    def finding(self, code: str) -> str:
        """Return the message of the only finding of a code."""
        (message,) = [found["message"] for found in self.document["findings"] if found["code"] == code]
        return str(message)


class Run:
    """A running command; leaving the ``with`` ends what is left of it."""

    def __init__(self, folder: pathlib.Path, *words: str, before: tuple[str, ...] = (), **env: str) -> None:
        self.out, self._mark = folder / "run", secrets.token_hex(8)
        out = () if "--resume" in words else ("--out", str(self.out))
        self.process = subprocess.Popen(
            [*before, sys.executable, "-m", "ncclprobe", words[0], "--json", *out, *words[1:]],
            env={**os.environ, MARK: self._mark, **env}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self.pids():
            os.kill(pid, signal.SIGKILL)
        self.process.communicate()

    def pids(self, word: str = "") -> list[int]:
        """Return the processes of this command, in whatever session, whose command line has a word."""
        numbers = (int(entry.name) for entry in pathlib.Path("/proc").iterdir() if entry.name.isdigit())
        return sorted(pid for pid in numbers if environment_of(pid).get(MARK) == self._mark and word in command(pid))

    def ranks(self, module: str = "sweep.worker") -> list[int]:
        """Return the ranks, by the module that they run."""
        return [pid for pid in self.pids(module) if not any(starter in command(pid) for starter in STARTERS)]

    def wait_for(self, what: Callable[[], bool]) -> None:
        """Wait until something is so, while the command runs."""
        deadline = time.monotonic() + PATIENCE_S
        while not what():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def wait_for_samples(self, launches: int = 1) -> None:
        """Wait until the journal has some samples of its last launch, which is so many launches after the first."""
        self.wait_for(lambda: _samples_of(self.out, launches - 1) >= SAMPLES)

    def ended(self, within_s: float = PATIENCE_S) -> Ended:
        """Return how it ended, and see that no process of it is left."""
        stdout, stderr = self.process.communicate(timeout=within_s)
        assert self.left() == []
        return Ended(self.process.returncode, json.loads(stdout) if stdout.strip() else {}, stderr)

    def interrupted(self, within_s: float = 20.0) -> Ended:
        """End it as Ctrl-C does, and return how it ended."""
        self.process.send_signal(signal.SIGINT)
        ended = self.ended(within_s)
        assert (ended.status, ended.stderr.splitlines()[-1]) == (130, "Interrupted; what was measured is kept.")
        return ended

    def left(self, within_s: float = 5.0) -> list[str]:
        """Return the command lines of what is still there after a moment."""
        deadline = time.monotonic() + within_s
        while self.pids() and time.monotonic() < deadline:
            time.sleep(0.02)
        return [command(pid) for pid in self.pids()]


def _samples_of(out: pathlib.Path, launch: int) -> int:
    """Return how many samples of a launch are in the journal."""
    return sum(line["launch"] == launch for line in lines(out, "measurement"))


def command(pid: int) -> str:
    """Return a process's command line."""
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
    except OSError:
        return ""


def lines(out: pathlib.Path, kind: str) -> list[dict[str, Any]]:
    """Return the journal's lines of a kind."""
    journal = out / "journal.jsonl"
    whole = journal.read_text().splitlines(keepends=True) if journal.exists() else []
    read = [json.loads(line) for line in whole if line.endswith("\n")]
    return [line for line in read if line["kind"] == kind]
