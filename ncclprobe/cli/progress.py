"""Progress for people: a bar on a terminal, elsewhere a plain line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from tqdm import tqdm

from ncclprobe.cli.output import note
from ncclprobe.records.sweep import Launch, Measurement
from ncclprobe.units import format_size

LINE_EVERY_S = 10.0


class LaunchProgress:
    """Shows how a launch goes while its measurements pass through."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def __call__(self, launch: Launch, measurements: Iterator[Measurement]) -> Iterator[Measurement]:
        """Yield the measurements as they come."""
        return self._bar(launch, measurements) if sys.stderr.isatty() else self._lines(launch, measurements)

    def _bar(self, launch: Launch, measurements: Iterator[Measurement]) -> Iterator[Measurement]:
        samples = sum(block.repeat * len(block.cells) for block in launch.blocks)
        with tqdm(total=samples, desc=_what(launch), unit="sample", leave=False) as bar:
            for measurement in measurements:
                if not measurement.warmup:
                    bar.set_postfix_str(format_size(measurement.point.size_bytes), refresh=False)
                    bar.update(len(measurement.cells))
                yield measurement

    def _lines(self, launch: Launch, measurements: Iterator[Measurement]) -> Iterator[Measurement]:
        if time.monotonic() - self._said > LINE_EVERY_S:
            self._said = time.monotonic()
            note(_what(launch))
        yield from measurements


def _what(launch: Launch) -> str:
    cells = {cell for block in launch.blocks for cell in block.cells if not cell.is_default}
    return f"launch {launch.index + 1}, {launch.stage}: {len(cells)} cells at {len(launch.blocks)} sizes"
