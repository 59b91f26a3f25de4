"""One process at a time writes to a directory; the lock ends with the process, however that ends."""

from __future__ import annotations

import fcntl
import os
import pathlib

from ncclprobe.errors import RunDirectoryError, reason


def locked(path: pathlib.Path) -> int:
    """Return a descriptor that locks a directory until it is closed.

    Raises:
        RunDirectoryError: Another process has locked it, or its file system has no locks.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as problem:
        os.close(descriptor)
        if isinstance(problem, BlockingIOError):
            told = f"another process is writing to {path}; wait for it, or choose another --out"
        else:
            told = f"{path} cannot be locked: {reason(problem)}; choose an --out on another file system"
        raise RunDirectoryError(told) from problem
    return descriptor
