"""A real terminal of 80 columns: commands run in tmux, and what the pane shows."""

from __future__ import annotations

import os
import pathlib
import shlex
import subprocess
import time
from collections.abc import Callable

COLUMNS, LINES = 80, 100
PATIENCE_S = 60.0
UNSET = ("NO_COLOR", "TERM", "TMUX", "COLUMNS", "LINES", "SLURM_JOB_ID", "PBS_JOBID")


class Pane:
    """One command in a tmux server of its own."""

    def __init__(self, folder: pathlib.Path, command: list[str], env: dict[str, str] | None = None) -> None:
        self._socket, self._ended = folder / "tmux", folder / "ended"
        kept = {name: value for name, value in os.environ.items() if name not in UNSET}
        script = f"cd {shlex.quote(str(folder))}; {' '.join(command)}; echo $? > ended; sleep {PATIENCE_S}"
        size = ["-x", str(COLUMNS), "-y", str(LINES)]
        everything = {**kept, **(env or {}), "LANG": "C.UTF-8"}
        self._tmux(["-f", "/dev/null", "new-session", "-d", *size, script], env=everything)

    def __enter__(self) -> Pane:
        return self

    def __exit__(self, *_: object) -> None:
        self._tmux(["kill-server"])

    def _tmux(self, words: list[str], env: dict[str, str] | None = None) -> str:
        command = ["tmux", "-u", "-S", str(self._socket), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=env, timeout=20).stdout

    def text(self, *, with_escapes: bool = False) -> str:
        """Return what the pane shows now, without empty lines at its end."""
        shown = self._tmux(["capture-pane", "-p", *(["-e"] if with_escapes else [])])
        return "\n".join(line.rstrip() for line in shown.rstrip().splitlines())

    def wait(self, until: Callable[[], bool] | None = None) -> int:
        """Wait until the command has ended, or something else is so; return the exit status, -1 while it runs."""
        deadline = time.monotonic() + PATIENCE_S
        while not (until or self._ended.exists)():
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.02)
        time.sleep(0.1)
        return int(self._ended.read_text() or -1) if self._ended.exists() else -1
