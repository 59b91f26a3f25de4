"""The workload ``command``: any command, and a regular expression for its metric."""

from __future__ import annotations

import collections
import math
import os
import pathlib
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ncclprobe.decoding import LARGEST, SMALLEST
from ncclprobe.e2e.results import CHECKSUM
from ncclprobe.e2e.workload import Limit, Outcome, Surroundings
from ncclprobe.errors import MissingDependencyError, UsageError
from ncclprobe.findings import Finding
from ncclprobe.processes import Process, TimedOut, kill_group, start
from ncclprobe.reading import log_end
from ncclprobe.records.e2e import ArmSettings, E2eOptions, Trial
from ncclprobe.store import relevant_environment

LAST_LINES = 5
"""Of a failed command's output; the rest is in its log."""

AROUND = 30
"""Characters before and after a metric in which the rest of its number is looked for."""

_THOUSANDS = re.compile(r"\d{1,3}(,\d{3})+\.\d+")
_BEFORE = re.compile(r"[\d.,]*\d\.?$")
_AFTER = re.compile(r"(\.?\d|[eE][+-]?\d)[\d.,]*([eE][+-]?\d+)?")
_AFTER_COMMA = re.compile(r"(,\d{3})+(?![\d,])(\.\d+)?|,\d+(?![\d,])")
"""Thousands, or a decimal comma; more of them separate fields."""


class CommandWorkload:
    """Runs the command as tokens; no shell is involved."""

    opening = ""

    def __init__(self, options: E2eOptions, _surroundings: Surroundings) -> None:
        self.command = options.command
        self.pattern = metric_pattern(options.metric)
        self.metric = metric_name(self.pattern)
        self.compared = sorted({name for arm in options.arms.values() for name in arm.env})
        if not self.command:
            raise UsageError("the workload 'command' needs a command; write it after the options and --")

    def run(self, arm: ArmSettings, log: pathlib.Path, limit: Limit, started: Callable[[int], None]) -> Outcome:
        """Run the command once, and read its metric."""
        environment = {**os.environ, **arm.env}
        compared = {name: environment.get(name) for name in self.compared}
        effective = {"env": {**relevant_environment(environment), **compared}}
        status = ended(self.command, environment, log, limit.seconds, started)
        output = log_end(log)
        if status is None:
            return _failed(limit.said, output, effective)
        if status != 0:
            return _failed(f"exit status {status}" if status > 0 else f"ended by signal {-status}", output, effective)
        try:
            return _measured(metric_values(self.pattern, output), effective)
        except ValueError as problem:
            return _failed(str(problem), output, effective)

    def checks(self) -> tuple[Finding, ...]:
        """Return nothing: a command's own options are not ours to judge."""
        return ()

    def doubts(self, _trials: Sequence[Trial]) -> tuple[Finding, ...]:
        """Return nothing: what a command ran with is its own."""
        return ()


def refuse_absent(command: Sequence[str], arms: Iterable[ArmSettings], inherited: Mapping[str, str]) -> None:
    """Return if every arm finds the command's program, so that no run begins that could never go on.

    Args:
        command: Its tokens.
        arms: Each may set a PATH of its own.
        inherited: The environment that the arms add to.

    Raises:
        MissingDependencyError: An arm finds none, or one that may not be executed.
    """
    for arm in arms:
        if shutil.which(command[0], path={**inherited, **arm.env}.get("PATH")) is None:
            where = "no file that may be executed" if os.sep in command[0] else "not installed or not on PATH"
            raise MissingDependencyError(f"{command[0]!r} is {where}; nothing was run and nothing kept")


def _measured(values: Mapping[str, float], effective: dict[str, Any]) -> Outcome:
    wild = CHECKSUM in values and not abs(values[CHECKSUM]) <= LARGEST  # nan is not <= anything
    metrics = {name: value for name, value in values.items() if not (wild and name == CHECKSUM)}
    return Outcome(metrics=metrics, effective=effective, wild_checksum=wild)


def _failed(why: str, output: str, effective: dict[str, Any]) -> Outcome:
    return Outcome(metrics={}, effective=effective, message="\n".join([why, *last_lines(output)]))


def ended(
    command: Sequence[str],
    environment: dict[str, str],
    log: pathlib.Path,
    timeout_s: float,
    started: Callable[[int], None],
) -> int | None:
    """Return a command's exit status, None where it took too long; no process of its group outlives it."""
    with log.open("wb") as file:
        process = start(command, env=environment, stdout=file.fileno(), stderr=file.fileno())
        try:
            started(process.pid)
            return _waited(process, timeout_s)
        finally:
            kill_group(process)
            process.wait()


def _waited(process: Process[bytes], timeout_s: float) -> int | None:
    try:
        return process.wait(timeout_s)
    except TimedOut:
        return None


def metric_pattern(text: str) -> re.Pattern[str]:
    """Return the compiled regular expression of a metric.

    Raises:
        UsageError: It is none, or has no group.
    """
    if not text:
        raise UsageError("the workload 'command' needs a --metric, such as --metric 'tok/s: ([0-9.]+)'")
    try:
        pattern = re.compile(text, re.MULTILINE)
    except re.error as problem:
        raise UsageError(f"--metric {text!r} is no regular expression: {problem}") from problem
    if not pattern.groups:
        raise UsageError(f"--metric {text!r} has no group; put the number in brackets, such as 'tok/s: ([0-9.]+)'")
    return pattern


def metric_name(pattern: re.Pattern[str]) -> str:
    """Return the first group's name, the whole expression where it has none."""
    return next((name for name, number in pattern.groupindex.items() if number == 1), pattern.pattern)


def metric_values(pattern: re.Pattern[str], output: str) -> dict[str, float]:
    """Return the first group of the last match as a number, and that of a group named ``checksum``.

    Raises:
        ValueError: There is no match, the metric is no positive number that programs measure or only a part of one,
            or the checksum no number; the message is for people.
    """
    matches = collections.deque(pattern.finditer(output), maxlen=1)
    if not matches:
        raise ValueError(f"the output has no match of '{pattern.pattern}'")
    value = _number("metric", matches[0][1])
    if (whole := _whole(matches[0])) != matches[0][1]:
        raise ValueError(
            f"the metric {matches[0][1]!r} is only a part of {whole!r}; let the expression's first group take in the "
            "whole number, such as ([0-9.,e+-]+), or say what follows it"
        )
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"the metric {matches[0][1]!r} is not a positive, finite number")
    if not SMALLEST <= value <= LARGEST:
        raise ValueError(f"the metric {matches[0][1]!r} is beyond what is measured, {SMALLEST:g} to {LARGEST:g}")
    found = {metric_name(pattern): value}
    return found | {CHECKSUM: _number(CHECKSUM, matches[0][CHECKSUM])} if CHECKSUM in pattern.groupindex else found


def _whole(match: re.Match[str]) -> str:
    """Return the number that the first group is in; after a comma it goes on only if the expression says no more."""
    start, end = match.span(1)
    before, after = match.string[max(0, start - AROUND) : start], match.string[end : end + AROUND]
    head, tail = _BEFORE.search(before), _AFTER.match(after)
    if tail is None and match.end() == end and match[1].isdecimal() and not before.endswith(","):
        tail = _AFTER_COMMA.match(after)
    return (head[0] if head else "") + match[1] + (tail[0] if tail else "")


def _number(what: str, text: str | None) -> float:
    """Return a number; with separators of thousands only beside a decimal point, as 1,234 may be 1.234 elsewhere."""
    text = text or ""
    try:
        return float(text.replace(",", "") if _THOUSANDS.fullmatch(text) else text)
    except ValueError:
        raise ValueError(f"the {what} {text!r} is no number") from None


def last_lines(output: str) -> list[str]:
    """Return the last lines that say something."""
    return [line.rstrip()[:200] for line in output.splitlines() if line.strip()][-LAST_LINES:]
