"""Does a sweep's table gain what the sweep says, when it is applied in fresh launches as a job would apply it?

    python scripts/nccl_table_applied.py RUN --out DIR [--launches 4]

RUN is a sweep of the backend `nccl`. Its table is emitted to DIR/table.csv; then launches without it and launches whose
NCCLPROBE_TUNER_TABLE names it take turns, each of them fresh processes that run NCCL's own choice at every swept size.
For each size with a row, the gain from launch to launch (95 % t interval over pairs of launches) stands beside what the
sweep said, and NCCL's log must name the row's algorithm and protocol. The figures go to DIR/applied.json.
"""

from __future__ import annotations

import argparse
import math
import pathlib
import statistics
import sys

import msgspec
from nccl_fidelity import shot
from tabulate import tabulate

from ncclprobe.backends.base import GpuOptions
from ncclprobe.records.base import Record
from ncclprobe.records.sweep import SweepDocument
from ncclprobe.stats import t_quantile
from ncclprobe.sweep.plan import SweepOptions
from ncclprobe.tuner.table import sweep_rows, table_text
from ncclprobe.units import format_size


class Applied(Record, frozen=True, kw_only=True):
    """What a row of the table gained."""

    size_bytes: int
    """Message size."""
    wanted: str
    """The row's setting."""
    ran: str
    """What NCCL's log names, in the launches with the table."""
    said: tuple[float, float, float]
    """The sweep's ratio, and its interval."""
    seen: tuple[float, float, float]
    """The ratio in fresh launches, and its 95 % interval."""
    each: tuple[float, ...]
    """Of each pair of launches."""

    @property
    def agrees(self) -> bool:
        """Return whether the row was in force and the intervals overlap."""
        return self.wanted == self.ran and self.said[1] <= self.seen[2] and self.seen[1] <= self.said[2]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--launches", type=int, default=4)
    options = parser.parse_args()
    document = msgspec.json.decode((options.run / "document.json").read_bytes(), type=SweepDocument)
    options.out.mkdir(parents=True, exist_ok=True)
    table = options.out / "table.csv"
    table.write_text(table_text(sweep_rows(document)))
    rows = applied(document, table.absolute(), options.launches, swept_options(options.run))
    (options.out / "applied.json").write_bytes(msgspec.json.format(msgspec.json.encode(rows)))
    print(tabulate([shown(row) for row in rows], ("size", "row", "ran", "sweep", "applied again", "")))
    print(f"{sum(row.agrees for row in rows)} of {len(rows)} rows in force, with intervals that overlap")
    return 0 if rows and all(row.agrees for row in rows) else 1


def swept_options(run: pathlib.Path) -> SweepOptions:
    manifest = msgspec.json.decode((run / "manifest.json").read_bytes())
    return msgspec.convert(manifest["options"], SweepOptions)


def applied(document: SweepDocument, table: pathlib.Path, launches: int, swept: SweepOptions) -> list[Applied]:
    """Measure with and without the table in turn, the first of the two changing."""
    sizes = sorted({cell.size_bytes for cell in document.cells})
    dtype, gpu = document.cells[0].dtype, GpuOptions(mode=swept.mode, in_place=swept.in_place, memory=swept.memory)
    gains: dict[int, list[float]] = {size: [] for size in sizes}
    ran: dict[int, str] = {}
    for pair in range(launches):
        medians = {}
        for with_table in (False, True) if pair % 2 == 0 else (True, False):
            env = (("NCCLPROBE_TUNER_TABLE", str(table)),) if with_table else ()
            found = shot(document.nranks, sizes, dtype, (), gpu, index=pair, env=env)
            medians[with_table] = {size: statistics.median(found.times[size, cell]) for size, cell in found.times}
            if with_table:
                ran |= {size: f"{cell.algo}/{cell.proto}" for size, cell in found.ran.items()}
        for size in sizes:
            gains[size].append(medians[False][size] / medians[True][size])
    return [
        Applied(
            size_bytes=cell.size_bytes, wanted=f"{row.algo}/{row.proto}", ran=ran.get(cell.size_bytes, "?"),
            said=(cell.vs_default.ratio, cell.vs_default.low, cell.vs_default.high),
            seen=interval(gains[cell.size_bytes]), each=tuple(gains[cell.size_bytes]),
        )
        for row in document.choice.table
        for cell in document.cells
        if (cell.algo, cell.proto, cell.nchannels) == (row.algo, row.proto, row.nchannels)
        and row.min_bytes <= cell.size_bytes <= row.max_bytes and cell.vs_default is not None
    ]  # fmt: skip


def interval(ratios: list[float]) -> tuple[float, float, float]:
    """Return the geometric mean of independent ratios with its 95 % interval (Student's t on their logarithms)."""
    logs = [math.log(ratio) for ratio in ratios]
    mean, half = statistics.fmean(logs), math.inf
    if len(logs) > 1:
        half = float(t_quantile(0.975, len(logs) - 1)) * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def shown(row: Applied) -> tuple[str, ...]:
    said, seen = (f"{ratio:.3f} ({low:.3f} to {high:.3f})" for ratio, low, high in (row.said, row.seen))
    return format_size(row.size_bytes), row.wanted, row.ran, said, seen, "" if row.agrees else "DIFFERS"


if __name__ == "__main__":
    sys.exit(main())
