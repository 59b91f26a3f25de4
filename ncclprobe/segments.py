"""Names of the shared memory that ranks of MPI have mapped, in /dev/shm: what is killed would leave them there."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterable

_PROC = pathlib.Path("/proc")
_MPICH, _UCX = "/dev/shm/mpich_shm_", "/dev/shm/ucx_shm_posix_"  # noqa: S108, where Linux keeps POSIX shared memory
_LEFT: set[pathlib.Path] = set()
"""Had by processes that are being ended."""


def unname() -> None:
    """Take the names of the MPICH segments that this process has mapped: the memory then ends with its last process.

    A rank that is killed would leave them, and their memory taken, until somebody removes them by hand. To be called
    when all ranks have attached, that is after a barrier; to UCX's, ranks attach later, too.
    """
    _remove(_mapped("self", _MPICH))


def note(pids: Iterable[int]) -> None:
    """Remember what processes of this host have mapped that are about to be ended."""
    for pid in pids:
        _LEFT.update(_mapped(str(pid), _MPICH, _UCX))


def remove_noted() -> None:
    """Remove the names that were remembered. To be called when those processes have ended."""
    left = set(_LEFT)
    _LEFT.difference_update(left)
    _remove(left)


def _mapped(pid: str, *kinds: str) -> set[pathlib.Path]:
    """Return a process's segments of some kinds that have a name.

    Source: proc_pid_maps(5)
    """
    try:
        maps = (_PROC / pid / "maps").read_text("utf-8", "replace")
    except OSError:
        return set()
    lines = (line for line in maps.splitlines() if any(kind in line for kind in kinds))
    return {pathlib.Path(line.split(maxsplit=5)[5]) for line in lines if not line.endswith(" (deleted)")}


def _remove(paths: Iterable[pathlib.Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):  # another rank was faster
            path.unlink()
