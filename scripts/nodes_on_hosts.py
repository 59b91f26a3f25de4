r"""Measure real hosts of one machine again and again, healthy ones and faulty ones, and count what ``nodes`` names.

    python scripts/nodes_on_hosts.py [--hosts 4,8] [--launchers mpirun,srun] [--only TEXT] [--runs 20] \
        [--faulty-runs 20] >table.txt

It takes root, Debian's iproute2, openssh-server and (for srun) Slurm; a scenario's place changes from run to run.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tabulate import tabulate

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tests" / "cluster"))
from testbed import Cluster  # type: ignore[import-not-found]

RATE = "200mbit"
Fault = Callable[[Cluster, str, str], set[str]]


class Run(NamedTuple):
    """One run of ``nodes``."""

    right: bool
    """Whether it named what it should, and nothing else."""
    named: set[str]
    """What it named."""
    seconds: float
    """Wall time."""
    words: str = ""
    """What it said meanwhile."""


def healthy(_cluster: Cluster, _one: str, _other: str) -> set[str]:
    return set()


def slow_host(cluster: Cluster, one: str, _other: str) -> set[str]:
    cluster.slow(one, RATE)
    return {f"slow {one}"}


def slow_link(cluster: Cluster, one: str, other: str) -> set[str]:
    cluster.slow_link(one, other, RATE)
    return {f"slow {one}–{other}"}


def cut_before(cluster: Cluster, one: str, _other: str) -> set[str]:
    cluster.cut(one)
    return {f"unreachable {one}"}


def cut_between(cluster: Cluster, one: str, _other: str) -> set[str]:
    return {f"unreachable {one}"}


SCENARIOS: dict[str, Fault] = {
    "healthy": healthy,
    f"a host at {RATE}": slow_host,
    f"a path at {RATE}": slow_link,
    "a host cut off before": cut_before,
    "a host cut off in the middle": cut_between,
}


def named(document: dict[str, Any]) -> set[str]:
    """Return what is not healthy, suspects aside."""
    nodes = [(node["status"], node["node"]) for node in document["nodes"]]
    links = [(link["status"], "–".join(link["nodes"])) for link in document["links"]]
    return {f"{status} {name}" for status, name in (*nodes, *links) if status in ("slow", "unreachable")}


def once(cluster: Cluster, fault: Fault, launcher: str, seed: int) -> Run:
    """Return what one run names."""
    names = cluster.names
    one, other = sorted((names[1 + seed % (len(names) - 1)], names[(seed * 3) % (len(names) - 1)]), key=names.index)
    if one == other:
        other = names[-1] if one != names[-1] else names[0]
        one, other = sorted((one, other), key=names.index)
    struck = one if one != names[0] else other
    wanted = fault(cluster, one, other) if fault is slow_link else fault(cluster, struck, "")
    out = cluster.folder / f"run-{time.time_ns()}"
    command = ["ncclprobe", "nodes", "--json", "--out", str(out), "--hosts", f"node[1-{len(names)}]"]
    began = time.monotonic()
    process = cluster.start("node1", [*command, "--launcher", launcher, "--seed", str(seed)])
    if fault is cut_between:
        wait_for_values(out, len(names))
        cluster.cut(struck)
    stdout, stderr = process.communicate(timeout=400)
    seconds = time.monotonic() - began
    cluster.restore()
    if process.returncode not in (0, 3):
        sys.stderr.write(stderr)
        return Run(False, {"nothing: it failed"}, seconds)
    found = named(json.loads(stdout))
    return Run(found == wanted, found, seconds, stderr)


def wait_for_values(out: pathlib.Path, number: int) -> None:
    """Return once a run has measured so many groups."""
    journal = out / "journal.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if journal.exists() and journal.read_text().count('"group-value"') >= number:
            return
        time.sleep(0.02)


def rows(
    hosts: list[int], launchers: list[str], healthy_runs: int, faulty_runs: int, only: str
) -> Iterator[list[object]]:
    """Yield a row of the table for each scenario; it goes to stderr at once, with a line for each wrong run."""
    for number in hosts:
        with Cluster(number) as cluster:
            if "srun" in launchers:
                cluster.slurm()
            for launcher in launchers:
                for name, fault in SCENARIOS.items():
                    if only not in name:
                        continue
                    runs = healthy_runs if fault is healthy else faulty_runs
                    found = [once(cluster, fault, launcher, seed) for seed in range(runs)]
                    for seed, run in enumerate(found):
                        if not run.right:
                            sys.stderr.write(
                                f"{number} hosts, {launcher}, {name}, seed {seed}: named {run.named}\n{run.words}"
                            )
                    mean = sum(run.seconds for run in found) / runs
                    row = [number, launcher, name, runs, sum(run.right for run in found), f"{mean:.1f}"]
                    sys.stderr.write(f"{row}\n")
                    yield row
            cluster.restore()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", default="4,8")
    parser.add_argument("--launchers", default="mpirun,srun")
    parser.add_argument("--runs", type=int, default=20, help="of healthy hosts")
    parser.add_argument("--faulty-runs", type=int, default=20, help="of every other scenario")
    parser.add_argument("--only", default="", help="scenarios whose name holds this")
    asked = parser.parse_args()
    table = rows(
        [int(n) for n in asked.hosts.split(",")], asked.launchers.split(","), asked.runs, asked.faulty_runs, asked.only
    )
    print(tabulate(list(table), ["hosts", "launcher", "scenario", "runs", "right", "s/run"]))


if __name__ == "__main__":
    main()
