"""A folder for temporary files that goes with its owner, also where that is killed: a process waits for its end."""

from __future__ import annotations

import contextlib
import pathlib
import secrets
import shutil
import sys
import tempfile
from types import TracebackType
from typing import Self

from ncclprobe import processes
from ncclprobe.errors import LaunchError, reason
from ncclprobe.launchers import scratch_guard

_REMOVE_S = 2.0
"""How long the guard is waited for, which goes on by itself."""


class Scratch:
    """The folder. Nobody else can read it or foretell its name."""

    def __init__(self, parent: pathlib.Path | None = None) -> None:
        """Make it.

        Args:
            parent: Where; None takes the system's folder for temporary files.

        Raises:
            LaunchError: It cannot be made, or not be guarded.
        """
        try:
            self.path = pathlib.Path(parent or tempfile.gettempdir(), f"ncclprobe-{secrets.token_hex(8)}").absolute()
        except OSError as problem:  # a disk that is full is none that can be used
            raise LaunchError(f"{reason(problem)}; set TMPDIR to a folder that can be written") from problem
        guard = [sys.executable, "-I", "-S", scratch_guard.__file__, str(self.path)]
        self._guard = processes.start(
            guard, stdin=processes.PIPE, stdout=processes.DEVNULL, stderr=processes.DEVNULL, at_the_end=True
        )
        try:
            self.path.mkdir(mode=0o700)
        except OSError as problem:
            self.remove()
            where = f"a folder for temporary files in {self.path.parent}"
            raise LaunchError(
                f"cannot make {where}: {problem.strerror}; set TMPDIR to one that can be written"
            ) from problem

    def remove(self) -> None:
        """Remove the folder with all that is in it; processes that are ending may still write there."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        with contextlib.suppress(processes.TimedOut):
            self._guard.wait(_REMOVE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()
