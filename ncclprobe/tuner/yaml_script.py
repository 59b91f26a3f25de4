"""What a manifest in YAML sets: Kubernetes' ``env`` lists, compose files' ``environment``, arguments, scripts.

The lines that concern variables are recognised by their form; the rest of the file is passed over.

Source: Kubernetes API v1 (EnvVar: ``name`` and ``value``), Kubeflow MPIJob v2beta1 (a launcher's arguments).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ncclprobe.tuner.script import Dialect, How, Script, Setting
from ncclprobe.tuner.shell_script import shell_script

NAMED = re.compile(r"""(?:-\s*)?(?:\{\s*)?name:\s*["']?([A-Z_][A-Z0-9_]*)["']?\s*(.*)""")
INLINE = re.compile(r",\s*value:\s*(.*)")
VALUE = re.compile(r"(?:-\s*)?value:\s*(.*)")
ARGUMENT = re.compile(r"""-\s*["']?([A-Z_][A-Z0-9_]*)=(.*)""")
MAPPED = re.compile(r"([A-Z_][A-Z0-9_]*):\s+(\S.*)")
COMMENT = re.compile(r"(?<!\s)\s+#.*")
"""Each is for a line without blanks at its ends: no part of it can match in several ways, so no line takes long."""
OPTION = re.compile(r"""(?:^|[\s"'])(?:-x|-e|export)\s+([A-Z_][A-Z0-9_]*)=([^\s"'\\]*)""")
"""Within a command that is one scalar, on one line or on several."""
SECTION = re.compile(r"(?:-\s*)?(env|environment|containers|initContainers):")
BLOCK = re.compile(r"[:-]\s*[|>][+-]?\d?\s*$")


def yaml_script(text: str, source: str) -> Script:
    """Return what a manifest sets.

    Args:
        text: Of the file.
        source: What findings call it.
    """
    lines = text.splitlines()
    blocks: list[Script] = []
    settings: list[Setting] = []
    at = container = 0
    while at < len(lines):
        line = lines[at]
        if SECTION.fullmatch(line.strip()) or line.startswith("---"):
            container += 1
        if BLOCK.search(line.partition(" #")[0]):
            at, block = _block(lines, at, source)
            blocks.append(block)
            continue
        settings.extend(_setting(lines, at, container))
        at += 1
    return Script(
        source=source,
        dialect=Dialect.YAML,
        settings=(*settings, *(one for block in blocks for one in block.settings)),
        launches=tuple(one for block in blocks for one in block.launches),
        used=frozenset[str]().union(*(block.used for block in blocks)),
        exported=frozenset[str]().union(*(block.exported for block in blocks)),
        spaced=tuple(one for block in blocks for one in block.spaced),
        written=tuple(one for block in blocks for one in block.written),
    )


def _setting(lines: list[str], at: int, container: int) -> Iterator[Setting]:
    line = lines[at].strip()
    if line.startswith("#"):
        return
    if (match := NAMED.match(line)) and (named := _named(match[2], lines[at + 1 : at + 2])) is not None:
        if named:
            yield Setting(match[1], _scalar(named[0]), at + 1, How.ENTRY, (container,), at)
    elif match := ARGUMENT.match(line):
        value = match[2][:-1] if match[2].endswith(('"', "'")) else match[2]
        yield Setting(match[1], _scalar(value), at + 1, How.ENTRY, (container,), at)
    elif match := MAPPED.match(line):
        yield Setting(match[1], _scalar(match[2]), at + 1, How.ENTRY, (container,), at)
    else:
        for name, value in OPTION.findall(line):
            yield Setting(name, None if "$" in value else value, at + 1, How.ENTRY, (container,), at)


def _named(rest: str, following: list[str]) -> tuple[str, ...] | None:
    """Return the value that follows a name, nothing where none does; None where the line is something else."""
    if inline := INLINE.match(rest):
        return (COMMENT.sub("", inline[1]).rstrip().removesuffix("}").rstrip(),)
    if rest and not rest.startswith("#"):
        return None
    match = VALUE.match(following[0].strip()) if following else None
    return (match[1],) if match else ()


def _scalar(text: str) -> str | None:
    """Return a scalar without its quotes; None where the cluster fills something in."""
    quoted = re.match(r"""(["'])(.*?)\1\s*(?:#.*)?$""", text)
    value = quoted[2] if quoted else COMMENT.sub("", text)
    return None if "$(" in value or "${" in value or "{{" in value else value


def _block(lines: list[str], at: int, source: str) -> tuple[int, Script]:
    """Return the line behind a block, and what the script in it sets and starts."""
    indent = len(lines[at]) - len(lines[at].lstrip())
    end = at + 1
    while end < len(lines) and (not lines[end].strip() or len(lines[end]) - len(lines[end].lstrip()) > indent):
        end += 1
    inner = shell_script("\n".join(lines[at + 1 : end]), source, at + 2)
    offset = 1000 * at  # blocks of different containers have nothing to do with each other
    return end, inner._replace(
        settings=tuple(_moved(one, offset) for one in inner.settings),
        launches=tuple(one._replace(order=one.order + offset, scope=(offset, *one.scope)) for one in inner.launches),
    )


def _moved(setting: Setting, offset: int) -> Setting:
    launch = setting.launch + offset if setting.launch >= 0 else -1
    return setting._replace(order=setting.order + offset, scope=(offset, *setting.scope), launch=launch)
