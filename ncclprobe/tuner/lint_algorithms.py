"""Choices of algorithms and protocols that break collectives or switch off a safety check.

Source: NCCL 2.30.7, src/graph/tuning.cc (``parseList``; LL128 is checked against the machine only while NCCL_PROTO is
unset) and its documentation of NCCL_ALGO: from 2.24 on Ring is no fallback.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ncclprobe.findings import Severity
from ncclprobe.tuner.lint_case import Case, Doubt
from ncclprobe.tuner.script import Setting
from ncclprobe.tuner.variables import release

ALGOS = ("tree", "ring", "collnetdirect", "collnetchain", "nvls", "nvlstree", "pat")
PROTOS = ("ll", "ll128", "simple")
SUPPORTED: Mapping[str, frozenset[str]] = {
    "broadcast": frozenset({"ring"}),
    "reduce": frozenset({"ring"}),
    "allgather": frozenset({"ring", "collnetdirect", "nvls", "pat"}),
    "reducescatter": frozenset({"ring", "collnetdirect", "nvls", "pat"}),
    "allreduce": frozenset({"ring", "tree", "collnetdirect", "collnetchain", "nvls", "nvlstree"}),
}
"""Collective -> the algorithms it can run with."""

PER_COLLECTIVE = (2, 24)
"""The release from which on a collective can have a list of its own, and Ring is no fallback.

Source: NCCL 2.24.3, src/graph/tuning.cc (``parseList``); 2.23.4's has neither ``;`` nor ``:``."""

NCCL_TESTS = ("all_reduce", "all_gather", "reduce_scatter", "broadcast", "reduce")
"""The programs of nccl-tests that run one of these collectives alone, without their ``_perf``."""


class Choice(NamedTuple):
    """A value of NCCL_ALGO or NCCL_PROTO, taken apart."""

    everywhere: frozenset[str] | None
    """What a list without a collective allows; None without such a list."""
    single: Mapping[str, frozenset[str]]
    """Collective -> what its own list allows."""
    unknown: tuple[str, ...]
    """Words that NCCL does not know."""

    def lists(self) -> Iterator[frozenset[str]]:
        """Yield every list's content."""
        if self.everywhere is not None:
            yield self.everywhere
        yield from self.single.values()


def parse_choice(value: str, words: tuple[str, ...]) -> Choice:
    """Return what ``ring,tree;allreduce:^tree`` allows.

    Args:
        value: Of the variable.
        words: All algorithms or protocols, in lower case.
    """
    everywhere, single, unknown = None, {}, []
    for number, part in enumerate(value.lower().split(";")):
        collective, colon, listed = part.rpartition(":")
        named = [word for word in listed.lstrip("^").split(",") if word]
        unknown += [word for word in named if word not in words]
        allowed = frozenset(words) - set(named) if listed.startswith("^") else frozenset(named)
        if colon and collective not in SUPPORTED:
            unknown.append(collective)
        elif colon:
            single[collective] = allowed
        elif number == 0:
            everywhere = allowed
    return Choice(everywhere, single, tuple(unknown))


def check_algorithms(case: Case) -> Iterator[Doubt]:
    """Yield choices that break collectives, or that make LL128 unsafe."""
    for setting, _variable, value in case.known():
        if setting.name in ("NCCL_ALGO", "NCCL_PROTO") and re.search(r"[:;]", value) and _is_before_lists(case):
            yield _one_list(case, setting)
        elif setting.name == "NCCL_ALGO" and value:
            yield from _algorithms(case, setting, parse_choice(value, ALGOS))
        elif setting.name == "NCCL_PROTO" and value:
            yield from _protocols(setting, parse_choice(value, PROTOS))


def _is_before_lists(case: Case) -> bool:
    """Return whether the given NCCL takes one list for all collectives, with Ring for those that it leaves out."""
    version = release(case.version)
    return len(version) > 1 and version < PER_COLLECTIVE


def _one_list(case: Case, setting: Setting) -> Doubt:
    since = ".".join(map(str, PER_COLLECTIVE))
    message = (
        f"{setting.name}={setting.value}: NCCL {case.version} takes one list for all; collectives came with {since}"
    )
    words = ALGOS if setting.name == "NCCL_ALGO" else PROTOS
    return Doubt(setting.line, Severity.ERROR, "value-invalid", message, f"write words of {', '.join(words)} alone")


def _algorithms(case: Case, setting: Setting, choice: Choice) -> Iterator[Doubt]:
    if choice.unknown:
        yield _unknown(setting, choice, ALGOS)
        return
    if choice.everywhere is None or _is_before_lists(case):
        return
    needed = _needed(case) - set(choice.single)
    broken = [one for one, able in SUPPORTED.items() if one in needed and not able & choice.everywhere]
    if broken:
        certain = release(case.version) >= PER_COLLECTIVE
        message = f"NCCL_ALGO={setting.value} leaves {', '.join(broken)} without an algorithm"
        reason = "they fail, as Ring is no fallback from NCCL 2.24 on" if not certain else "they fail"
        yield Doubt(
            setting.line,
            Severity.ERROR if certain else Severity.WARNING,
            "algo-without-collective",
            f"{message}: {reason}",
            f"name the collective, as in NCCL_ALGO={_for_allreduce(choice.everywhere)}",
        )


def _needed(case: Case) -> frozenset[str]:
    """Return the collectives that a script may run: all, unless it starts nccl-tests and nothing else."""
    tests = {f"{name}_perf": name.replace("_", "") for name in NCCL_TESTS}
    programs = case.script.programs
    return frozenset(tests[one] for one in programs) if programs and programs <= set(tests) else frozenset(SUPPORTED)


def _for_allreduce(words: frozenset[str]) -> str:
    able = [word for word in ALGOS if word in words & SUPPORTED["allreduce"]]
    return f"allreduce:{','.join(able)}" if able else f"allgather:{','.join(sorted(words))}"


def _protocols(setting: Setting, choice: Choice) -> Iterator[Doubt]:
    if choice.unknown:
        yield _unknown(setting, choice, PROTOS)
    elif any("ll128" in allowed for allowed in choice.lists()):
        yield Doubt(
            setting.line,
            Severity.WARNING,
            "ll128-forced",
            f"NCCL_PROTO={setting.value} allows LL128 without NCCL's own check that it is safe on this machine; where "
            "it is not, data are corrupted silently",
            "leave NCCL_PROTO unset, or exclude LL128 with it; a tuner table can choose LL128 where NCCL allows it",
        )


def _unknown(setting: Setting, choice: Choice, words: tuple[str, ...]) -> Doubt:
    message = f"{setting.name}={setting.value}: NCCL does not know {', '.join(choice.unknown)}"
    hint = f"write {', '.join(words)}, or per collective as in allreduce:{words[0]}"
    return Doubt(setting.line, Severity.ERROR, "value-invalid", message, hint)
