"""Is a sweep's table in force in nccl-tests, and is it faster there?

    python scripts/nccl_tests_table.py RUN --nccl-tests BUILD/all_reduce_perf --out DIR [--nranks 2] [--mpiexec mpirun]

RUN is a sweep of all_reduce. Its table goes to DIR/table.csv; all_reduce_perf then runs every swept size without it
and with it in turn (CUDA graphs, checked sums), loaded as a job would: NCCL_TUNER_PLUGIN, NCCLPROBE_TUNER_TABLE and the
run's other variables. NCCL's TUNING lines tell what ran. Printed are what is wanted and ran at each size, and the ratio
of times beside the sweep's. Exit status 0 if every row ran at all of its sizes and no sum was wrong, else 3.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import re
import statistics
import sys
from typing import NamedTuple

import msgspec
from tabulate import tabulate

from ncclprobe import processes
from ncclprobe.backends.nccl_names import operations_in
from ncclprobe.names import Collective
from ncclprobe.records.base import Record
from ncclprobe.records.inspect import TunerRow
from ncclprobe.records.sweep import Cell, SweepDocument
from ncclprobe.tuner.build import plugin_path
from ncclprobe.tuner.check import matching, setting
from ncclprobe.tuner.table import sweep_rows, table_text
from ncclprobe.units import format_size

WORDS = {"float32": "float", "float16": "half", "float64": "double", "bfloat16": "bfloat16"}
ROW = re.compile(r"^\s*(\d+)\s+\d+\s+\w+\s+sum\s+-?\d+\s+([\d.]+)\s+[\d.]+\s+[\d.]+\s+(\S+)", re.MULTILINE)
"""Size, out-of-place time in us, wrong elements or N/A. Source: nccl-tests 2.19.6, src/common.cu"""
LIMIT_S = 60


class Run(NamedTuple):
    """One run of nccl-tests at a size."""

    time_us: float | None
    wrong: str
    ran: Cell | None


class Compared(Record, frozen=True, kw_only=True):
    """A size."""

    size_bytes: int
    """Message size."""
    wanted: str | None
    """The row's setting; None where NCCL is left alone."""
    before: str | None
    """What ran without the table."""
    ran: str | None
    """What ran with it."""
    applied: bool
    """Whether what is wanted ran; without a row, whether the same ran as before."""
    ratios: tuple[float, ...]
    """Time without / with the table, of each pair of runs."""
    said: float | None
    """The sweep's ratio."""
    wrong: bool
    """Whether a sum was wrong."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("--nccl-tests", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--nranks", type=int, default=2)
    parser.add_argument("--mpiexec", help="starts all_reduce_perf built with MPI=1, a process a GPU, not a thread")
    parser.add_argument("--pairs", type=int, default=1)
    options = parser.parse_args()
    document = msgspec.json.decode((options.run / "document.json").read_bytes(), type=SweepDocument)
    rows = sweep_rows(document)
    options.out.mkdir(parents=True, exist_ok=True)
    table = options.out.absolute() / "table.csv"
    table.write_text(table_text(rows))
    with_table = document.choice.env | {"NCCLPROBE_TUNER_TABLE": str(table)}
    found = [
        compared(
            options, document, size, matching(rows, "all_reduce", size, document.nranks, document.nnodes), with_table
        )
        for size in sorted({cell.size_bytes for cell in document.cells})
    ]
    (options.out / "nccl_tests_table.json").write_bytes(msgspec.json.format(msgspec.json.encode(found)))
    show(found)
    return 0 if rows and all(one.applied and not one.wrong for one in found if one.wanted) else 3


def compared(
    options: argparse.Namespace, document: SweepDocument, size: int, row: TunerRow | None, env: dict[str, str]
) -> Compared:
    """Run a size without and with the table, in turn."""
    pairs = []
    for number in range(options.pairs):
        both = {
            arm: perf(options, size, document.cells[0].dtype, env if arm else {})
            for arm in ((False, True) if number % 2 == 0 else (True, False))
        }
        pairs.append((both[False], both[True]))
    before, after = pairs[-1]
    return Compared(
        size_bytes=size,
        wanted=setting(row) if row else None,
        before=before.ran.label if before.ran else None,
        ran=after.ran.label if after.ran else None,
        applied=all(applied(row, one.ran, other.ran) for other, one in pairs),
        ratios=tuple(a.time_us / b.time_us for a, b in pairs if a.time_us and b.time_us),
        said=said(document, size, row),
        wrong=any(run.wrong not in ("0", "N/A") for pair in pairs for run in pair),
    )


def applied(row: TunerRow | None, ran: Cell | None, before: Cell | None) -> bool:
    if row is None or ran is None:
        return ran is not None and ran == before
    return (ran.algo, ran.proto) == (row.algo, row.proto) and row.nchannels in (None, ran.nchannels)


def said(document: SweepDocument, size: int, row: TunerRow | None) -> float | None:
    """Return the sweep's ratio of a row's setting at a size."""
    for cell in document.cells if row else ():
        mine = row and (cell.algo, cell.proto, cell.nchannels) == (row.algo, row.proto, row.nchannels)
        if mine and cell.size_bytes == size and cell.vs_default is not None:
            return cell.vs_default.ratio
    return None


def perf(options: argparse.Namespace, size: int, dtype: str, env: dict[str, str]) -> Run:
    """Return one run of all_reduce_perf at a size."""
    folder = options.out / "logs"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("nccl.*"):
        old.unlink()
    start = [options.mpiexec, "-n", str(options.nranks)] if options.mpiexec else []
    ranks = [] if start else ["-t", str(options.nranks)]
    command = [
        *start, str(options.nccl_tests), "-b", str(size), "-e", str(size), "-d", WORDS[dtype], "-g", "1", *ranks,
        "-w", "5", "-n", "20", "-c", "1", "-G", "20",
    ]  # fmt: skip
    log = {"NCCL_DEBUG": "INFO", "NCCL_DEBUG_SUBSYS": "INIT,TUNING", "NCCL_DEBUG_FILE": f"{folder.absolute()}/nccl.%p"}
    plugin = {"NCCL_TUNER_PLUGIN": str(plugin_path())} if env else {}
    ended = processes.run(command, timeout_s=LIMIT_S, env={**os.environ, **log, **plugin, **env})
    row = next((match for match in ROW.finditer(ended.stdout) if int(match[1]) == size), None)
    if row is None:
        print(f"{' '.join(command)} failed: {ended.stdout[-500:]} {ended.stderr[-500:]}", flush=True)
        return Run(None, "0", None)
    return Run(float(row[2]), row[3], ran_in(folder, size))


def ran_in(folder: pathlib.Path, size: int) -> Cell | None:
    """Return what NCCL's logs say that the last operation of a size ran with."""
    texts = (path.read_text(errors="replace") for path in sorted(folder.glob("nccl.*")))
    seen = [
        one.cell
        for text in texts
        for one in operations_in(text)
        if one.collective is Collective.ALL_REDUCE and one.size_bytes == size
    ]
    return seen[-1] if seen else None


def show(found: list[Compared]) -> None:
    lines = [
        (
            format_size(one.size_bytes), one.wanted or "-", one.before or "?", one.ran or "?",
            "applied" if one.applied and one.wanted else "left alone" if one.applied else "DIFFERS",
            f"{statistics.geometric_mean(one.ratios):.3f}" if one.ratios else "-",
            f"{one.said:.3f}" if one.said else "-", "WRONG SUMS" if one.wrong else "",
        )
        for one in found
    ]  # fmt: skip
    print(tabulate(lines, ("size", "row", "without", "with", "", "ratio", "sweep", ""), disable_numparse=True))
    with_row = [one for one in found if one.wanted]
    print(f"{sum(one.applied for one in with_row)} of {len(with_row)} sizes with a row ran as it says")


if __name__ == "__main__":
    sys.exit(main())
