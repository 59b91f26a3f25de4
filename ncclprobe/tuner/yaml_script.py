"""What a manifest in YAML sets: Kubernetes' ``env`` lists, compose files' ``environment``, arguments, scripts.

The lines that concern variables are recognised by their form; the rest of the file is passed over.

Source: Kubernetes API v1 (EnvVar: ``name`` and ``value``), Kubeflow MPIJob v2beta1 (a launcher's arguments).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ncclprobe.tuner.script import Dialect, How, Script, Setting
from ncclprobe.tuner.shell_script import shell_script

NAMED = re.compile(
    r"""^\s*(?:-\s*)?\{?\s*name:\s*["']?([A-Z_][A-Z0-9_]*)["']?\s*(?:,\s*value:\s*(.*?)\s*\}?\s*)?(?:#.*)?$"""
)
VALUE = re.compile(r"^\s*(?:-\s*)?value:\s*(.*?)\s*$")
ARGUMENT = re.compile(r"""^\s*-\s*["']?([A-Z_][A-Z0-9_]*)=(.*?)["']?\s*$""")
MAPPED = re.compile(r"^\s*([A-Z_][A-Z0-9_]*):\s+(\S.*?)\s*$")
OPTION = re.compile(r"""(?:^|[\s"'])(?:-x|-e|export)\s+([A-Z_][A-Z0-9_]*)=([^\s"'\\]*)""")
"""Within a command that is one scalar, on one line or on several."""
BLOCK = re.compile(r"[:-]\s*[|>][+-]?\d?\s*$")


def yaml_script(text: str, source: str) -> Script:
    """Return what a manifest sets.

    Args:
        text: Of the file.
        source: What findings call it.
    """
    lines = text.splitlines()
    script = Script(source=source, dialect=Dialect.YAML)
    settings: list[Setting] = []
    at = container = 0
    while at < len(lines):
        line = lines[at]
        if re.match(r"^\s*-?\s*(env|environment|containers|initContainers):\s*$", line) or line.startswith("---"):
            container += 1
        if BLOCK.search(line.partition(" #")[0]):
            at, script = _block(lines, at, script)
            continue
        settings.extend(_setting(lines, at, container))
        at += 1
    return script._replace(settings=(*settings, *script.settings))


def _setting(lines: list[str], at: int, container: int) -> Iterator[Setting]:
    line = lines[at]
    if line.lstrip().startswith("#"):
        return
    if match := NAMED.match(line):
        value = match[2]
        following = VALUE.match(lines[at + 1]) if value is None and at + 1 < len(lines) else None
        value = following[1] if following else value
        if value is not None:
            yield Setting(match[1], _scalar(value), at + 1, How.ENTRY, (container,), at)
    elif match := ARGUMENT.match(line) or MAPPED.match(line):
        yield Setting(match[1], _scalar(match[2]), at + 1, How.ENTRY, (container,), at)
    else:
        for name, value in OPTION.findall(line):
            yield Setting(name, None if "$" in value else value, at + 1, How.ENTRY, (container,), at)


def _scalar(text: str) -> str | None:
    """Return a scalar without its quotes; None where the cluster fills something in."""
    quoted = re.match(r"""(["'])(.*?)\1\s*(?:#.*)?$""", text)
    value = quoted[2] if quoted else re.sub(r"\s+#.*$", "", text)
    return None if "$(" in value or "${" in value or "{{" in value else value


def _block(lines: list[str], at: int, script: Script) -> tuple[int, Script]:
    """Return the line behind a block, and what the script in it sets and starts besides."""
    indent = len(lines[at]) - len(lines[at].lstrip())
    end = at + 1
    while end < len(lines) and (not lines[end].strip() or len(lines[end]) - len(lines[end].lstrip()) > indent):
        end += 1
    inner = shell_script("\n".join(lines[at + 1 : end]), script.source, at + 2)
    offset = 1000 * at  # blocks of different containers have nothing to do with each other
    return end, script._replace(
        settings=(
            *script.settings,
            *(one._replace(order=one.order + offset, scope=(offset, *one.scope)) for one in inner.settings),
        ),
        launches=(
            *script.launches,
            *(one._replace(order=one.order + offset, scope=(offset, *one.scope)) for one in inner.launches),
        ),
        used=script.used | inner.used,
        exported=script.exported | inner.exported,
    )
