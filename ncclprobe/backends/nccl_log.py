"""NCCL's own log of a rank, read while it grows: what ran, and how many channels a communicator has."""

from __future__ import annotations

import os
import pathlib
import tempfile

from ncclprobe.backends.nccl_library import Nccl


class NcclLog:
    """NCCL's own log, in a private folder; on rank 0 it says what ran. Make it before NCCL is first called."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ncclprobe-")
        self._path = pathlib.Path(self._folder.name, "nccl.log")
        self._read, self._quiet = 0, False
        os.environ.update(NCCL_DEBUG="INFO", NCCL_DEBUG_SUBSYS="INIT,TUNING", NCCL_DEBUG_FILE=str(self._path))

    def new(self) -> str:
        """Return what was written since the last call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                content = file.read()
        except OSError:
            return ""
        self._read += len(content)
        return content.decode("utf-8", "replace")

    def set_quiet(self, library: Nccl, *, quiet: bool) -> None:
        """Have NCCL write a line an operation, or nothing: it takes microseconds, which eager times would show."""
        if quiet == self._quiet:
            return
        levels = {True: "WARN", False: "INFO"}
        os.environ["NCCL_DEBUG"] = levels[quiet]
        if library.reread_debug():
            self._quiet, self._read = quiet, 0
        else:
            os.environ["NCCL_DEBUG"] = levels[self._quiet]

    def remove(self) -> None:
        """Remove the folder."""
        self._folder.cleanup()
