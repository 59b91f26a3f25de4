"""What every check of a script gets and gives."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

from ncclprobe.findings import Severity
from ncclprobe.tuner.script import Dialect, How, Script, Setting
from ncclprobe.tuner.variables import Catalog, Variable, is_sglang


class Doubt(NamedTuple):
    """A finding, before its line becomes a subject."""

    line: int
    severity: Severity
    code: str
    message: str
    hint: str


class Case(NamedTuple):
    """A script to check."""

    script: Script
    catalog: Catalog
    version: str
    """Of NCCL; empty where it isn't known."""

    def relevant(self) -> Iterator[Setting]:
        """Yield the settings of NCCL's and SGLang's variables."""
        return (one for one in self.script.settings if one.name.startswith("NCCL_") or is_sglang(one.name))

    def known(self) -> Iterator[tuple[Setting, Variable, str]]:
        """Yield settings of NCCL's variables whose value is known, with that value."""
        for one in self.script.settings:
            variable = self.catalog.nccl.get(one.name)
            if variable is not None and one.value is not None:
                yield one, variable, one.value

    def ours(self, name: str) -> bool:
        """Return whether a name means something to NCCL or SGLang."""
        return name in self.catalog.nccl or name in self.catalog.sglang


class Arm(NamedTuple):
    """Settings that hold at the same time."""

    settings: dict[str, Setting]
    """Name -> the last setting."""

    def value(self, name: str) -> str:
        """Return a variable's value, empty where it is unset or not known."""
        setting = self.settings.get(name)
        return setting.value or "" if setting else ""

    def number(self, name: str) -> int | None:
        """Return a variable's value as a number, None where it is none."""
        return integer(self.value(name))


@functools.cache
def integer(text: str) -> int | None:
    """Return a whole text as the number that C's ``strtoll`` with base 0 makes of it, None where it is none."""
    digits = text.strip().lstrip("+-").lower()
    base = 16 if digits.startswith("0x") else 8 if digits.startswith("0") and len(digits) > 1 else 10
    try:
        return int(text.strip(), base)
    except ValueError:
        return None


def together(script: Script) -> Iterator[Arm]:
    """Yield the groups of settings that hold at the same time, one a launch or one in all.

    A setting counts for a launch where it comes before it in the same or an enclosing block.
    """
    lasting = [one for one in script.settings if one.how in (How.EXPORT, How.ENTRY, How.DIRECTIVE, How.ASSIGN)]
    if script.dialect is not Dialect.SHELL:
        for scope in dict.fromkeys(one.scope for one in lasting):
            yield Arm({one.name: one for one in lasting if one.scope == scope})
    seen: set[tuple[Setting, ...]] = set()
    ends = [(launch.order, launch.scope) for launch in script.launches] or [(len(lasting) + 10**9, ())]
    for order, scope in ends:
        held = [one for one in lasting if one.order < order and one.scope == scope[: len(one.scope)]]
        own = [one for one in script.settings if one.launch == order or (one.how is How.PREFIX and one.order == order)]
        if (key := (*held, *own)) not in seen:
            seen.add(key)
            yield Arm({one.name: one for one in key})
