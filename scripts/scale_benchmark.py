"""How time and memory grow with ten times more nodes, cells or past runs.

    scripts/scale_benchmark.py [--only TEXT]… >table.txt

Each step runs in a process of its own; time is the processor's, user and system, memory the peak of resident memory,
each the least of up to three runs, which take SPENT_S at most together unless one does. The first step of a part is
next to nothing: the interpreter, imports, and what is done but once. "10x" is the ratio of the whole cost to that of
the step before, which is ten times smaller; "10x beyond" that of what exceeds the first step, where the smaller step
exceeds it by a tenth or more: less may as well lie hidden in what imports had taken and given back. Simulated fabrics,
captured outputs written anew for each host, and run directories of simulated runs: nothing is measured on a network.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import pathlib
import random
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
SPENT_S = 20.0
FIRST = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)
"""When the first of past runs began."""
MEASURED = """
import atexit, os, pathlib, re, runpy, sys
says = int(sys.argv.pop(1))
peak = lambda: re.search(r"VmHWM:\\s*(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1]
atexit.register(lambda: os.write(says, peak().encode()))
runpy.run_module("ncclprobe", run_name="__main__", alter_sys=True)
"""
"""Runs ncclprobe and tells its peak of memory: what wait4 tells holds what this program had when it forked."""
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
    if not hosts.exists():
        write_hosts(number, hosts)
    return ["scan", "--from", str(hosts), "--out", str(folder / f"scan-{number}")]


def write_hosts(number: int, hosts: pathlib.Path) -> None:
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


def cells_report(number: int, folder: pathlib.Path) -> list[str]:
    run = folder / f"sweep-{number}"
    if not run.exists():
        took(sweep(number, folder))
    return ["report", str(run), "--html", str(folder / f"cells-{number}.html")]


def history(number: int, folder: pathlib.Path) -> list[str]:
    """Return a look through so many past runs of four nodes each, an hour apart, that nobody has looked at."""
    shutil.rmtree(cache(number, folder), ignore_errors=True)
    runs = folder / f"history-{number}"
    if not runs.exists():
        write_runs(number, runs, folder)
    return ["nodes", "--history", str(runs), "--out", str(folder / f"told-{number}")]


def later_history(number: int, folder: pathlib.Path) -> list[str]:
    """Return a look through past runs that were looked at before."""
    if not cache(number, folder).exists():
        took(history(number, folder))
    return ["nodes", "--history", str(folder / f"history-{number}"), "--out", str(folder / f"again-{number}")]


def cache(number: int, folder: pathlib.Path) -> pathlib.Path:
    """Return the cache directory of a history, and let ncclprobe use it."""
    os.environ["XDG_CACHE_HOME"] = str(folder / f"cache-{number}")
    return folder / f"cache-{number}"


def write_runs(number: int, runs: pathlib.Path, folder: pathlib.Path) -> None:
    """Write past runs: one that was simulated, each value of it being 1 % off at random in each of them."""
    template, draw = folder / "past", random.Random(1)
    if not template.exists():
        took(["nodes", "--fabric", fabric(folder, 4), "--seed", "1", "--out", str(template)])
    manifest, document = (json.loads((template / name).read_text()) for name in ("manifest.json", "document.json"))
    lines = [json.loads(line) for line in (template / "journal.jsonl").read_text().splitlines()]
    for run in range(number):
        place, moment = runs / f"run-{run:06d}", FIRST + datetime.timedelta(hours=run)
        place.mkdir(parents=True)
        manifest["created"] = document["created"] = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        off = [{**line, "value": line["value"] * math.exp(draw.gauss(0, 0.01))} for line in lines]
        (place / "manifest.json").write_text(json.dumps(manifest))
        (place / "document.json").write_text(json.dumps(document))
        (place / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in off))


PARTS = (
    Part("scan: hosts", (1, 410, 4_096), scan),
    Part("nodes: nodes", (4, 410, 4_096, 40_960), nodes),
    Part("report: nodes", (4, 410, 4_096, 40_960), report),
    Part("sweep: cells", (20, 1_000, 10_000, 100_000), sweep),
    Part("report: cells", (20, 1_000, 10_000, 100_000), cells_report),
    Part("history: runs, first look", (1, 100, 1_000, 10_000), history),
    Part("history: runs, later look", (1, 100, 1_000, 10_000), later_history),
)


def took(arguments: list[str]) -> Cost:
    """Return what ncclprobe takes for some arguments.

    Raises:
        SystemExit: It failed.
    """
    quiet = ["--quiet"] if arguments[0] in ("scan", "nodes", "sweep") else []
    hears, says = os.pipe()
    os.set_inheritable(says, True)
    child = os.fork()
    if not child:
        with pathlib.Path(os.devnull).open("w") as nothing:
            os.dup2(nothing.fileno(), 1)
        os.execv(sys.executable, [sys.executable, "-c", MEASURED, str(says), *arguments, *quiet])
    os.close(says)
    with os.fdopen(hears) as heard:
        peak_kib = heard.read()
    _, status, usage = os.wait4(child, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 3):
        raise SystemExit(f"ncclprobe {' '.join(arguments)[:200]} ended with {os.waitstatus_to_exitcode(status)}")
    return Cost(usage.ru_utime + usage.ru_stime, int(peak_kib) / 1024)


def least(part: Part, size: int, folder: pathlib.Path) -> Cost:
    """Return the least of what some runs of a step take."""
    costs: list[Cost] = []
    while not costs or (len(costs) < 3 and sum(cost.seconds for cost in costs) + costs[-1].seconds < SPENT_S):
        arguments = part.command(size, folder)
        if "--out" in arguments:
            shutil.rmtree(arguments[-1], ignore_errors=True)
        costs.append(took(arguments))
    return Cost(min(cost.seconds for cost in costs), min(cost.megabytes for cost in costs))


def rows(part: Part, folder: pathlib.Path) -> Iterator[list[str]]:
    """Yield a line for each step."""
    first, *steps = part.sizes
    base = before = least(part, first, folder)
    yield [part.name, f"{first:,}", f"{base.seconds:.2f}", f"{base.megabytes:.0f}"]
    for size in steps:
        cost = least(part, size, folder)
        compared = list(zip(cost, before, base, strict=True)) if before is not base else []
        whole = [f"{now / then:.1f}" for now, then, _ in compared]
        beyond = [f"{(now - own) / (then - own):.1f}" if then > 1.1 * own else "–" for now, then, own in compared]
        yield [part.name, f"{size:,}", f"{cost.seconds:.2f}", f"{cost.megabytes:.0f}", *whole, *beyond]
        before = cost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", help="parts whose name holds this or another one named")
    asked = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    table = []
    with tempfile.TemporaryDirectory() as name:
        start = min(took(["--version"]) for _ in range(5))
        for part in (part for part in PARTS if any(text in part.name for text in asked.only or [""])):
            for row in rows(part, pathlib.Path(name)):
                print(row, file=sys.stderr, flush=True)
                table.append(row)
    heads = ["part", "size", "s", "MiB", "s, 10x", "MiB, 10x", "s, 10x beyond", "MiB, 10x beyond"]
    print(tabulate(table, heads, disable_numparse=True))
    print(f"\nThe interpreter and `ncclprobe --version` alone: {start.seconds:.2f} s, {start.megabytes:.0f} MiB")


if __name__ == "__main__":
    main()
