"""The processes of a workload while it runs: which of them loaded libnccl, from where, and with which environment.

A Python process's /proc/PID/environ shows what it was started with. SGLang's workers are started anew (spawn) by a
process that has rewritten its variables before, so theirs shows the rewritten ones.

Source: proc_pid_environ(5), proc_pid_maps(5); SGLang 0.5.17, srt/entrypoints/engine.py (``_set_envs_and_config``)
"""

from __future__ import annotations

import pathlib
import time
from collections.abc import Collection, Iterable

from ncclprobe.e2e.evidence import FOLLOWED
from ncclprobe.processes import Process as Started
from ncclprobe.processes import TimedOut, descendants, started_at
from ncclprobe.records.in_force import Process

FIRST_GLANCE_S, LONGEST_PAUSE_S = 0.1, 5.0
"""Between glances at the processes; each pause is half as long again as the one before."""
POLL_S = 0.5
"""Between two questions whether the command has ended."""
GONE_WITHIN_S = 30.0
SIGN = "NCCL_DEBUG_FILE"
"""Set for every trial: where it is missing, nothing else can be believed to be unset."""
_PROC = pathlib.Path("/proc")
_LIBRARY = "libnccl.so"


class Workers:
    """Looks at a command's processes from time to time, more and more seldom."""

    def __init__(self, named: Iterable[str]) -> None:
        self._named = frozenset(named)
        self._found: dict[int, Process] = {}
        self._born: dict[int, int] = {}
        self._pause, self._due = FIRST_GLANCE_S, 0.0

    def wait(self, process: Started[bytes], timeout_s: float) -> int | None:
        """Return a command's exit status, None where it takes too long; look at its processes meanwhile."""
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            try:
                return process.wait(min(self._pause, POLL_S, left))
            except TimedOut:
                self._glance(process.pid)
        return None

    def _glance(self, pid: int) -> None:
        if time.monotonic() >= self._due:
            self.look(pid)
            self._pause = min(LONGEST_PAUSE_S, self._pause * 1.5)
            self._due = time.monotonic() + self._pause

    def look(self, pid: int) -> None:
        """Note those of a process's descendants that have loaded libnccl since the last time."""
        for child, born in descendants(pid).items():
            if child not in self._found and (library := _library(child)):
                self._found[child] = Process(pid=child, library=library, env=_environment(child, self._named))
                self._born[child] = born

    def wait_until_gone(self, within_s: float = GONE_WITHIN_S) -> bool:
        """Return whether all of them have ended: what still dies holds a GPU's memory, which the next start counts."""
        deadline = time.monotonic() + within_s
        while any(started_at(pid) == born for pid, born in self._born.items()):
            if time.monotonic() > deadline:
                return False
            time.sleep(FIRST_GLANCE_S)
        return True

    def found(self, used_nccl: Collection[int]) -> tuple[Process, ...]:
        """Return the processes that wrote a log of NCCL's, all of them where their numbers are a container's own."""
        known = [process for pid, process in sorted(self._found.items()) if pid in used_nccl]
        return tuple(known or (self._found[pid] for pid in sorted(self._found)))


def _library(pid: int) -> str:
    """Return the path of the libnccl that a process has loaded, empty for none."""
    try:
        maps = (_PROC / str(pid) / "maps").read_text("utf-8", "replace")
    except OSError:
        return ""
    paths = (line.split(maxsplit=5)[5] for line in maps.splitlines() if _LIBRARY in line)
    return next(paths, "")


def _environment(pid: int, named: Collection[str]) -> dict[str, str] | None:
    """Return a process's variables that matter, as it was started with them; None where ours are not among them.

    A process that gives itself a title may overwrite them.

    Source: setproctitle 1.3, README ("SPT_NOENV"), which SGLang uses
    """
    try:
        content = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return None
    pairs = (entry.partition("=") for entry in content.decode("utf-8", "replace").split("\0"))
    found = {name: value for name, _, value in pairs if name.startswith(FOLLOWED) or name in named}
    return found if SIGN in found else None
