"""What a trial left running when its controller was killed: found again by its group's number, and ended."""

from __future__ import annotations

import os
import pathlib
import signal
import time
from typing import NamedTuple

from ncclprobe.records.e2e import Started

GONE_WITHIN_S = 5.0
"""A killed process needs a moment to let go of its memory and devices."""
_PROC = pathlib.Path("/proc")


class _Stat(NamedTuple):
    """Of a process.

    Source: proc_pid_stat(5), fields 3, 5, 6 and 22
    """

    state: str
    group: int
    session: int
    birth: int


def started_now(order: int, pid: int) -> Started:
    """Return the record of a process that was just started."""
    stat = _stat(str(pid))
    return Started(order=order, pid=pid, birth=str(stat.birth) if stat else "", where=_where())


def end_leftover(started: Started) -> bool:
    """End the processes of a trial whose controller was killed, and return whether there were any.

    A process that has taken over the leader's number since then has another birth and is left alone. Where the leader
    has ended by itself, those that it left in its group and session are found; its number stays taken as long as there
    are any, so that they are no others.
    """
    if not started.birth.isdecimal() or not _members(started):
        return False
    try:
        os.killpg(started.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return False
    deadline = time.monotonic() + GONE_WITHIN_S
    while _members(started) and time.monotonic() < deadline:
        time.sleep(0.01)
    return True


def _members(started: Started) -> list[int]:
    """Return the processes of a started group that are left."""
    birth = int(started.birth)
    leader = _stat(str(started.pid))
    if leader is not None and leader.birth != birth:
        return []
    if leader is None and started.where != _where():
        return []
    group = (started.pid, started.pid)
    found = {name: stat for name in _numbers() if (stat := _stat(name)) and (stat.group, stat.session) == group}
    return [int(name) for name, stat in found.items() if stat.state != "Z" and stat.birth >= birth]


def _numbers() -> list[str]:
    return [path.name for path in _PROC.iterdir() if path.name.isdigit()] if _PROC.is_dir() else []


def _stat(number: str) -> _Stat | None:
    """Return what the kernel says of a process, None where there is none."""
    try:
        fields = (_PROC / number / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return (
        _Stat(state=fields[0], group=int(fields[2]), session=int(fields[3]), birth=int(fields[19])) if fields else None
    )


def _where() -> str:
    """Return in which boot and namespace a process's number means it, empty where the system does not say.

    Source: random(4), /proc/sys/kernel/random/boot_id; pid_namespaces(7)
    """
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot} {(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return ""
