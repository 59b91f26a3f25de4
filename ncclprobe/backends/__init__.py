"""Backends by name, each imported when it is asked for."""

from __future__ import annotations

import importlib

from ncclprobe.backends.base import Backend, BackendOptions
from ncclprobe.errors import UsageError

BACKENDS = {
    "mpi": "ncclprobe.backends.mpi:MpiBackend",
    "nccl": "ncclprobe.backends.nccl:NcclBackend",
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
