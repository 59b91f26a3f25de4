"""The plugin as its tests load it."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess

import pytest

from ncclprobe.tuner.build import HERE
from ncclprobe.tuner.compiling import compilation

STRICT = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Wcast-qual", "-Wstrict-prototypes", "-Werror")
COMPILER = shutil.which("cc")


@pytest.fixture(scope="session")
def built_plugin(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Return the plugin, compiled with every warning an error; or the one that a surrounding test compiled."""
    if (named := os.environ.get("NCCLPROBE_TEST_PLUGIN")) is not None:
        return pathlib.Path(named)
    if COMPILER is None:
        pytest.skip("needs a C compiler")
    output = tmp_path_factory.mktemp("plugin") / "plugin.so"
    subprocess.run(compilation((COMPILER,), str(HERE / "plugin.c"), str(output), STRICT), check=True, timeout=120)
    return output


@pytest.fixture
def plugin(built_plugin: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """Return a copy: another inode, so a state of its own."""
    return shutil.copy(built_plugin, tmp_path / "plugin.so")
