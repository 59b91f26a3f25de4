"""The cache directory: ``ncclprobe`` in $XDG_CACHE_HOME or ~/.cache, the user's alone."""

from __future__ import annotations

import os
import pathlib
import stat
from collections.abc import Callable, Mapping

from ncclprobe.errors import UsageError


def cache_directory(environment: Mapping[str, str] | None = None) -> pathlib.Path:
    """Return the cache directory, made where it is absent and refused where others could write to it.

    Args:
        environment: What XDG_CACHE_HOME and HOME are taken from; None takes this process's.

    Raises:
        UsageError: It is not the user's alone, or cannot be made.
    """
    environment = os.environ if environment is None else environment
    base = pathlib.Path(environment.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():  # the XDG specification ignores a relative one
        base = pathlib.Path(environment.get("HOME") or pathlib.Path.home()) / ".cache"
    directory = base / "ncclprobe"
    try:
        base.mkdir(parents=True, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
    except OSError as problem:
        raise UsageError(f"cannot make the cache {directory}: {problem.strerror}; set XDG_CACHE_HOME") from problem
    trusted(directory, stat.S_ISDIR)
    return directory


def trusted(path: pathlib.Path, is_kind: Callable[[int], bool]) -> None:
    """Refuse what others own or could have changed: what is kept there is run, or told as measured.

    Raises:
        UsageError: It is of another kind, or not the user's alone.
    """
    status = path.lstat()
    ours = status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if not (ours and is_kind(status.st_mode)):
        raise UsageError(
            f"{path} is a link, belongs to someone else or can be written by others, so nothing is taken from there; "
            "remove it, or set XDG_CACHE_HOME"
        )
