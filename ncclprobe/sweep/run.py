"""The loop: launch, journal each sample as it comes, judge, until the race has nothing left to measure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from ncclprobe.backends.base import Backend
from ncclprobe.errors import HostsGoneError, LaunchError, RunDirectoryError
from ncclprobe.records.base import Record
from ncclprobe.records.sweep import Environment, Launch, LaunchBroken, LaunchEnd, Measurement, Status
from ncclprobe.store import RunDirectory, read_journal
from ncclprobe.sweep.axes import measure_by_environment
from ncclprobe.sweep.race import Race

LINES: dict[str, type[Record]] = {
    "launch": Launch,
    "measurement": Measurement,
    "launch-broken": LaunchBroken,
    "launch-end": LaunchEnd,
}
"""Kind -> record of the journal's lines."""

BARREN_LAUNCHES = 3
"""Launches in a row without a single sample, after which the sweep gives up."""
BROKEN_LAUNCHES = 8
"""Launches whose ranks died between two samples, after which it gives up as well."""

Progress = Callable[[Launch, Iterator[Measurement]], Iterator[Measurement]]
"""Shows how a launch goes while its measurements pass through."""


def run_race(race: Race, backend: Backend, directory: RunDirectory, progress: Progress) -> None:
    """Run what is left of a race; whatever is measured is in the journal before it is judged.

    Raises:
        HostsGoneError: Hosts don't answer.
        LaunchError: Ranks cannot be started at all, or die again and again.
        RunDirectoryError: The journal cannot be written, or was written by another plan.
    """
    replay(race, directory)
    barren, broken, before = 0, 0, race.evidence.samples
    while (launch := race.next_launch()) is not None:
        samples = race.evidence.samples
        try:
            fruitful = _run_launch(launch, race, backend, directory, progress)
        except LaunchError as problem:
            broken, fruitful = broken + 1, race.evidence.samples > samples
            if isinstance(problem, HostsGoneError) or race.evidence.samples == before or broken == BROKEN_LAUNCHES:
                raise
            race.broke(_journalled(LaunchBroken(launch=launch.index, message=str(problem)), directory))
        barren = 0 if fruitful else barren + 1
        if barren == BARREN_LAUNCHES:
            last = f", the last because {race.evidence.deaths[-1]}" if race.evidence.deaths else ""
            raise LaunchError(f"{barren} launches in a row gave no sample{last}; see the journal in {directory.path}")


def _journalled(line: LaunchBroken, directory: RunDirectory) -> LaunchBroken:
    directory.append(line, "launch-broken")
    return line


def replay(race: Race, directory: RunDirectory) -> None:
    """Feed a race what an earlier process measured.

    Raises:
        RunDirectoryError: The journal belongs to another plan.
    """
    for line in read_journal(directory.path, LINES):
        if isinstance(line, Launch):
            if race.next_launch() != line:
                raise RunDirectoryError(f"{directory.path} was measured by another plan or version; start a new run")
            race.begin(line)
        elif isinstance(line, Measurement):
            race.add(line)
        elif isinstance(line, LaunchBroken):
            race.broke(line)
        elif isinstance(line, LaunchEnd):
            race.end(line)


class Starts:
    """How long ranks took to start: before the first sample of each environment in a round."""

    def __init__(self, began: float) -> None:
        self._heard, self._starts = began, 0.0
        self._env: Environment | None = None

    def hear(self, measurement: Measurement) -> None:
        """Note that a measurement came just now."""
        now = time.monotonic()
        env = next((cell.env for cell in measurement.cells), self._env)
        if env != self._env:
            self._starts += now - self._heard
        self._heard, self._env = now, env

    def seconds(self, ended: float) -> float:
        """Return the sum; all of a launch without a sample."""
        return self._starts if self._env is not None else ended - self._heard


def _run_launch(launch: Launch, race: Race, backend: Backend, directory: RunDirectory, progress: Progress) -> bool:
    """Run one launch and return whether it gave a sample."""
    directory.append(launch, "launch")
    race.begin(launch)
    began, fruitful = time.monotonic(), False
    starts = Starts(began)
    for measurement in progress(launch, measure_by_environment(launch, backend.measure)):
        starts.hear(measurement)
        directory.append(measurement, "measurement")
        race.add(measurement)
        fruitful |= any(status is not Status.TIMEOUT for status in measurement.statuses)
    ended = time.monotonic()
    end = LaunchEnd(launch=launch.index, seconds=ended - began, start_s=starts.seconds(ended))
    directory.append(end, "launch-end")
    race.end(end)
    return fruitful
