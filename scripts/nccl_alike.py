"""How often does a sweep find a winner where there is none: NCCL's own choice against itself, asked for by name?

    python scripts/nccl_alike.py --out DIR [--sweeps 25] [--budget 12]

On two GPUs of a host NCCL runs Ring/LL with one channel up to 4 KiB and Ring/Simple with 24 from 2 MiB on (the script
looks what it ran, and leaves out a cell that differs). Sweeps of these very cells, as a user would start them, should
keep the defaults. Every document goes to DIR; the last line has the count.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
import time

import msgspec

from ncclprobe import processes
from ncclprobe.records.sweep import Cell, SweepDocument

KINDS = {
    "small": ("--proto", "LL", "--channels", "default,1", "--sizes", "8,64,512,4K"),
    "large": ("--proto", "Simple", "--channels", "default,24", "--sizes", "2M,16M,128M,1G"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--sweeps", type=int, default=25, help="of each kind")
    parser.add_argument("--budget", type=float, default=12.0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    changes, done, skipped = 0, 0, 0
    for seed in range(1, options.sweeps + 1):
        for kind, cells in KINDS.items():
            began = time.monotonic()
            run = options.out / f"{kind}-{seed:02}"
            document = swept(run, cells, seed, options.budget)
            if document is None or not same(run):
                skipped += 1
                continue
            changed = document.choice.verdict.value == "change"
            changes, done = changes + changed, done + 1
            words = ", ".join(f"{row.min_bytes}: {row.algo}/{row.proto}" for row in document.choice.table)
            print(
                f"{kind} {seed}: {document.choice.verdict.value} {words} ({time.monotonic() - began:.1f} s)", flush=True
            )
    print(f"{changes} of {done} sweeps found a winner; {skipped} were left out")
    return 0 if done and changes <= 0.05 * done else 1


def swept(run: pathlib.Path, cells: tuple[str, ...], seed: int, budget_s: float) -> SweepDocument | None:
    command = [
        sys.executable, "-m", "ncclprobe", "sweep", "--backend", "nccl", "--nranks", "2", "--algo", "Ring", *cells,
        "--budget", str(budget_s), "--seed", str(seed), "--out", str(run), "--json",
    ]  # fmt: skip
    ended = processes.run(command, timeout_s=120, env=os.environ)
    if ended.returncode:
        print(f"{run.name} failed: {ended.stderr[-500:]}", flush=True)
        return None
    return msgspec.json.decode(ended.stdout.encode(), type=SweepDocument)


def same(run: pathlib.Path) -> bool:
    """Return whether every cell ran what the default ran at each size, by NCCL's own log."""
    seen: dict[int, set[Cell]] = {}
    for text in (run / "journal.jsonl").read_bytes().splitlines():
        line = msgspec.json.decode(text)
        for ran in line.get("ran") or ():
            seen.setdefault(line["point"]["size_bytes"], set()).add(msgspec.convert(ran, Cell))
    return bool(seen) and all(len(cells) == 1 for cells in seen.values())


if __name__ == "__main__":
    sys.exit(main())
