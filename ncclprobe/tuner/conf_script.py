"""What nccl.conf sets, as a file of its own or as the text that a script writes into it.

Source: NCCL 2.30.7, src/misc/param.cc (``setEnvFile``): the name is all before the first ``=``, the value the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ncclprobe.tuner.script import Dialect, How, Script, Setting

NAME = "nccl.conf"
"""How the names of such files end."""
EXPANSION = re.compile(r"[$`\\]")


def conf_script(text: str, source: str, line: int = 1, *, expanded: bool = False) -> Script:
    """Return what the file sets.

    Args:
        text: Of the file.
        source: What findings call it.
        line: The number of its first line.
        expanded: Whether a shell puts variables in first; lines with such are ones that only the shell can tell.
    """
    lines = tuple(
        (number, one) for number, one in enumerate(text.split("\n"), line) if not (expanded and EXPANSION.search(one))
    )
    return Script(source=source, dialect=Dialect.NCCL_CONF, settings=tuple(_settings(lines)), raw=lines)


def _settings(lines: tuple[tuple[int, str], ...]) -> Iterator[Setting]:
    for number, line in lines:
        name, equals, value = line.removesuffix("\r").partition("=")
        if equals and not line.startswith("#") and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            yield Setting(name, value, number, How.ENTRY, order=number)
