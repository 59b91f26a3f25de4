from __future__ import annotations

import importlib.util
import pathlib

import pytest

from ncclprobe.errors import MissingDependencyError
from ncclprobe.launchers.mpirun import find_mpiexec

HERE = pathlib.Path(__file__).parent


def _absent() -> str | None:
    if importlib.util.find_spec("mpi4py") is None:
        return "mpi4py is not installed"
    try:
        find_mpiexec()
    except MissingDependencyError as problem:
        return str(problem)
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests in this folder, with the reason, where no ranks can be started."""
    if reason := _absent():
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=reason))
