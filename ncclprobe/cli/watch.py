"""``ncclprobe watch``: repeat a short check on a schedule, keep history, and notice a change."""

from __future__ import annotations

import collections
import contextlib
import functools
import itertools
import os
import pathlib
import shlex
import time
from collections.abc import Iterator

import click

from ncclprobe.cli.numbers import Number
from ncclprobe.cli.output import detail, drawn_seed, finish, note, shared_options
from ncclprobe.cli.report import note_uncollected, read_run
from ncclprobe.cli.watch_check import CHECKS, checked
from ncclprobe.cli.watch_history import History
from ncclprobe.errors import ProbeError, UsageError
from ncclprobe.findings import Finding, error, warning
from ncclprobe.records.base import Document
from ncclprobe.records.watch import Check, CheckStatus, WatchDocument
from ncclprobe.report.prometheus import prometheus_text
from ncclprobe.report.text.watch import check_line, watch_text
from ncclprobe.store import (
    MANIFEST,
    Manifest,
    RunDirectory,
    command_line,
    read_journal,
    relevant_environment,
    write_whole,
)
from ncclprobe.units import parse_seconds

NAME = "watch"
DEFAULT_CHECK = ("sweep", "--sizes", "8,4K,256K,8M", "--budget", "30")
FOLDER = pathlib.Path("ncclprobe-runs") / NAME
JOURNALLED = "check"


def _duration(_context: click.Context, _option: click.Parameter, text: str) -> float:
    return parse_seconds(text)


@click.command(NAME, context_settings={"ignore_unknown_options": False})
@click.argument("tokens", metavar="[-- COMMAND [OPTIONS]...]", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--every", callback=_duration, default="1h", show_default=True, metavar="TIME",
    help="From one check's start to the next: 90s, 15m, 1h, 1d.",
)  # fmt: skip
@click.option("--count", type=click.IntRange(1), help="Checks to run  [default: until it is interrupted]")
@click.option(
    "--timeout", callback=_duration, default="30m", show_default=True, metavar="TIME",
    help="A check that takes longer is ended and counts as failed.",
)  # fmt: skip
@click.option(
    "--threshold", type=Number(0.005, 0.5), default=0.05, show_default=True,
    help="The smallest change of interest.",
)  # fmt: skip
@click.option(
    "--prometheus", type=click.Path(dir_okay=False, path_type=pathlib.Path), metavar="FILE",
    help="Write metrics after each check, for node_exporter's textfile collector.",
)  # fmt: skip
@functools.partial(shared_options, out_help=f"Where the history is kept, and gone on with  [default: {FOLDER}]")
def command(
    tokens: tuple[str, ...],
    every: float,
    count: int | None,
    timeout: float,
    threshold: float,
    prometheus: pathlib.Path | None,
    out: pathlib.Path | None,
    seed: int | None,
    *,
    as_json: bool,
) -> int:
    """Repeat COMMAND (scan, sweep, nodes or validate-e2e) on a schedule, and say when its answer changes.

    Without COMMAND it is a short sweep. Each check is a run directory below --out, which a later watch goes on with; a
    check that fails is counted, and the next one runs all the same.

    \b
    ncclprobe watch --every 1h --prometheus /var/lib/prometheus/node-exporter/ncclprobe.prom
    ncclprobe watch --every 6h --out history -- nodes --hosts 'dgx[001-016]' --launcher srun
    ncclprobe watch --every 10s --count 3 -- nodes --fabric fabric.toml
    """  # noqa: D301 (click reads the backspace)
    tokens = tokens or DEFAULT_CHECK
    if tokens[0] not in CHECKS:
        raise UsageError(f"{tokens[0]!r} is no check; repeat one of {', '.join(CHECKS)} after --")
    if prometheus is not None and not prometheus.absolute().parent.is_dir():
        raise UsageError(f"--prometheus {prometheus}: there is no such folder; make it, or name another file")
    if prometheus is not None:
        note_uncollected(prometheus)
    path, drawn = out or FOLDER, drawn_seed(seed)
    with _opened(path, drawn) as directory:
        watch = Watch(directory, tokens, every, threshold, prometheus)
        for number in _schedule(every, count):
            watch.check(drawn + number, timeout, is_first=number == 0)
        document = watch.document
    return finish(document, lambda: watch_text(document, str(path)), as_json=as_json, path=str(path))


def _opened(path: pathlib.Path, seed: int) -> RunDirectory:
    """Return the directory of an earlier watch to go on with, or a new one."""
    if (path / MANIFEST).exists():
        return RunDirectory.resume(path, NAME)
    environment = relevant_environment(dict(os.environ))
    return RunDirectory.create(path, Manifest(command=NAME, argv=command_line(), seed=seed, environment=environment))


def _schedule(every_s: float, count: int | None) -> Iterator[int]:
    """Yield a number at each time of the schedule; times that pass during a check are left out."""
    began = time.monotonic()
    for number in itertools.count() if count is None else range(count):
        yield number
        if number + 1 != count:
            time.sleep(every_s - (time.monotonic() - began) % every_s)


class Watch:
    """A schedule's checks, and what is known after each of them."""

    def __init__(
        self,
        directory: RunDirectory,
        tokens: tuple[str, ...],
        every_s: float,
        threshold: float,
        prometheus: pathlib.Path | None,
    ) -> None:
        self._directory, self._tokens, self._every_s = directory, tokens, every_s
        self._prometheus = prometheus
        self._history = History(directory.path, threshold)
        lines = read_journal(directory.path, {JOURNALLED: Check})
        self._checks = [line for line in lines if isinstance(line, Check)]
        self._changes = self._history.changes(self._checks)
        self.document = self._document()

    def check(self, seed: int, timeout_s: float, *, is_first: bool) -> None:
        """Run one check, keep what became of it, and say what changed; what goes wrong in it later ends no watch.

        Args:
            seed: Of the check.
            timeout_s: After which it is ended.
            is_first: Whether this watch has run none before it.

        Raises:
            UsageError: The first check refused its options, as every other would; a new history doesn't count it.
        """
        detail(f"check {len(self._checks) + 1}: ncclprobe {shlex.join(self._tokens)}")
        check = checked(self._tokens, self._directory.path, len(self._checks) + 1, seed, timeout_s)
        is_refused = is_first and check.exit_status == UsageError.exit_status
        if self._checks or not is_refused:
            self._keep(check)
        if is_refused:
            raise UsageError(check.message)

    def _keep(self, check: Check) -> None:
        self._directory.append(check, JOURNALLED)
        self._checks.append(check)
        known, self._changes = _keyed(self._changes), self._history.changes(self._checks)
        self.document = self._document()
        self._directory.finish(self.document)
        note(check_line(check))
        for key, finding in _keyed(self._changes).items():
            if key not in known:
                note(f"{finding.severity} {finding.code} ({finding.subject}): {finding.message}")
        self._export()

    def _export(self) -> None:
        if self._prometheus is None:
            return
        try:
            write_whole(self._prometheus, prometheus_text([*self._last(), self.document]))
        except ProbeError as problem:  # a full disk now is no reason to miss the next check
            note(f"Error: {problem}")

    def _last(self) -> list[Document]:
        """Return the last good check's document, nothing before there is one."""
        for check in reversed(self._checks):
            if check.status is CheckStatus.DONE:
                with contextlib.suppress(ProbeError):
                    return [read_run(self._directory.path / check.path).document]
        return []

    def _document(self) -> WatchDocument:
        found = [finding for document in self._last() for finding in document.findings]
        return WatchDocument(
            findings=tuple(dict.fromkeys((*found, *self._changes, *_failures(self._checks)))),
            check=self._tokens[0],
            arguments=self._tokens[1:],
            every_s=self._every_s,
            checks=tuple(self._checks),
        )


def _keyed(findings: tuple[Finding, ...]) -> dict[tuple[str, str, int], Finding]:
    """Return findings by code, subject and number: what they say in words changes with each further check."""
    numbers: collections.Counter[tuple[str, str]] = collections.Counter()
    keyed = {}
    for finding in findings:
        kind = (finding.code, finding.subject)
        numbers[kind] += 1
        keyed[*kind, numbers[kind]] = finding
    return keyed


def _failures(checks: list[Check]) -> Iterator[Finding]:
    """Yield how many checks failed: an error where the last one did."""
    failed = [check for check in checks if check.status is CheckStatus.FAILED]
    if failed:
        is_last = failed[-1] is checks[-1]
        yield (error if is_last else warning)(
            "check-failed",
            failed[-1].started,
            f"{len(failed)} of {len(checks)} checks failed, the last of them with: {failed[-1].message}",
            "run the check once by hand; the schedule went on",
        )
