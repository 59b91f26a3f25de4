"""Names that nothing reads, and names that this NCCL does not have yet or has no more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ncclprobe.findings import Severity
from ncclprobe.tuner.lint_case import Case, Doubt
from ncclprobe.tuner.others import others_name
from ncclprobe.tuner.script import How, Setting
from ncclprobe.tuner.variables import NEWEST, OLDEST, Variable, is_sglang, known_to_sglang, misspells, nearest, release

MOST_COMPARED = 100
"""Unknown names of a script that are compared with all known ones, which takes some milliseconds each."""

NOT_MEANT = {
    "NCCL_TIMEOUT": "take it out; PyTorch's limit is init_process_group's timeout; NCCL_IB_TIMEOUT counts no seconds",
    "NCCL_SOCKET_TIMEOUT_MS": "take it out; connecting is tried NCCL_SOCKET_RETRY_CNT times",
}
"""Names that mean something else than the known one that they are most like: hint."""


def check_names(case: Case) -> Iterator[Doubt]:
    """Yield names that nothing reads."""
    newest = max((one.since for one in case.catalog.sglang.values() if not one.until), key=release)
    like: dict[str, tuple[str, ...] | None] = {}
    for setting in case.relevant():
        variable = case.catalog.nccl.get(setting.name)
        if variable is not None:
            yield from _version(case, setting, variable)
        elif name := case.in_capitals(setting):
            message = f"names are read in capitals, so {setting.name} does nothing"
            yield Doubt(setting.line, Severity.ERROR, "unknown-variable", message, f"write {name}")
        elif not _read_elsewhere(case, setting.name):
            if setting.name not in like:
                like[setting.name] = nearest(setting.name, _names(case, setting)) if len(like) < MOST_COMPARED else None
            doubt = _unknown(case, setting, like[setting.name], newest)
            if setting.how is not How.LISTED or doubt.severity is Severity.ERROR:  # lists are for other programs, too
                yield doubt


def check_blanks(case: Case) -> Iterator[Doubt]:
    """Yield what a shell takes for no assignment because of blanks around ``=``."""
    for setting in case.script.spaced:
        if setting.name.upper().startswith("NCCL_") or case.ours(setting.name.upper()):
            message = f"the blanks around = make this no assignment, so {setting.name} is not set to {setting.value}"
            hint = f"write {'export ' if setting.how is How.EXPORT else ''}{setting.name}={setting.value}"
            yield Doubt(setting.line, Severity.ERROR, "assignment-syntax", message, hint)


def check_cuts(case: Case) -> Iterator[Doubt]:
    """Yield what a line's end or a ``;`` has cut off from the command that it belongs to."""
    lines: dict[int, list[str]] = {}
    values: dict[int, Setting] = {}
    for setting in case.script.cut:
        if setting.how is not How.LAUNCHER:
            values[setting.line] = setting
        elif case.ours(setting.name):
            lines.setdefault(setting.line, []).append(setting.name)
    for line, names in lines.items():
        verb = "is" if len(names) == 1 else "are"
        message = f"the line before has ended its command, so {', '.join(names)} {verb} not set by this one"
        hint = "end the lines of a command with \\ and nothing behind it, and leave no comment in between"
        yield Doubt(line, Severity.ERROR, "assignment-syntax", message, hint)
    for line, setting in values.items():
        message = f"the ; ends the command, so {setting.name} is set without what stands behind it"
        hint = f"write {setting.name}='{setting.value}'" if setting.value else "put the value into quotes"
        yield Doubt(line, Severity.ERROR, "value-invalid", message, hint)


def _read_elsewhere(case: Case, name: str) -> bool:
    """Return whether SGLang, another program or the script itself has a use for a name."""
    sglang = is_sglang(name) and known_to_sglang(name, case.catalog)
    return sglang or others_name(name) or name in case.script.used


def _names(case: Case, setting: Setting) -> Iterable[str]:
    if is_sglang(setting.name):
        return case.catalog.sglang
    return (name for name in case.catalog.nccl if not _is_gone(name, case))


def _unknown(case: Case, setting: Setting, near: tuple[str, ...] | None, newest: str) -> Doubt:
    sglang = is_sglang(setting.name)
    meant = near[0] if near and setting.name not in NOT_MEANT and misspells(setting.name, near[0]) else ""
    who = f"SGLang (0.4.0 to {newest})" if sglang else f"NCCL ({OLDEST} to {NEWEST})"
    return Doubt(
        setting.line,
        Severity.ERROR if meant else Severity.WARNING,
        "unknown-variable",
        f"{who} has no variable {setting.name}, so the setting does nothing",
        f"write {meant}, if that is meant" if meant else NOT_MEANT.get(setting.name) or _proposal(near),
    )


def _is_gone(name: str, case: Case) -> bool:
    """Return whether a name was gone before the oldest NCCL that counts, so that nothing would come of writing it."""
    variable = case.catalog.nccl.get(name)
    return bool(variable and variable.until and release(variable.until) < release(OLDEST))


def _proposal(near: tuple[str, ...] | None) -> str:
    if near is None:
        return "take it out"
    return f"take it out; the nearest names are {', '.join(near)}" if near else "take it out; no known name is like it"


def _version(case: Case, setting: Setting, variable: Variable) -> Iterator[Doubt]:
    version = release(case.version)
    if version and variable.since and release(variable.since)[: len(version)] > version:
        message = f"NCCL {case.version} has no {setting.name} yet; it came with {variable.since}"
        yield Doubt(setting.line, Severity.WARNING, "variable-not-yet", message, "take it out, or use a newer NCCL")
    elif variable.until and release(variable.until)[: len(version or (0, 0))] < (version or release(OLDEST)):
        gone = f"NCCL {case.version or OLDEST} {'' if case.version else 'and later '}".rstrip()
        message = f"{gone} no longer {'has' if case.version else 'have'} {setting.name}; {variable.until} was the last"
        hint = f"its place has {variable.replaced_by}" if variable.replaced_by else "take it out"
        yield Doubt(setting.line, Severity.WARNING, "variable-no-more", message, hint)
