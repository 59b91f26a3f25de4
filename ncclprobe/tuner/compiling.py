"""How the tuner plugin is compiled, and which wheels may carry the result.

Needs nothing but Python, so that hatch_build.py can load this file by its path.

Source: PEP 600 (``manylinux_x_y``: works with that glibc and newer); the ELF specification (``e_machine`` at byte 18).
"""

from __future__ import annotations

import re

LIBRARY = "libncclprobe_tuner.so"
"""Its name in a wheel, beside plugin.c."""
SOURCES = ("plugin.c", "plugin.h", "plugin_record.h", "plugin_table.h")
"""The first is what is compiled, the others are included."""
COMPILERS = ("cc", "gcc", "clang")
"""Tried in this order where CC names none."""
FLAGS = ("-std=c11", "-O2", "-fPIC", "-fvisibility=hidden", "-pthread")
LINKING = ("-shared", "-Wl,-z,nodelete")
"""``nodelete``: NCCL unloads a plugin with the last communicator; its state is to outlive that."""

_MACHINES = {62: "x86_64", 183: "aarch64"}
_OLDEST_GLIBC = (2, 17)
"""aarch64's first glibc, and pip's ``manylinux2014``."""


def compilation(compiler: tuple[str, ...], source: str, output: str, extra: tuple[str, ...] = ()) -> list[str]:
    """Return the command's tokens.

    Args:
        compiler: Its tokens, as CC may hold several.
        source: Path of plugin.c.
        output: Path of the library.
        extra: Further flags, before the source.
    """
    return [*compiler, *FLAGS, *LINKING, *extra, "-o", output, source]


def machine(library: bytes) -> str | None:
    """Return what a built library runs on, None where it is neither x86-64 nor aarch64."""
    is_elf64_little = library[:6] == b"\x7fELF\x02\x01"
    return _MACHINES.get(int.from_bytes(library[18:20], "little")) if is_elf64_little else None


def wheel_tag(library: bytes) -> str | None:
    """Return ``py3-none-manylinux_2_33_x86_64`` for a library that needs glibc 2.33; None where no wheel can have it.

    A library that names no glibc version (musl) gets ``linux``, which is good where it was built.
    """
    if (runs_on := machine(library)) is None:
        return None
    versions = [(int(major), int(minor)) for major, minor in re.findall(rb"GLIBC_(\d+)\.(\d+)", library)]
    newest = max([*versions, _OLDEST_GLIBC])
    platform = f"manylinux_{newest[0]}_{newest[1]}" if versions else "linux"
    return f"py3-none-{platform}_{runs_on}"
