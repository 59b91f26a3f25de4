"""What a text sets, be it a shell script, a program, a manifest or any other of the kinds that are read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import PurePath

from ncclprobe.tuner.conf_script import NAME as CONF
from ncclprobe.tuner.conf_script import conf_script
from ncclprobe.tuner.docker_script import docker_script, is_dockerfile
from ncclprobe.tuner.entries_script import entries_script, is_entries
from ncclprobe.tuner.flow_script import is_json, json_script
from ncclprobe.tuner.make_script import is_makefile, make_script
from ncclprobe.tuner.python_script import python_script
from ncclprobe.tuner.script import Dialect, How, Script, Setting
from ncclprobe.tuner.shell_script import shell_script
from ncclprobe.tuner.toml_script import toml_script
from ncclprobe.tuner.unit_script import is_unit, unit_script
from ncclprobe.tuner.yaml_script import yaml_script

PROGRAM = re.compile(
    r"\b(\w+_perf(?=(?:_mpi)?\b)|(?:python3?|torchrun|deepspeed|accelerate|sglang|vllm|nemo|trtllm-\w+)\b)"
)
"""``all_reduce_perf_mpi`` is what NVIDIA's images call nccl-tests' all_reduce_perf."""
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
    return READERS[dialect_of(text, source)](text, source)


READERS: Mapping[Dialect, Callable[[str, str], Script]] = {
    Dialect.SHELL: shell_script,
    Dialect.PYTHON: python_script,
    Dialect.YAML: yaml_script,
    Dialect.JSON: json_script,
    Dialect.TOML: toml_script,
    Dialect.UNIT: unit_script,
    Dialect.DOCKERFILE: docker_script,
    Dialect.MAKEFILE: make_script,
    Dialect.NCCL_CONF: conf_script,
    Dialect.ENTRIES: entries_script,
}


def dialect_of(text: str, source: str) -> Dialect:
    """Return what a text is, by its file's name or else by its content."""
    path = PurePath(source)
    if path.name.endswith(CONF):
        return Dialect.NCCL_CONF
    if path.suffix in SUFFIXES:
        return SUFFIXES[path.suffix]
    if SHEBANG.match(text):
        return Dialect.PYTHON
    if is_makefile(source):
        return Dialect.MAKEFILE
    if text.startswith("#!") or path.suffix in SHELL_SUFFIXES:
        return Dialect.ENTRIES if is_entries(text, source) else Dialect.SHELL
    return _by_content(text, source)


SUFFIXES = {
    ".py": Dialect.PYTHON, ".yaml": Dialect.YAML, ".yml": Dialect.YAML, ".json": Dialect.JSON, ".toml": Dialect.TOML,
    ".ini": Dialect.TOML, ".cfg": Dialect.TOML,
}  # fmt: skip
SHELL_SUFFIXES = frozenset({".sh", ".bash", ".sbatch", ".slurm", ".pbs", ".lsf", ".job"})


def _by_content(text: str, source: str) -> Dialect:
    if is_dockerfile(text, source):
        return Dialect.DOCKERFILE
    if is_unit(text, source):
        return Dialect.UNIT
    if is_json(text):
        return Dialect.JSON
    if MANIFEST.search(text):
        return Dialect.YAML
    return Dialect.ENTRIES if is_entries(text, source) else Dialect.SHELL


def environment_script(environment: Mapping[str, str], source: str) -> Script:
    """Return what an environment sets.

    Args:
        environment: Names and values.
        source: What findings call it.
    """
    settings = [Setting(name, value, 0, How.ENTRY) for name, value in sorted(environment.items())]
    return Script(source=source, dialect=Dialect.ENTRIES, settings=tuple(settings))
