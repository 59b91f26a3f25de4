"""Backends by name, each imported when it is asked for."""

from __future__ import annotations

import importlib
import importlib.util
import pathlib

from ncclprobe.backends.base import Backend, BackendOptions, GpuOptions
from ncclprobe.errors import MissingDependencyError, UsageError

BACKENDS = {
    "nccl": "ncclprobe.backends.nccl:NcclBackend",
    "mpi": "ncclprobe.backends.mpi:MpiBackend",
    "sim": "ncclprobe.backends.simulated:SimulatedBackend",
}
"""Name -> module and class, the best first."""
LEAST_GPUS = 2
"""For a collective. One GPU takes two ranks as well, but only to try things out, so it is never taken by itself."""


def make_backend(name: str, options: BackendOptions) -> Backend:
    """Return the backend of that name.

    Raises:
        UsageError: There is none of that name, or it cannot do what the options ask.
        MissingDependencyError: Its library is absent; the message says which extra brings it.
    """
    if name not in BACKENDS:
        raise UsageError(f"there is no backend {name!r}; choose from {', '.join(BACKENDS)}")
    if name != "nccl" and options.gpu != GpuOptions():
        raise UsageError(f"--mode, --in-place and --memory are for the backend nccl; leave them away with {name}")
    module, _, class_name = BACKENDS[name].partition(":")
    backend: Backend = getattr(importlib.import_module(module), class_name)(options)
    return backend


def auto_backend(fabric: pathlib.Path | None) -> str:
    """Return the best backend that this machine has.

    That is ``sim`` where a fabric is described, ``nccl`` where there are two GPUs and what it takes to use them, else
    ``mpi``.

    Raises:
        MissingDependencyError: There is none; the message says how to get one.
    """
    if fabric is not None:
        return "sim"
    if _has_gpus():
        return "nccl"
    if importlib.util.find_spec("mpi4py") is None:
        raise MissingDependencyError(
            "no backend can run here: mpi4py is not installed; pip install 'ncclprobe[embedded]' brings it with an MPI "
            "library, 'ncclprobe[cuda13]' brings what GPUs take, or name a simulated fabric with --fabric"
        )
    return "mpi"


def _has_gpus() -> bool:
    if any(importlib.util.find_spec(name) is None for name in ("cupy", "nccl")):
        return False
    from ncclprobe.backends.nccl_library import gpu_count

    return gpu_count() >= LEAST_GPUS
