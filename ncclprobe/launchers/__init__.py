"""Launchers by name, each imported when it is asked for."""

from __future__ import annotations

import importlib

from ncclprobe.errors import UsageError
from ncclprobe.launchers.base import Launcher

LAUNCHERS = {
    "local": "ncclprobe.launchers.local:LocalLauncher",
    "mpirun": "ncclprobe.launchers.mpirun:MpirunLauncher",
    "pbs": "ncclprobe.launchers.pbs:PbsLauncher",
    "srun": "ncclprobe.launchers.srun:SrunLauncher",
}
"""Name -> module and class; the class's ``find()`` looks for its program on this machine."""


def make_launcher(name: str) -> Launcher:
    """Return the launcher of that name with its program found.

    Raises:
        UsageError: There is none of that name.
        MissingDependencyError: Its program is absent; the message says what brings it.
    """
    if name not in LAUNCHERS:
        raise UsageError(f"there is no launcher {name!r}; choose from {', '.join(LAUNCHERS)}")
    module, _, class_name = LAUNCHERS[name].partition(":")
    launcher: Launcher = getattr(importlib.import_module(module), class_name).find()
    return launcher
