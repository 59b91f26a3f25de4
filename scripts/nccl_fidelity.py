"""Is the backend `nccl` as exact as nccl-tests, and are cells that are switched live those of fresh communicators?

    python scripts/nccl_fidelity.py --nccl-tests BUILD/all_reduce_perf --out DIR [--what eager,graph,live,spread]

`graph` and `eager` interleave our launches with runs of all_reduce_perf (one thread a GPU, or with --mpiexec one
process a GPU, as ours are) and compare NCCL's default;
`live` compares cells forced in one communicator with launches whose NCCL_ALGO and NCCL_PROTO are set. `spread` makes
many launches of one cell at one size whose samples differ most, in four ways, and says what ran before each sample.
Tables go to stdout, every figure to DIR/fidelity.json. Bounds: graph 1 % or 0.3 us, eager 5 % or 1.5 us, live 3 % (mean
1 %).
In `graph`, medians of launches are compared: a process may get memory that is 1 % slower as long as it lives. In
`eager`, where small operations wait for a host whose launches differ by more than the bound among themselves
(nccl-tests' too), the fastest launches; in `live`, the fastest samples: those of Tree/Simple at 16 MiB lie anywhere
between 87 and 95 us, forced or not, so that the medians of ten differ by 3 % by chance. Medians are shown beside both.
"""

from __future__ import annotations

import argparse
import math
import os
import pathlib
import re
import statistics
import time
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
from scipy.stats import ks_2samp
from tabulate import tabulate

from ncclprobe import processes
from ncclprobe.backends import make_backend
from ncclprobe.backends.base import BackendOptions, GpuOptions
from ncclprobe.names import Collective
from ncclprobe.records.sweep import DEFAULT_CELL, Block, Cell, Launch, Point, Status
from ncclprobe.units import format_size, parse_size

DTYPES = {"float32": "float", "bfloat16": "bfloat16"}
BOUNDS = {"graph": (0.01, 0.3), "eager": (0.05, 1.5)}
SMALL_BYTES, SMALL_ROUNDS = 256 << 10, 10
"""Of sizes up to so many bytes, `eager` has so many launches more: half of them or more are half as slow again."""
COUNTS = {
    "graph": (
        (0, 256 << 10, 2 << 20, ("-w", "20", "-n", "100", "-G", "100")),
        (2 << 20, 128 << 20, 128 << 20, ("-w", "20", "-n", "100", "-G", "40")),
        (1 << 30, 8 << 30, 8 << 30, ("-w", "2", "-n", "2", "-G", "20")),
    ),
    "eager": (
        (0, 256 << 10, 2 << 20, ("-w", "20", "-n", "1000")),
        (2 << 20, 128 << 20, 128 << 20, ("-w", "20", "-n", "500")),
        (1 << 30, 8 << 30, 8 << 30, ("-w", "2", "-n", "5")),
    ),
}
"""From a size to a size, the largest that is run with them, and what nccl-tests is asked for.

A sample of it is then about as long as one of ours. Its operations take turns in as many places as the largest size
holds of theirs, ours in up to 20: where 2 MiB were its largest, it would have one place, which the GPU's cache holds,
and 28.1 us instead of 29.1 on two H200s.
"""
SAMPLE_S = 60e-3  # as nccl-tests times 1 GiB: after a pause the first milliseconds of large operations are slower
LIVE_SAMPLE_S = 10e-3
CELLS = [Cell(algo=algo, proto=proto) for algo in ("Tree", "Ring") for proto in ("LL", "LL128", "Simple")]
SPREAD_CELL, SPREAD_BYTES = Cell(algo="Tree", proto="Simple"), 16 << 20
Times = dict[int, list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nccl-tests", type=pathlib.Path, help="all_reduce_perf, built on this machine")
    parser.add_argument("--mpiexec", help="starts all_reduce_perf built with MPI=1, a process a GPU, not a thread")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--what", default="eager,graph,live")
    parser.add_argument("--largest", default="8G")
    parser.add_argument("--rounds", type=int, default=6, help="launches of each size")
    parser.add_argument("--nranks", type=int, default=2)
    parser.add_argument("--sample-ms", type=float, default=LIVE_SAMPLE_S * 1e3, help="of a sample in live and spread")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    found: dict[str, object] = {"started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    for what in options.what.split(","):
        began = time.monotonic()
        for rows in [ONCE[what](options)] if what in ONCE else beside(options, what):
            found[what] = rows  # of one type, then of both: what is cut short is kept
            (options.out / "fidelity.json").write_bytes(msgspec.json.format(msgspec.json.encode(found)))
        print(f"({what}: {time.monotonic() - began:.0f} s)\n", flush=True)


def sizes_up_to(largest: int) -> list[int]:
    return [8 * 8**n for n in range(20) if 8 * 8**n <= largest]


def beside(options: argparse.Namespace, mode: str) -> Iterator[list[dict[str, object]]]:
    """Compare our default with nccl-tests', launches of both in turn, and yield the rows type after type."""
    sizes = sizes_up_to(parse_size(options.largest))
    rows: list[dict[str, object]] = []
    for dtype, word in DTYPES.items():
        ours: Times = {size: [] for size in sizes}
        theirs: Times = {size: [] for size in sizes}
        small = [size for size in sizes if size <= SMALL_BYTES]
        rounds = [sizes] * options.rounds + [small] * (SMALL_ROUNDS if mode == "eager" else 0)
        for index, chosen in enumerate(rounds):
            for size, time_us in nccl_tests(options, mode, word, chosen):
                theirs[size].append(time_us)
            gpu = GpuOptions(mode=mode, memory="nccl")
            for (size, _), times in measured(options, chosen, dtype, (), gpu, index=index).items():
                ours[size].append(statistics.median(times))
        new = [compared(mode, dtype, size, ours[size], theirs[size]) for size in sizes if ours[size] and theirs[size]]
        show(f"{mode}: ours and nccl-tests', NCCL's default, us", new)
        rows += new
        yield rows


def compared(mode: str, dtype: str, size: int, ours: list[float], theirs: list[float]) -> dict[str, object]:
    typical = min if mode == "eager" else statistics.median
    mine, other = typical(ours), typical(theirs)
    share, least = BOUNDS[mode]
    within = abs(mine - other) <= max(share * other, least)
    return {
        "dtype": dtype, "size": size, "ours_us": mine, "theirs_us": other, "ratio": mine / other, "within": within,
        "ours_median_us": statistics.median(ours), "theirs_median_us": statistics.median(theirs),
        "ours_each": ours, "theirs_each": theirs,
    }  # fmt: skip


def nccl_tests(options: argparse.Namespace, mode: str, dtype: str, sizes: list[int]) -> Iterator[tuple[int, float]]:
    """Yield size and out-of-place time of each row; large sizes with fewer iterations.

    Graphs are launched often: what the host takes to start is then spread thin.
    """
    for least, most, largest, counts in COUNTS[mode]:
        chosen = [size for size in sizes if least <= size <= most]
        if not chosen:
            continue
        ranks = ["-t", str(options.nranks)]
        start = [options.mpiexec, "-n", str(options.nranks)] if options.mpiexec else []
        command = [
            *start, str(options.nccl_tests), "-b", str(chosen[0]), "-e", str(largest), "-f", "8", "-d", dtype,
            "-g", "1", "-c", "0", *counts, *([] if start else ranks),
        ]  # fmt: skip
        ended = processes.run(command, timeout_s=120, env=os.environ)
        if ended.returncode:
            print(f"{' '.join(command)} failed: {ended.stdout[-500:]} {ended.stderr[-500:]}", flush=True)
        yield from ((size, time_us) for size, time_us in rows_of(ended.stdout) if size in chosen)


def rows_of(text: str) -> Iterator[tuple[int, float]]:
    """Yield size and out-of-place time of each row of nccl-tests' table (size count type redop root time ...)."""
    for match in re.finditer(r"^\s*(\d+)\s+\d+\s+\w+\s+sum\s+-?\d+\s+([\d.]+)", text, re.MULTILINE):
        yield int(match[1]), float(match[2])


class Shot(NamedTuple):
    """One launch of ours."""

    times: dict[tuple[int, Cell], list[float]]
    """Size and cell -> times in us."""
    ran: dict[int, Cell]
    """Size -> what NCCL's log says that the default ran with."""
    before: dict[tuple[int, Cell], list[str]]
    """Size and cell -> what ran before each of the samples."""


def shot(
    nranks: int, sizes: list[int], dtype: str, cells: tuple[Cell, ...], gpu: GpuOptions, *, index: int,
    env: tuple[tuple[str, str], ...] = (), repeat: int = 3,
    sample_s: float = SAMPLE_S,
) -> Shot:  # fmt: skip
    """Return what one launch measured; what was refused or wrong is told."""
    backend = make_backend("nccl", BackendOptions(nranks=nranks, gpu=gpu))
    points = [Point(collective=Collective.ALL_REDUCE.value, dtype=dtype, size_bytes=size) for size in sizes]
    launch = Launch(
        index=index, stage="explore", nranks=nranks, warmups=1, timeout_s=20, seed=index, env=env, thorough=True,
        sample_s=sample_s,
        blocks=tuple(Block(point=point, cells=(DEFAULT_CELL, *cells), repeat=repeat) for point in points),
    )  # fmt: skip
    found, before = Shot({}, {}, {}), "nothing"
    for one in backend.measure(launch):
        (cell,), (status,), (time_us,) = one.cells, one.statuses, one.times_us
        if status is not Status.OK:
            print(f"{cell.label} at {format_size(one.point.size_bytes)}: {status.value} {one.message}", flush=True)
        elif not one.warmup and time_us is not None:
            found.times.setdefault((one.point.size_bytes, cell), []).append(time_us)
            found.before.setdefault((one.point.size_bytes, cell), []).append(before)
        before = f"{cell.label} at {format_size(one.point.size_bytes)}"
        if cell.is_default and one.ran:
            found.ran[one.point.size_bytes] = one.ran[0]
    return found


def measured(
    options: argparse.Namespace, sizes: list[int], dtype: str, cells: tuple[Cell, ...], gpu: GpuOptions, *, index: int,
    env: tuple[tuple[str, str], ...] = (), repeat: int = 3,
    sample_s: float = SAMPLE_S,
) -> dict[tuple[int, Cell], list[float]]:  # fmt: skip
    """Return the times of one launch."""
    found = shot(options.nranks, sizes, dtype, cells, gpu, index=index, env=env, repeat=repeat, sample_s=sample_s)
    return found.times


def live(options: argparse.Namespace) -> list[dict[str, object]]:
    """Compare cells forced live with those of fresh processes that have the variables."""
    sizes = sizes_up_to(min(1 << 30, parse_size(options.largest)))
    gpu = GpuOptions(mode="graph")
    forced: dict[tuple[int, Cell], list[float]] = {}
    fresh: dict[tuple[int, Cell], list[float]] = {}
    for round_ in range(options.rounds):
        for key, times in measured(
            options, sizes, "float32", tuple(CELLS), gpu, index=round_, repeat=5, sample_s=options.sample_ms / 1e3
        ).items():
            forced.setdefault(key, []).extend(times)
        for number, cell in enumerate(CELLS):
            env = (("NCCL_ALGO", f"allreduce:{cell.algo.lower()}"), ("NCCL_PROTO", f"allreduce:{cell.proto.lower()}"))
            index = 100 * (round_ + 1) + number
            for (size, _), times in measured(
                options, sizes, "float32", (), gpu, index=index, env=env, repeat=5, sample_s=options.sample_ms / 1e3
            ).items():
                fresh.setdefault((size, cell), []).extend(times)
    rows: list[dict[str, object]] = []
    for (size, cell), theirs in sorted(fresh.items(), key=lambda item: (item[0][1].key, item[0][0])):
        if ours := forced.get((size, cell)):
            mine, other = min(ours), min(theirs)
            medians = {"ours_median_us": statistics.median(ours), "theirs_median_us": statistics.median(theirs)}
            row = {"cell": cell.label, "size": size, "ours_us": mine, "theirs_us": other, "ratio": mine / other}
            rows.append(row | medians | {"ours_each": ours, "theirs_each": theirs})
    for row in rows:
        row["within"] = abs(float(str(row["ratio"])) - 1) <= 0.03
    show("live: forced in one communicator, and fresh processes with NCCL_ALGO and NCCL_PROTO, us", rows)
    if rows:
        mean = math.exp(statistics.fmean(math.log(float(str(row["ratio"]))) for row in rows))
        print(f"geometric mean of the ratios: {mean:.4f} ({'within' if abs(mean - 1) <= 0.01 else 'NOT within'} 1 %)")
    return rows


def spread(options: argparse.Namespace) -> list[dict[str, object]]:
    """Launch one cell at one size often: forced among others or alone, and by variables in fresh processes.

    NCCL connects a tree or a ring when it is used first; NCCL_RUNTIME_CONNECT=0 has both connected from the start.
    """
    by_name = (("NCCL_ALGO", "allreduce:tree"), ("NCCL_PROTO", "allreduce:simple"))
    ways: dict[str, tuple[tuple[Cell, ...], tuple[tuple[str, str], ...]]] = {
        "forced, all cells": (tuple(CELLS), ()),
        "forced, alone": ((SPREAD_CELL,), ()),
        "fresh": ((), by_name),
        "fresh, all connected": ((), (*by_name, ("NCCL_RUNTIME_CONNECT", "0"))),
    }
    rows: list[dict[str, object]] = []
    for round_ in range(options.rounds):
        for number, (way, (cells, env)) in enumerate(ways.items()):
            found = shot(
                options.nranks, [SPREAD_BYTES, 1 << 30], "float32", cells, GpuOptions(mode="graph"),
                index=100 * round_ + number, env=env, repeat=5, sample_s=options.sample_ms / 1e3,
            )  # fmt: skip
            key = (SPREAD_BYTES, SPREAD_CELL if cells else DEFAULT_CELL)
            for time_us, before in zip(found.times.get(key, ()), found.before.get(key, ()), strict=True):
                rows.append({"way": way, "launch": round_, "time_us": time_us, "before": before})
    print(f"{SPREAD_CELL.label} at {format_size(SPREAD_BYTES)}, us: sorted samples of all launches")
    for way, before in sorted({(str(row["way"]), str(row["before"])) for row in rows}):
        times = sorted(float(str(row["time_us"])) for row in rows if (row["way"], row["before"]) == (way, before))
        print(f"{way}, after {before}: " + " ".join(f"{one:.1f}" for one in times), flush=True)
    forced = [row["time_us"] for row in rows if str(row["way"]).startswith("forced")]
    fresh = [row["time_us"] for row in rows if str(row["way"]).startswith("fresh")]
    if forced and fresh:
        chance = ks_2samp(forced, fresh).pvalue
        print(f"{len(forced)} forced and {len(fresh)} fresh samples: p = {chance:.2g} by Kolmogorov and Smirnov's test")
    return rows


def show(title: str, rows: list[dict[str, object]]) -> None:
    columns = [
        (row.get("dtype", row.get("cell")), format_size(int(str(row["size"]))), row["ours_us"], row["theirs_us"],
         row["ratio"], "" if row["within"] else "OUT", row.get("ours_median_us"), row.get("theirs_median_us"))
        for row in rows
    ]  # fmt: skip
    names = ("", "size", "ours", "theirs", "ratio", "", "our median", "their median")
    print(title)
    print(tabulate(columns, names, floatfmt=("", "", ".2f", ".2f", ".4f", "", ".2f", ".2f")))
    print(f"{sum(bool(row['within']) for row in rows)} of {len(rows)} within the bounds", flush=True)


ONCE = {"live": live, "spread": spread}
"""What gives all its rows at once."""


if __name__ == "__main__":
    main()
