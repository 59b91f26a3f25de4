"""What every check of a script gets and gives."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from ncclprobe.findings import Severity
from ncclprobe.tuner.script import ELSEWHERE, Dialect, How, Script, Setting
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
        return (
            one
            for one in self.script.settings
            if one.how is not How.UNSET
            and (one.name.startswith("NCCL_") or is_sglang(one.name) or self.in_capitals(one))
        )

    def in_capitals(self, setting: Setting) -> str:
        """Return the known name that a setting has but for its letters' case; empty for a script's own variables."""
        name = setting.name.upper()
        own = setting.how in (How.ASSIGN, How.LISTED) or setting.name in self.script.used
        return name if name != setting.name and self.ours(name) and not own else ""

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
    uses: Mapping[Setting, int] = MappingProxyType({})
    """Setting -> how many arms of the script have it."""

    def value(self, name: str) -> str:
        """Return a variable's value, empty where it is unset or not known."""
        setting = self.settings.get(name)
        return setting.value or "" if setting else ""

    def number(self, name: str) -> int | None:
        """Return a variable's value as a number, None where it is none."""
        return integer(self.value(name))

    def also_without(self, name: str, other: str) -> bool:
        """Return whether a variable also holds where another one does not, which is set for a part of the launches."""
        one, part = self.settings[name], self.settings[other]
        narrower = part.how in (How.PREFIX, How.LAUNCHER) or len(part.scope) > len(one.scope)
        return narrower and self.uses.get(one, 0) > self.uses.get(part, 0)


@functools.cache
def integer(text: str) -> int | None:
    """Return a whole text as the number that C's ``strtoll`` with base 0 makes of it, None where it is none."""
    digits = text.strip().lstrip("+-").lower()
    base = 16 if digits.startswith("0x") else 8 if digits.startswith("0") and len(digits) > 1 else 10
    try:
        return int(text.strip(), base)
    except ValueError:
        return None


def in_force(
    launches: Sequence[tuple[int, tuple[int, ...]]], settings: Sequence[Setting], *, certain: bool = False
) -> Iterator[list[Setting]]:
    """Yield, in the order of the launches, each name's last setting that holds for a launch; names as first set.

    A setting holds for what comes after it in the same or an inner block, up to where it is unset there.

    Args:
        launches: The order and the scope of each, ascending.
        settings: As a script has them.
        certain: Whether to leave out what a block that has ended since may have set otherwise.
    """
    waiting = sorted(enumerate(settings), key=lambda one: -one[1].order)
    blocks: dict[tuple[int, ...], dict[str, tuple[int, int]]] = defaultdict(dict)
    depths: set[int] = set()
    latest: dict[str, int] = {}
    for order, scope in launches:
        while waiting and waiting[-1][1].order < order:
            place, one = waiting.pop()
            depths.add(len(one.scope))
            blocks[one.scope][one.name] = _widened(blocks[one.scope].get(one.name), (place, place))
            if not one.scope or one.scope[-1] >= 0:  # else for another process
                latest[one.name] = max(place, latest.get(one.name, 0))
        held: dict[str, tuple[int, int]] = {}
        outermost = _outermost(scope)
        for depth in depths:
            if outermost <= depth <= len(scope):
                for name, places in blocks.get(scope[:depth], {}).items():
                    held[name] = _widened(held.get(name), places)
        ended = max(latest.get("", -1) if certain else -1, *held.get("", (-1, -1)))
        lasts = (last for _, last in sorted(held.values()) if last > ended and settings[last].how is not How.UNSET)
        yield [settings[at] for at in lasts if not certain or _same(settings[at], settings, latest)]


def _same(setting: Setting, settings: Sequence[Setting], latest: dict[str, int]) -> bool:
    """Return whether the last line on a variable, be it in another block, left it with the same value."""
    last = settings[latest[setting.name]] if setting.name in latest else setting
    return last.how is not How.UNSET and last.value == setting.value


def _outermost(scope: tuple[int, ...]) -> int:
    """Return the depth of the outermost block whose settings hold in a scope."""
    return max((depth for depth, number in enumerate(scope, 1) if number == ELSEWHERE), default=0)


def _widened(places: tuple[int, int] | None, others: tuple[int, int]) -> tuple[int, int]:
    """Return the first and the last of the places of a name's settings."""
    return others if places is None else (min(places[0], others[0]), max(places[1], others[1]))


def together(script: Script, names: Container[str]) -> Iterator[Arm]:
    """Yield the groups of settings that hold at the same time, one a launch or one in all.

    A setting counts for a launch where it comes before it in the same or an enclosing block.

    Args:
        script: What a text sets and starts.
        names: Of the variables that matter.
    """
    settings = [one for one in script.settings if one.name in names or not one.name]
    lasting = [_inside(one) for one in settings if one.how not in (How.LAUNCHER, How.LISTED)]
    if script.dialect is not Dialect.SHELL:
        blocks: dict[tuple[int, ...], dict[str, Setting]] = defaultdict(dict)
        for one in lasting:
            if one.how not in (How.PREFIX, How.UNSET):
                blocks[one.scope][one.name] = one
        yield from map(Arm, blocks.values())
    own: dict[int, list[Setting]] = defaultdict(list)
    for one in settings:
        if one.launch >= 0 or one.how is How.PREFIX:
            own[one.launch if one.launch >= 0 else one.order].append(one)
    seen: set[tuple[Setting, ...]] = set()
    ends = sorted((launch.order, launch.scope) for launch in script.launches) or [(len(lasting) + 10**9, ())]
    for (order, _), held in zip(ends, in_force(ends, lasting, certain=True), strict=True):
        if (key := (*held, *own[order])) not in seen:
            seen.add(key)
            yield Arm(_left(held, own[order]))


def _inside(setting: Setting) -> Setting:
    """Return what is set for one command as set in the scripts that are inside that command."""
    return setting._replace(scope=(*setting.scope, -setting.order)) if setting.how is How.PREFIX else setting


def _left(held: Sequence[Setting], own: Sequence[Setting]) -> dict[str, Setting]:
    """Return what holds for a launch, whose own options may set and unset variables."""
    emptied = any(not one.name for one in own)
    last = {one.name: one for one in (*(() if emptied else held), *own)}
    return {name: one for name, one in last.items() if one.how is not How.UNSET}
