"""Backends by name, each imported when it is asked for."""

from __future__ import annotations

import importlib
import importlib.util
import pathlib

from ncclprobe.backends.base import Backend, BackendOptions
from ncclprobe.errors import MissingDependencyError, UsageError

BACKENDS = {
    "mpi": "ncclprobe.backends.mpi:MpiBackend",
    "sim": "ncclprobe.backends.simulated:SimulatedBackend",
}
"""Name -> module and class."""


def make_backend(name: str, options: BackendOptions) -> Backend:
    """Return the backend of that name.

    Raises:
        UsageError: There is none of that name, or it cannot do what the options ask.
        MissingDependencyError: Its library is absent; the message says which extra brings it.
    """
    if name not in BACKENDS:
        raise UsageError(f"there is no backend {name!r}; choose from {', '.join(BACKENDS)}")
    module, _, class_name = BACKENDS[name].partition(":")
    backend: Backend = getattr(importlib.import_module(module), class_name)(options)
    return backend


def auto_backend(fabric: pathlib.Path | None) -> str:
    """Return the best backend that this machine has: ``sim`` where a fabric is described, else ``mpi``.

    Raises:
        MissingDependencyError: There is none; the message says how to get one.
    """
    if fabric is not None:
        return "sim"
    if importlib.util.find_spec("mpi4py") is None:
        raise MissingDependencyError(
            "no backend can run here: mpi4py is not installed; pip install 'ncclprobe[embedded]' brings it with an MPI "
            "library, or name a simulated fabric with --fabric"
        )
    return "mpi"
