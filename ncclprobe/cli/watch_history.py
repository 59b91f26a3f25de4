"""What a watch's earlier checks say together: the statistics of ``nodes --history``, on whatever was repeated."""

from __future__ import annotations

import dataclasses
import pathlib
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from ncclprobe.bandwidth import busbw
from ncclprobe.cli.nodes_history import past_run, swept_hosts
from ncclprobe.errors import ProbeError
from ncclprobe.findings import Finding, info, warning
from ncclprobe.names import Collective
from ncclprobe.nodes.history import PastRun, change_findings, changes, ordered
from ncclprobe.nodes.level import LEAST_VALUES, level_findings
from ncclprobe.nodes.readings import readings
from ncclprobe.records.nodes import GroupValue
from ncclprobe.records.sweep import Measurement, Point, Status, SweepDocument, Verdict
from ncclprobe.records.watch import Check, CheckStatus
from ncclprobe.store import read_document, read_journal, read_manifest
from ncclprobe.units import Bytes, Seconds, format_size

MOST_RUNS = 100
"""The newest of a history that are compared; older ones are kept, and `nodes --history` reads all."""


class History:
    """Reads each check's run once, and compares them all."""

    def __init__(self, folder: pathlib.Path, threshold: float) -> None:
        self._folder, self._threshold = folder, threshold
        self._read: dict[str, PastRun] = {}
        self._choices: dict[str, Verdict] = {}

    def changes(self, checks: Iterable[Check]) -> tuple[Finding, ...]:
        """Return what changed from check to check: nodes, the level of all, the choice."""
        good = [check for check in checks if check.status is CheckStatus.DONE][-MOST_RUNS:]
        for check in good:
            self._add(check)
        self._read = {check.path: self._read[check.path] for check in good}
        runs = ordered(self._read[check.path] for check in good)
        found = changes(runs, self._threshold) if len(runs) > 1 else ()
        return (
            *change_findings(runs, found),
            *level_findings(runs, self._threshold),
            *_choice_findings([(check, self._choices[check.path]) for check in good if check.path in self._choices]),
        )

    def _add(self, check: Check) -> None:
        if check.path in self._read:
            return
        path = self._folder / check.path
        try:
            run, choice = _past(path)
        except ProbeError:  # someone removed or damaged it; the others still count
            run, choice = PastRun(time=check.started, source=str(path), values=()), None
        self._read[check.path] = dataclasses.replace(run, readings=tuple(readings(run.values)))
        if choice is not None:
            self._choices[check.path] = choice


def _past(path: pathlib.Path) -> tuple[PastRun, Verdict | None]:
    manifest = read_manifest(path)
    if manifest.command != "sweep":
        return past_run(path), None
    document = read_document(path, [SweepDocument])
    assert isinstance(document, SweepDocument)  # noqa: S101 - read_document returns one of the types it was given
    hosts = swept_hosts(path, manifest) or (manifest.host,)
    values = tuple(_defaults(path, hosts, document.nranks))
    return PastRun(time=manifest.created, source=str(path), values=values), document.choice.verdict


def _defaults(path: pathlib.Path, hosts: tuple[str, ...], nranks: int) -> Iterator[GroupValue]:
    """Yield the default's bus bandwidth in each launch, a unit a size: launches show how much fresh starts differ.

    A sweep that was clear after fewer launches than can be compared gives each of its samples.
    """
    for point, launches in _default_times(path).items():
        unit = f"default {point.collective} {point.dtype} of {format_size(Bytes(point.size_bytes))}, GB/s"
        medians = [(launch, statistics.median(times)) for launch, times in launches.items()]
        single = [(launch, time_us) for launch, times in launches.items() for time_us in times]
        for launch, time_us in medians if len(medians) >= LEAST_VALUES else single:
            value = busbw(Collective(point.collective), Bytes(point.size_bytes), Seconds(time_us / 1e6), nranks)
            yield GroupValue(nodes=hosts, value=value, unit=unit, round=launch)


def _default_times(path: pathlib.Path) -> dict[Point, dict[int, list[float]]]:
    """Return the times of the default's good samples in µs, by point and launch."""
    times: dict[Point, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for line in read_journal(path, {"measurement": Measurement}):
        if isinstance(line, Measurement) and not line.warmup:
            for cell, time_us, status in zip(line.cells, line.times_us, line.statuses, strict=True):
                if cell.is_default and status is Status.OK and time_us:
                    times[line.point][line.launch].append(time_us)
    return times


def _choice_findings(choices: Sequence[tuple[Check, Verdict]]) -> Iterator[Finding]:
    """Yield where the last sweep's answer is another than that of the one before."""
    if len(choices) < 2 or choices[-1][1] is choices[-2][1]:
        return
    (_, before), (check, after) = choices[-2:]
    worse = after is Verdict.CHANGE
    yield (warning if worse else info)(
        "choice-changed",
        check.started,
        f"the sweep's answer was {before} and is {after}",
        "see both runs with `ncclprobe report RUN RUN`; a longer sweep says whether it stays so",
    )
