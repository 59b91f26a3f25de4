"""Files that are read as a whole, and so no larger than what a program of their kind writes."""

from __future__ import annotations

import pathlib
import sys

from ncclprobe.errors import UsageError

STDIN = "-"
LOG_BYTES, TEXT_BYTES = 256 << 20, 32 << 20
"""Of a log or a table at most, and of a script, a CSV or a settings file: what is larger is told, not read."""


def whole_file(name: str | pathlib.Path, most: int = TEXT_BYTES) -> bytes:
    """Return a file's bytes, or the standard input's for ``-``.

    Raises:
        UsageError: It has more than so many.
        OSError: It cannot be read.
    """
    if str(name) == STDIN:
        content = sys.stdin.buffer.read(most + 1)
    else:
        with pathlib.Path(name).open("rb") as file:
            content = file.read(most + 1)
    if len(content) > most:
        raise UsageError(f"{name} has more than {most >> 20} MiB, which is not read; cut out the part that matters")
    return content
