"""A site's own part of job scripts: modules, set-up and directives, from a TOML file. Pure: text in, record out."""

from __future__ import annotations

import tomllib

import msgspec

from ncclprobe.decoding import from_toml
from ncclprobe.errors import ParseError, UsageError
from ncclprobe.launchers.quoting import directive, export_line, shell_line
from ncclprobe.records.base import Record

_READS_TEXT = frozenset({"alias", "eval", "trap"})
"""Builtins that read their words as a shell's text."""


class Site(Record, frozen=True, kw_only=True):
    """What job scripts of a site have in common."""

    modules: tuple[str, ...] = ()
    """Loaded in this order with ``module load``."""
    setup: tuple[str | tuple[str, ...], ...] = ()
    """Run in this order after the modules: ``NAME=VALUE`` is exported, a list is a command's words."""
    program: tuple[str, ...] = ()
    """How ncclprobe is started there; empty for the Python that wrote the script."""
    prefix: tuple[str, ...] = ()
    """Words before it."""
    directives: tuple[str, ...] = ()
    """Further directives, without ``#SBATCH`` or ``#PBS``."""

    @property
    def lines(self) -> list[str]:
        """Return the shell's lines that make the job's environment; one that fails ends the job."""
        modules = [shell_line(("module", "load", name)) for name in self.modules]
        return [f"{line} || exit" for line in [*modules, *map(_setup_line, self.setup)]]


def parse_site(text: str, source: str) -> Site:
    """Return a site's file.

    Args:
        text: TOML.
        source: The file's name, for messages.

    Raises:
        ParseError: It is no TOML, or holds something else.
    """
    try:
        content = from_toml(text)
        unknown = sorted(set(content) - set(Site.__struct_fields__))
        if unknown:
            raise UsageError(f"there is no {unknown[0]!r}; it takes {', '.join(Site.__struct_fields__)}")
        site = msgspec.convert(content, Site)
        _check(site)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UsageError) as problem:
        raise ParseError(f"no site file: {problem}", source=source) from problem
    return site


def _check(site: Site) -> None:
    """Raise UsageError where a part cannot stand in a script."""
    for text in site.directives:
        directive(text)
    if strange := [name for name in site.modules if not name or name.startswith("-")]:
        raise UsageError(f"{strange[0]!r} is no module's name")
    assert site.lines is not None  # noqa: S101 - reading them checks each
    for words in filter(None, (site.program, site.prefix)):
        shell_line(words)


def _setup_line(step: str | tuple[str, ...]) -> str:
    if isinstance(step, str):
        name, equals, value = step.partition("=")
        if not equals:
            raise UsageError(f"the set-up {step!r} is neither NAME=VALUE nor a list of words, such as ['ulimit', '-l']")
        return export_line(name, value)
    if step and step[0] in _READS_TEXT:
        raise UsageError(f"the set-up {step[0]!r} reads text as a shell does; write the commands themselves")
    return shell_line(step)
