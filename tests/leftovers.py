"""What a session of tests leaves behind: processes, and files outside of run directories and the cache."""

from __future__ import annotations

import os
import pathlib
import re
import secrets
import time

from ncclprobe.processes import environment_of

MARK = "NCCLPROBE_TEST_SESSION"
"""Variable that every process of the session inherits, whatever session or parent it has."""
FOLDERS = (pathlib.Path("/tmp"), pathlib.Path("/dev/shm"), pathlib.Path.home(), pathlib.Path.cwd())
"""Where careless programs put files; tests write into folders of pytest's own."""
OURS = re.compile(r"nccl|mpi|pmi|slurm|munge|^tmp|^build-", re.IGNORECASE)
"""In the names of files of ours, of MPI's, NCCL's and the testbed's; browsers and others leave what they like.

An mpiexec that tests kill leaves its own hydra_hwloc_xmlfile_*, which nobody else can tell from another's.
"""
GONE_WITHIN_S = 10.0
"""What has been ended may take a moment."""


class Leftovers:
    """What is there before a session, and what is there too much after it."""

    def __init__(self) -> None:
        """Look around, and mark this process for those that it starts."""
        self._mark = os.environ[MARK] = secrets.token_hex(8)
        self._before = files()

    def processes(self) -> list[str]:
        """Return the processes of the session that run, this one and those that started it left out."""
        deadline = time.monotonic() + GONE_WITHIN_S
        while (left := self._running()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return left

    def files(self) -> list[str]:
        """Return the files that are there since, and stay."""
        deadline = time.monotonic() + GONE_WITHIN_S
        while (left := files() - self._before) and time.monotonic() < deadline:
            time.sleep(0.1)
        return sorted(left)

    def _running(self) -> list[str]:
        numbers = (int(entry.name) for entry in pathlib.Path("/proc").iterdir() if entry.name.isdigit())
        marked = [pid for pid in numbers if pid != os.getpid() and environment_of(pid).get(MARK) == self._mark]
        return [f"{pid} {command}" for pid in marked if (command := _command(pid))]


def files() -> set[str]:
    """Return the files of ours in the folders where none should be."""
    return {str(path) for folder in FOLDERS if folder.is_dir() for path in folder.iterdir() if OURS.search(path.name)}


def _command(pid: int) -> str:
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
    except OSError:
        return ""
