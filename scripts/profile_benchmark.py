"""How long ``ncclprobe profile`` takes for an NCCL log of a given size, and how much memory.

    scripts/profile_benchmark.py --size 2G

Writes a log as eight ranks of a tensor-parallel model write it with NCCL_DEBUG_SUBSYS=COLL, profiles it in a process of
its own, and prints seconds, MB/s and the peak of its memory.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
import random
import subprocess
import sys
import tempfile
import time

from ncclprobe.units import parse_size

RANKS, HIDDEN = 8, 7168
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 160, 192)
BLOCKS, STEPS = 16, 500
"""Distinct pieces of the log, and the operations of each; the rest repeats them."""


def block(seed: int) -> bytes:
    """Return lines of some operations, each rank's own."""
    draw = random.Random(seed)
    lines: list[str] = []
    for step in range(STEPS):
        count = draw.choice(BATCHES) * HIDDEN
        lines += (call(rank, count, seed * STEPS + step, draw) for rank in range(RANKS))
    return "".join(lines).encode()


def call(rank: int, count: int, number: int, draw: random.Random) -> str:
    """Return a rank's line of an operation."""
    return (
        f"dgx001:{41000 + rank}:{41900 + rank} [{rank}] NCCL INFO AllReduce: opCount {number:x} "
        f"sendbuff 0x7f{draw.getrandbits(40):010x} recvbuff 0x7f{draw.getrandbits(40):010x} count {count} "
        f"datatype 9 op 0 root 0 comm 0x55e290bd32d{rank} [nranks={RANKS}] stream 0x55e29067e43{rank}\n"
    )


def write_log(path: pathlib.Path, size: int) -> int:
    """Write a log of at least that size and return its operations of one rank."""
    blocks = [block(seed) for seed in range(BLOCKS)]
    written = operations = 0
    with path.open("wb") as file:
        while written < size:
            piece = blocks[(operations // STEPS) % BLOCKS]
            written += file.write(piece)
            operations += STEPS
    return operations


def main() -> int:
    """Write, profile, print; 1 where the profile does not have what was written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="2G", help="of the log")
    parser.add_argument("--dir", type=pathlib.Path, help="where the log is written for the time being")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.dir) as folder:
        log = pathlib.Path(folder) / "nccl.log"
        operations = write_log(log, parse_size(arguments.size))
        size = log.stat().st_size
        started = time.perf_counter()
        command = [sys.executable, "-m", "ncclprobe", "profile", str(log), "--json"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        text = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
    document = json.loads(text)
    counted = sum(message["count"] for message in document["messages"])
    print(f"machine        {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"log            {size / 1e9:.2f} GB, {operations * RANKS} calls of {RANKS} ranks")
    print(f"time           {seconds:.1f} s, {size / 1e6 / seconds:.0f} MB/s")
    print(f"processor time {usage.ru_utime + usage.ru_stime:.1f} s")
    print(f"peak memory    {usage.ru_maxrss / 1024:.0f} MiB")
    print(f"operations     {counted} of {operations}, {len(document['messages'])} sizes")
    return 0 if counted == operations and process.returncode == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
