"""Puts the compiled tuner plugin into wheels for x86-64 and aarch64 Linux.

Where there is no C compiler, or for any other platform, the wheel is pure and the plugin is compiled on first use.
"""

from __future__ import annotations

import importlib.util
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class TunerPluginHook(BuildHookInterface):  # type: ignore[type-arg]
    """Compiles the plugin into a temporary folder and adds it to the wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the library and the wheel's tag; an editable install compiles on first use, from its own sources."""
        self._folder = None
        if version == "editable" or not sys.platform.startswith("linux"):
            return
        folder = pathlib.Path(self.root) / "ncclprobe" / "tuner"
        compiling = _loaded(folder / "compiling.py")
        self._folder = tempfile.mkdtemp(prefix="ncclprobe-")
        library = pathlib.Path(self._folder) / compiling.LIBRARY
        if not self._compiled(compiling, folder / compiling.SOURCES[0], library):
            return
        if (tag := compiling.wheel_tag(library.read_bytes())) is None:
            return
        build_data["tag"], build_data["pure_python"] = tag, False
        build_data["force_include"][str(library)] = f"ncclprobe/tuner/{compiling.LIBRARY}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the temporary folder."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _compiled(self, compiling: ModuleType, source: pathlib.Path, output: pathlib.Path) -> bool:
        """Return whether a compiler made the library."""
        named = tuple(shlex.split(os.environ.get("CC", "")))
        for compiler in (named,) if named else ((program,) for program in compiling.COMPILERS):
            command = compiling.compilation(compiler, str(source), str(output), ("-s",))
            try:
                ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
            except OSError:
                continue
            if ended.returncode == 0:
                return True
            self.app.display_warning(f"{shlex.join(command)}:\n{ended.stderr}")
        self.app.display_warning("No C compiler made the tuner plugin; the wheel is pure and compiles it on first use.")
        return False


def _loaded(path: pathlib.Path) -> ModuleType:
    """Return a module by its path: the package's dependencies are absent while it is built."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
