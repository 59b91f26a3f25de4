"""The tuner plugin's library: from the wheel, from the cache, or compiled now.

A library is found in the cache by a digest of its sources, the compiler and the C library, so that a changed source or
another machine on the same home directory gets one of its own. Ranks that build at the same time end up with one and
the same file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import platform
import shlex
import stat
import tempfile
from collections.abc import Iterator, Mapping

from ncclprobe import processes
from ncclprobe.cache import cache_directory, trusted
from ncclprobe.errors import MissingDependencyError, UsageError
from ncclprobe.tuner.compiling import COMPILERS, LIBRARY, SOURCES, compilation

HERE = pathlib.Path(__file__).parent
LONGEST_PATH = 254
"""Bytes after which NCCL cuts NCCL_TUNER_PLUGIN. Source: NCCL 2.28.9, src/plugin/plugin_open.cc (``MAX_STR_LEN``)."""
BUILD_TIMEOUT_S = 120.0


def plugin_path(environment: Mapping[str, str] | None = None) -> pathlib.Path:
    """Return the library's path for NCCL_TUNER_PLUGIN, compiling it where nobody has.

    Args:
        environment: What CC, XDG_CACHE_HOME and HOME are taken from; None takes this process's.

    Raises:
        MissingDependencyError: There is no compiler, or it fails.
        UsageError: The cache is not the user's alone, cannot be written, or its path is too long for NCCL.
    """
    shipped = HERE / LIBRARY
    path = shipped if shipped.is_file() else _cached(os.environ if environment is None else environment)
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise UsageError(f"NCCL cuts paths over {LONGEST_PATH} bytes, and {path} is longer; shorten XDG_CACHE_HOME")
    return path


def _cached(environment: Mapping[str, str]) -> pathlib.Path:
    compiler = _compiler(environment)
    directory = cache_directory(environment)
    path = directory / f"tuner-{_digest(compiler)}.so"
    if not path.exists():
        with _scratch(directory) as scratch:
            _compile(compiler, scratch / LIBRARY)
            _keep(scratch / LIBRARY, path)
    trusted(path, stat.S_ISREG)
    return path


def _compiler(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return CC's tokens, or the first compiler on PATH."""
    try:
        named = tuple(shlex.split(environment.get("CC", "")))
    except ValueError as problem:
        raise UsageError(f"CC={environment['CC']!r} is no command: {problem}") from problem
    found = named[:1] if named else COMPILERS
    for program in found:
        if processes.which(program) is not None:
            return named or (program,)
    raise MissingDependencyError(
        f"the tuner plugin has to be compiled, and there is no {' or '.join(found)} here; install a C compiler "
        "(Debian, Ubuntu: apt-get install gcc), name one in CC, or install a wheel of ncclprobe for this platform"
    )


def _digest(compiler: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for source in SOURCES:
        digest.update((HERE / source).read_bytes() + b"\0")
    digest.update(repr((compilation(compiler, "", ""), platform.machine(), _c_library())).encode())
    return digest.hexdigest()[:20]


def _c_library() -> str:
    """Return ``glibc 2.36``; empty where the C library does not say."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        return ""


@contextlib.contextmanager
def _scratch(directory: pathlib.Path) -> Iterator[pathlib.Path]:
    try:
        with tempfile.TemporaryDirectory(dir=directory, prefix="build-") as name:
            yield pathlib.Path(name)
    except OSError as problem:
        raise UsageError(f"cannot write the cache {directory}: {problem.strerror}; set XDG_CACHE_HOME") from problem


def _compile(compiler: tuple[str, ...], output: pathlib.Path) -> None:
    command = compilation(compiler, str(HERE / SOURCES[0]), str(output))
    ended = processes.run(command, timeout_s=BUILD_TIMEOUT_S)
    if ended.returncode or not output.is_file():
        slow = f"no end within {BUILD_TIMEOUT_S:g} s" if ended.timed_out else f"exit status {ended.returncode}"
        said = " ".join(ended.stderr.split())[:300] or slow
        raise MissingDependencyError(
            f"{shlex.join(compiler)} cannot compile the tuner plugin: {said}; name another compiler in CC"
        )


def _keep(built: pathlib.Path, path: pathlib.Path) -> None:
    """Give a library its name, whole or not at all; the first of several builders wins, so that all load one inode."""
    built.chmod(0o500)
    try:
        path.hardlink_to(built)
    except FileExistsError:
        return
    except OSError:  # a file system without hard links
        built.replace(path)
