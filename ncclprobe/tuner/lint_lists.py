"""Values with commas in options that separate variables by commas.

Source: srun(1) and sbatch(1) of Slurm 23 (``--export``), qsub(1B) of PBS 2022 (``-v``): a value that holds a comma must
be quoted within the list, ``NAME='a,b'``.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from typing import NamedTuple

from ncclprobe.findings import Severity
from ncclprobe.tuner.lint_algorithms import ALGOS, PROTOS
from ncclprobe.tuner.lint_case import Case, Doubt
from ncclprobe.tuner.script import How, LaunchKind
from ncclprobe.tuner.shell_lists import items
from ncclprobe.tuner.shell_words import NAME
from ncclprobe.tuner.variables import Variable

LISTS = frozenset({"list", "subsys", "algo", "proto", "hca", "ifname"})
"""Types of variables whose values have commas."""
PROXIES = frozenset({"http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"})
"""The environment's names in small letters."""
IN_DIRECTIVE = re.compile(r"""(SBATCH\s(?:.*?\s)?--export[= ]|PBS\s(?:.*?\s)?-v\s*)("[^"]*"|'[^']*'|\S+)""")


class _Listed(NamedTuple):
    """A list of variables in an option."""

    option: str
    text: str
    line: int


def check_lists(case: Case) -> Iterator[Doubt]:
    """Yield values that a list of variables ends at their first comma."""
    script = case.script
    own = {one.name for one in script.settings} | script.exported | script.used
    for listed in (*_of_launches(case), *_of_directives(case)):
        for name, value, rest in _cut(case, listed.text, own):
            message = f"{name}={value} is all that arrives: {listed.option} ends a value at a comma, so {rest} is lost"
            hint = f"export {name} in the script instead, or quote the value within the list"
            yield Doubt(listed.line, Severity.ERROR, "value-invalid", message, hint)


def _of_launches(case: Case) -> Iterator[_Listed]:
    for one in case.script.launches:
        if one.kind in (LaunchKind.SRUN, LaunchKind.SBATCH) and one.exports:
            yield _Listed("--export", one.exports, one.line)
        elif one.kind is LaunchKind.QSUB:
            values = zip(one.words, one.values[1:], strict=False)
            yield from (_Listed("-v", value, one.line) for option, value in values if option == "-v" and value)


def _of_directives(case: Case) -> Iterator[_Listed]:
    lines = {one.name: one.line for one in case.script.settings if one.how is How.DIRECTIVE}
    for directive in case.script.directives:
        if match := IN_DIRECTIVE.match(directive):
            text = match[2]
            line = next((lines[name] for name in NAME.findall(text) if name in lines), 0)
            yield _Listed("--export" if match[1].startswith("SBATCH") else "-v", text, line)


def _cut(case: Case, text: str, own: Container[str]) -> Iterator[tuple[str, str, str]]:
    """Yield a variable, what is left of its value, and the first item that was meant to belong to it."""
    last: tuple[Variable, str] | None = None
    for item in items(text):
        name, equals, value = item.partition("=")
        if equals and NAME.fullmatch(name):
            variable = case.catalog.nccl.get(name)
            last = (variable, value) if variable and variable.type in LISTS else None
        elif last and item and item not in own and not last[1].endswith("\\") and _is_value(last[0], item):
            yield last[0].name, last[1], item
            last = None


def _is_value(variable: Variable, item: str) -> bool:
    """Return whether an item is rather a part of a variable's value than a name of the environment."""
    if "$" in item or not NAME.fullmatch(item):
        return "$" not in item
    words = {"algo": ALGOS, "proto": PROTOS}.get(variable.type, variable.values.lower().split(","))
    return item.lower() in words or (item[0].islower() and item not in PROXIES)
