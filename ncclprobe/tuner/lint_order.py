"""Settings that a later line overrides before anything uses them, and settings that stay in the script."""

from __future__ import annotations

import bisect
import functools
import itertools
from collections.abc import Iterator, Sequence

from ncclprobe.findings import Severity
from ncclprobe.tuner.lint_case import Case, Doubt
from ncclprobe.tuner.script import Dialect, How, Script, Setting

LASTING = frozenset({How.EXPORT, How.ASSIGN, How.ENTRY})
"""What holds for all that is started behind it."""


def check_order(case: Case) -> Iterator[Doubt]:
    """Yield settings that are overridden, and ones that nothing started by the script sees."""
    yield from _overridden(case)
    if case.script.dialect is Dialect.SHELL and not case.script.allexport:
        yield from _not_exported(case)
    for setting in case.script.lost:
        if case.ours(setting.name) and not name_used(case.script, setting):
            message = f"{setting.name} is exported in a subshell that starts nothing, so nothing sees it"
            hint = "take the parentheses away, or write { ...; }"
            yield Doubt(setting.line, Severity.WARNING, "variable-not-exported", message, hint)


def _overridden(case: Case) -> Iterator[Doubt]:
    by_name: dict[str, list[Setting]] = {}
    for setting in case.script.settings:
        if case.ours(setting.name):
            by_name.setdefault(setting.name, []).append(setting)
    launches = sorted(launch.order for launch in case.script.launches)
    for name, settings in by_name.items():
        for first, second in itertools.pairwise(settings):
            if not name_used(case.script, first) and _replaces(launches, first, second):
                yield _override(case.script, name, first, second)


def _replaces(launches: Sequence[int], first: Setting, second: Setting) -> bool:
    """Return whether a setting is lost before any launch could use it; the launches' orders are sorted."""
    if first.value is None or second.value is None or first.value == second.value:
        return False
    if How.LAUNCHER in (first.how, second.how):
        return first.launch == second.launch or _sole_launch(launches, first, second)
    if first.how not in LASTING or second.how not in LASTING or first.scope != second.scope:
        return False
    return bisect.bisect_right(launches, first.order) >= bisect.bisect_left(launches, second.order)


def _sole_launch(launches: Sequence[int], first: Setting, second: Setting) -> bool:
    """Return whether an option of the script's only launch behind a setting sets the same variable otherwise."""
    if first.how not in (*LASTING, How.DIRECTIVE) or first.scope != second.scope[: len(first.scope)]:
        return False  # it is for a command of its own, or in a branch that the launch is not in
    behind = bisect.bisect_right(launches, first.order)
    return second.how is How.LAUNCHER and list(launches[behind : behind + 2]) == [second.launch]


def name_used(script: Script, setting: Setting) -> bool:
    """Return whether the script itself uses a variable's value."""
    return setting.name in script.used


def _override(script: Script, name: str, first: Setting, second: Setting) -> Doubt:
    conf = script.dialect is Dialect.NCCL_CONF  # NCCL sets a variable from its file only where it is not set yet
    lost, kept = (second, first) if conf else (first, second)
    why = "which came first and counts" if conf else "which comes later and counts"
    message = f"{name}={lost.value} has no effect: line {kept.line} sets {name}={kept.value}, {why}"
    return Doubt(lost.line, Severity.WARNING, "setting-overridden", message, "keep one of them")


def _not_exported(case: Case) -> Iterator[Doubt]:
    script, last = case.script, functools.cache(functools.partial(_last_use, case.script))
    for setting in script.settings:
        stays = setting.how is How.ASSIGN and setting.name not in script.exported and setting.name not in script.used
        if stays and case.ours(setting.name) and last(setting.name) > setting.order:
            message = f"{setting.name} is assigned but not exported, so nothing that the script starts sees it"
            hint = f"write export {setting.name}={'' if setting.value is None else setting.value}"
            yield Doubt(setting.line, Severity.WARNING, "variable-not-exported", message, hint.rstrip("="))


def _last_use(script: Script, name: str) -> int:
    """Return the order of the last launch that could use a variable, since no option of it sets that."""
    given = {one.launch for one in script.settings if one.name == name and one.how is How.LAUNCHER}
    return max((launch.order for launch in script.launches if launch.order not in given), default=-1)
