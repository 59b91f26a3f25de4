"""Progress for people: a bar that says what is measured and what is left; without a terminal, a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from tqdm import tqdm

from ncclprobe.cli.output import detail, note
from ncclprobe.cli.verbosity import Verbosity, verbosity
from ncclprobe.records.sweep import Launch, Measurement
from ncclprobe.units import format_seconds, format_size

LINE_EVERY_S = 10.0
BAR = "{desc} {percentage:3.0f}%|{bar}| {remaining} left{postfix}"
"""tqdm fits its bar between the words, whatever the terminal's width."""


class LaunchProgress:
    """Shows how a launch goes while its measurements pass through."""

    def __init__(self, budget_s: float | None = None) -> None:
        self._began = self._said = time.monotonic()
        self._budget_s = budget_s

    def __call__(self, launch: Launch, measurements: Iterator[Measurement]) -> Iterator[Measurement]:
        """Yield the measurements as they come."""
        level = verbosity()
        detail(_what(launch))
        if level is Verbosity.QUIET:
            return measurements
        is_bar = sys.stderr.isatty() and level is Verbosity.NORMAL
        return self._bar(launch, measurements) if is_bar else self._lines(launch, measurements)

    def _bar(self, launch: Launch, measurements: Iterator[Measurement]) -> Iterator[Measurement]:
        samples = sum(block.repeat * len(block.cells) for block in launch.blocks)
        what = _what(launch)
        with tqdm(total=samples, desc=what, bar_format=BAR, dynamic_ncols=True, leave=False) as bar:
            bar.set_postfix_str(self._left(), refresh=False)
            for measurement in measurements:
                if not measurement.warmup:
                    bar.set_description_str(f"{what}, {format_size(measurement.point.size_bytes)}", refresh=False)
                    bar.set_postfix_str(self._left(), refresh=False)
                    bar.update(len(measurement.cells))
                yield measurement

    def _left(self) -> str:
        """Return what is left of the budget for all launches, empty without one."""
        if self._budget_s is None:
            return ""
        left = max(0.0, self._budget_s - (time.monotonic() - self._began))
        return f"budget {format_seconds(round(left)) if left >= 1 else 'spent'}"

    def _lines(self, launch: Launch, measurements: Iterator[Measurement]) -> Iterator[Measurement]:
        if time.monotonic() - self._said > LINE_EVERY_S and verbosity() is Verbosity.NORMAL:
            self._said = time.monotonic()
            note(", ".join(part for part in (_what(launch), self._left()) if part))
        yield from measurements


def _what(launch: Launch) -> str:
    cells = {cell for block in launch.blocks for cell in block.cells if not cell.is_default}
    sizes = len(launch.blocks)
    counted = f"{len(cells)} cell{'s' * (len(cells) != 1)}, {sizes} size{'s' * (sizes != 1)}"
    return f"{launch.stage} {launch.index + 1}: {counted}"
