"""What a text sets, be it a shell script, a Python program, nccl.conf, an environment's entries or YAML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath

from ncclprobe.tuner.conf_script import NAME, conf_script
from ncclprobe.tuner.docker_script import docker_script, is_dockerfile
from ncclprobe.tuner.python_script import python_script
from ncclprobe.tuner.script import Dialect, How, Script, Setting
from ncclprobe.tuner.shell_script import shell_script
from ncclprobe.tuner.yaml_script import yaml_script

ENTRY = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)=(.*)")
PROGRAM = re.compile(r"\b(\w+_perf|python3?|torchrun|deepspeed|accelerate|sglang|vllm|nemo|trtllm-\w+)\b")
COMMAND = re.compile(r"""\s*(NCCL|SGL)\w*=[^\s"']*\s+\S|.*\\\s*$""")
"""``NCCL_DEBUG=INFO ./program``, or a line that goes on: no entry of an environment."""
SHEBANG = re.compile(r"#![^\n]{0,80}\bpython[\d.]*\b")
MANIFEST = re.compile(r"^(apiVersion|kind|services|version|on|jobs):", re.MULTILINE)


def read_script(text: str, source: str) -> Script:
    """Return what a text sets and starts.

    Args:
        text: Of the file.
        source: Its name, as findings call it; tells nccl.conf and YAML apart.
    """
    programs = frozenset(PROGRAM.findall(re.sub(r"(?m)^[ \t]*#.*$", "", text)))
    script = _read(text, source)
    written = tuple(one._replace(programs=programs) for one in script.written)
    return script._replace(programs=programs, written=written)


def _read(text: str, source: str) -> Script:
    dialect = dialect_of(text, source)
    if dialect is Dialect.SHELL:
        return shell_script(text, source)
    if dialect is Dialect.DOCKERFILE:
        return docker_script(text, source)
    if dialect is Dialect.PYTHON:
        return python_script(text, source)
    if dialect is Dialect.YAML:
        return yaml_script(text, source)
    if dialect is Dialect.NCCL_CONF:
        return conf_script(text, source)
    return _entries(text, source)


def dialect_of(text: str, source: str) -> Dialect:
    """Return what a text is, by its file's name or else by its content."""
    name = PurePath(source).name
    if name.endswith(NAME):
        return Dialect.NCCL_CONF
    if name.endswith(".py") or SHEBANG.match(text):
        return Dialect.PYTHON
    if is_dockerfile(text, source):
        return Dialect.DOCKERFILE
    if name.endswith((".yaml", ".yml")) or (MANIFEST.search(text) and not text.startswith("#!")):
        return Dialect.YAML
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    plain = bool(lines) and all(ENTRY.fullmatch(line) and not COMMAND.match(line) for line in lines)
    return Dialect.ENTRIES if plain and not text.startswith("#!") else Dialect.SHELL


def environment_script(environment: Mapping[str, str], source: str) -> Script:
    """Return what an environment sets.

    Args:
        environment: Names and values.
        source: What findings call it.
    """
    settings = [Setting(name, value, 0, How.ENTRY) for name, value in sorted(environment.items())]
    return Script(source=source, dialect=Dialect.ENTRIES, settings=tuple(settings))


def _entries(text: str, source: str) -> Script:
    settings = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.lstrip().startswith("#") and (match := ENTRY.fullmatch(line)):
            value = match[2].strip()
            if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
                value = value[1:-1]
            settings.append(Setting(match[1], None if "$" in value else value, number, How.ENTRY, order=number))
    return Script(source=source, dialect=Dialect.ENTRIES, settings=tuple(settings))
