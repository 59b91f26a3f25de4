"""How time and memory grow with ten times more nodes, cells or past runs.

    scripts/scale_benchmark.py [--only TEXT] [--largest] >table.txt

Each step runs in a process of its own; time is the processor's, user and system, memory the peak of resident memory.
The ratios are to the step before, which is ten times smaller; ``base`` is what the process needs for next to nothing,
taken off before. Simulated fabrics, captured outputs written anew for each host, and run directories of simulated runs:
nothing is measured on a network. ``--largest`` adds the last step of each.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tabulate import tabulate

CAPTURED = pathlib.Path(__file__).parents[1] / "data" / "fleet_dgx_12hca" / "dgx001"
FABRIC = """
name = "scale"
nodes = {nodes}
gpus_per_node = 8
[noise]
cv = 0.03
[slow_nodes]
node{slow} = 0.8
"""
TIMES = "collective,dtype,size_bytes,algo,proto,nchannels,time_us\n"


class Cost(NamedTuple):
    """What a process took."""

    seconds: float
    """Of the processor."""
    megabytes: float
    """Of resident memory, at most."""


class Part(NamedTuple):
    """Something that grows."""

    name: str
    sizes: tuple[int, ...]
    """The first is next to nothing; each further one is ten times the one before it."""
    command: Callable[[int, pathlib.Path], list[str]]
    """Returns ncclprobe's arguments for a size, with its input made in a folder."""


def fabric(folder: pathlib.Path, nodes: int) -> str:
    path = folder / f"fabric-{nodes}.toml"
    path.write_text(FABRIC.format(nodes=nodes, slow=str(max(1, nodes // 3)).zfill(len(str(nodes)))))
    return str(path)


def nodes(number: int, folder: pathlib.Path) -> list[str]:
    return ["nodes", "--fabric", fabric(folder, number), "--seed", "1", "--out", str(folder / f"nodes-{number}")]


def report(number: int, folder: pathlib.Path) -> list[str]:
    run = folder / f"nodes-{number}"
    if not run.exists():
        took(nodes(number, folder))
    return ["report", str(run), "--html", str(folder / f"report-{number}.html")]


def scan(number: int, folder: pathlib.Path) -> list[str]:
    hosts = folder / f"hosts-{number}"
    texts = {path.name: path.read_text() for path in CAPTURED.iterdir()}
    for host in range(number):
        place = hosts / f"dgx{host:05d}"
        place.mkdir(parents=True)
        for name, text in texts.items():
            (place / name).write_text(
                text.replace("0xa088c20300", f"0xa088c2{host:06x}"[:12]).replace(
                    "a088:c203:00", f"a088:{host >> 8:04x}:{host & 255:02x}"
                )
            )
    return ["scan", "--from", str(hosts), "--out", str(folder / f"scan-{number}")]


def sweep(number: int, folder: pathlib.Path) -> list[str]:
    """Return a sweep of so many cells: sizes times the cells of a size."""
    each, sizes = 20, max(1, number // 20)
    rows = []
    for size in range(sizes):
        rows.append(f"all_reduce,float32,{8 * (size + 1)},default,default,,{10 + size / 100}")
        rows += [
            f"all_reduce,float32,{8 * (size + 1)},Ring,Simple,{ch},{11 + size / 100 + ch}" for ch in range(1, each + 1)
        ]
    (folder / f"times-{number}.csv").write_text(TIMES + "\n".join(rows) + "\n")
    path = folder / f"sweep-{number}.toml"
    path.write_text(
        f'name = "cells"\nnodes = 2\ngpus_per_node = 8\n[times]\ntable = "times-{number}.csv"\n[noise]\ncv = 0.002\n'
    )
    channels = ",".join(str(ch) for ch in range(1, each + 1))
    asked = ",".join(str(8 * (size + 1)) for size in range(sizes))
    return [
        "sweep", "--backend", "sim", "--fabric", str(path), "--algo", "Ring", "--proto", "Simple", "--sizes", asked,
        "--channels", channels, "--seed", "1", "--out", str(folder / f"sweep-{number}"),
    ]  # fmt: skip


def history(number: int, folder: pathlib.Path) -> list[str]:
    """Return a look through so many past runs of four nodes each."""
    template = folder / "past"
    if not template.exists():
        took(["nodes", "--fabric", fabric(folder, 4), "--seed", "1", "--out", str(template)])
    runs = folder / f"history-{number}"
    document = json.loads((template / "document.json").read_text())
    for run in range(number):
        place = runs / f"run-{run:06d}"
        shutil.copytree(template, place)
        document["created"] = (
            f"2026-{1 + run // 28 % 12:02d}-{1 + run % 28:02d}T{run // 336 % 24:02d}:{run % 60:02d}:00Z"
        )
        (place / "document.json").write_text(json.dumps(document))
    return ["nodes", "--history", str(runs), "--out", str(folder / f"told-{number}")]


PARTS = (
    Part("scan: hosts", (4, 40, 400, 4000), scan),
    Part("nodes: nodes", (4, 40, 400, 4000), nodes),
    Part("report: nodes", (4, 40, 400, 4000), report),
    Part("sweep: cells", (20, 1_000, 10_000, 100_000), sweep),
    Part("history: runs", (10, 100, 1_000, 10_000), history),
)


def took(arguments: list[str]) -> Cost:
    """Return what ncclprobe takes for some arguments.

    Raises:
        SystemExit: It failed.
    """
    child = os.fork()
    if not child:
        with pathlib.Path(os.devnull).open("w") as nothing:
            os.dup2(nothing.fileno(), 1)
        os.execv(
            sys.executable,
            [sys.executable, "-m", "ncclprobe", *arguments, *(["--quiet"] if "report" not in arguments else [])],
        )
    _, status, usage = os.wait4(child, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 3):
        raise SystemExit(f"ncclprobe {' '.join(arguments)[:200]} ended with {os.waitstatus_to_exitcode(status)}")
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def rows(part: Part, *, largest: bool) -> Iterator[list[object]]:
    """Yield a line for each step."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        first, *steps = part.sizes if largest else part.sizes[:-1]
        base = took(part.command(first, folder))
        yield [part.name, first, f"{base.seconds:.2f}", f"{base.megabytes:.0f}", "base", "base"]
        before: Cost | None = None
        for size in steps:
            cost = took(part.command(size, folder))
            beyond = Cost(max(0.01, cost.seconds - base.seconds), max(1.0, cost.megabytes - base.megabytes))
            ratios = [f"{now / then:.1f}" for now, then in zip(beyond, before, strict=True)] if before else ["", ""]
            yield [part.name, size, f"{cost.seconds:.2f}", f"{cost.megabytes:.0f}", *ratios]
            before = beyond


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="parts whose name holds this")
    parser.add_argument("--largest", action="store_true", help="the last step of each as well")
    asked = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    table = []
    for part in PARTS:
        if asked.only in part.name:
            for row in rows(part, largest=asked.largest):
                print(row, file=sys.stderr, flush=True)
                table.append(row)
    print(tabulate(table, ["part", "size", "s", "MiB", "time, x", "memory, x"], disable_numparse=True))


if __name__ == "__main__":
    main()
