"""Files that are read as a whole or by lines, and so no larger than what a program of their kind writes."""

from __future__ import annotations

import errno
import gzip
import os
import pathlib
import stat
import sys
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from ncclprobe.errors import ParseError, UsageError

STDIN = "-"
LOG_BYTES, TEXT_BYTES = 256 << 20, 32 << 20
"""Of a log, a table or a document at most, and of a script, a CSV or a settings file: what is larger is told."""
PIECE_BYTES = 1 << 20
"""Of a file at once, where its last newline is looked for."""


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


def log_end(path: pathlib.Path, most: int = LOG_BYTES) -> str:
    """Return the last bytes of a log as text: what it ends with is what counts, and nobody bounds how long it is.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - most))
        return file.read(most).decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")


def file_within(path: pathlib.Path, most: int = TEXT_BYTES) -> bytes:
    """Return the bytes of a file that lies in a folder, which others may have filled.

    Raises:
        UsageError: It has more than so many.
        OSError: It cannot be read, or is a pipe or a device, for which one could wait for ever.
    """
    refuse_special(path)
    return whole_file(path, most)


def refuse_special(path: pathlib.Path) -> None:
    """Return if a path leads to a file or a folder.

    Raises:
        OSError: It leads to a pipe, a socket or a device, or nowhere.
    """
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "it is a pipe or a device, no file", str(path))


def lines_within(path: pathlib.Path, *, packed: bool) -> Iterator[bytes]:
    """Yield the lines of a file in a folder, which others may have filled; the last one may be cut.

    Raises:
        ParseError: A line is too long, or cannot be unpacked.
        OSError: It cannot be read, or is a pipe or a device.
    """
    refuse_special(path)
    with gzip.open(path, "rb") if packed else path.open("rb") as file:
        try:
            while line := file.readline(TEXT_BYTES + 1):
                if len(line) > TEXT_BYTES:
                    raise ParseError(f"a line of over {TEXT_BYTES >> 20} MiB, which is not read", source=str(path))
                yield line
        except (gzip.BadGzipFile, EOFError, zlib.error) as problem:
            raise ParseError(f"it cannot be unpacked ({problem}); was it cut?", source=str(path)) from problem


def after_last_newline(file: BinaryIO, length: int) -> int:
    """Return where the first of a file's bytes behind all whole lines is, which is looked for from its end."""
    for end in range(length, 0, -PIECE_BYTES):
        begin = max(0, end - PIECE_BYTES)
        file.seek(begin)
        if newline := file.read(end - begin).rfind(b"\n") + 1:
            return begin + newline
    return 0
