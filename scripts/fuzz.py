"""Feeds mutated samples to the readers of other programs' outputs, and keeps what breaks one.

    scripts/fuzz.py                          # what there is
    scripts/fuzz.py --seconds 300 inspect    # one, for five minutes
    scripts/fuzz.py --seconds 60 all
    scripts/fuzz.py --jobs 16 --stints 6 --seconds 300 all    # half an hour for each, on 16 cores

An input breaks a reader where it raises an exception that is none of ncclprobe's, takes over a second each time, or
needs over half a GiB. All times are of this process, whatever else has the cores, and the second is as much longer as
a neighbour slows the core down. Such inputs go to tests/data/fuzz/READER/, where the tests read them again. The
environment of scripts/test has what this needs.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import hashlib
import itertools
import os
import pathlib
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "fuzz")]

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # else numpy reserves memory for each core
import fuzz_mutations as mutations  # noqa: E402
import fuzz_targets as targets  # noqa: E402

SLOW_S, HANGS_S = 1.0, 20
SLOW_TRIES = 3
"""An input is slow where each of so many tries is."""
WORK_S = 0.013
"""What the work of ``_crowding`` takes on a quiet core of data/fuzz_2cores_202611; a neighbour can double it."""
MOST_BYTES = 1 << 30
LARGE_BYTES = MOST_BYTES // 2
"""An input with which the process's peak passes it is a finding: a reader may catch what goes beyond MOST_BYTES."""
SIMPLEST_TRIES = 300
"""Of making an input that breaks a reader smaller."""


class TooSlow(Exception):
    """An input took too long."""


def _hang(_number: int, _frame: object) -> None:
    raise TooSlow


def outcome(name: str, content: bytes, folder: pathlib.Path, tries: int = SLOW_TRIES) -> str:
    """Return how an input breaks a reader, the place of it first; empty where it does not."""
    before = _peak_bytes()
    signal.setitimer(signal.ITIMER_PROF, HANGS_S)
    began = time.process_time()
    try:
        problem = targets.read(name, content, folder)
    except TooSlow:
        problem = TooSlow()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    taken = time.process_time() - began
    if isinstance(problem, TooSlow) or (taken > SLOW_S and taken > SLOW_S * _crowding()):
        if taken < HANGS_S and tries > 1:
            return outcome(name, content, folder, tries - 1)
        return f"slow: {taken:.1f} s for {len(content)} bytes"
    if before < LARGE_BYTES <= (peak := _peak_bytes()):
        return f"large: {peak >> 20} MiB for {len(content)} bytes"
    if problem is None:
        return ""
    frames = [frame for frame in traceback.extract_tb(problem.__traceback__) if "ncclprobe" in frame.filename]
    where = f"{pathlib.Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    return f"{type(problem).__name__} at {where}: {str(problem)[:100]}"


def _crowding() -> float:
    """Return how many times WORK_S a fixed piece of work takes now, of this process's own time; at least 1."""

    def work_s() -> float:
        began = time.process_time()
        dict.fromkeys(" ".join(map(str, range(60_000))).split())
        return time.process_time() - began

    return max(1.0, min(work_s() for _ in range(SLOW_TRIES)) / WORK_S)


def _peak_bytes() -> int:
    """Return the most memory that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def simplest(breaks: Callable[[bytes], bool], content: bytes) -> bytes:
    """Return a smaller input that breaks the reader alike."""
    size, tries = len(content) // 2, 0
    while size and tries < SIMPLEST_TRIES:
        at = 0
        while at < len(content) and tries < SIMPLEST_TRIES:
            tries += 1
            shorter = content[:at] + content[at + size :]
            if breaks(shorter):
                content = shorter
            else:
                at += size
        size //= 2
    return content


@contextlib.contextmanager
def _folder() -> Iterator[pathlib.Path]:
    with tempfile.TemporaryDirectory(prefix="ncclprobe-fuzz-") as name:
        yield pathlib.Path(name)


def fuzz(name: str, seconds: float, seed: int) -> int:
    """Feed inputs to a reader for a time; return how many different ways of breaking it were found."""
    chance, found, inputs = random.Random(f"{name} {seed}"), set[str](), 0
    seeds = [*targets.TARGETS[name].seeds(), *(path.read_bytes() for path in sorted((targets.CORPUS / name).glob("*")))]
    deadline = time.process_time() + seconds
    with _folder() as folder:
        while time.process_time() < deadline:
            content = mutations.mutated(chance, seeds)
            inputs += 1
            if broken := outcome(name, content, folder):
                place = broken.partition(": ")[0]
                if place not in found:
                    found.add(place)
                    _keep(name, content, broken, folder)
    peak = f"peak {_peak_bytes() >> 20} MiB"
    print(f"{name}: {inputs} inputs in {seconds:g} s, {len(found)} findings, {peak}, seed {seed}", flush=True)
    return len(found)


def _keep(name: str, content: bytes, broken: str, folder: pathlib.Path) -> None:
    place = broken.partition(": ")[0]
    if place not in ("slow", "large"):
        content = simplest(lambda text: outcome(name, text, folder).partition(": ")[0] == place, content)
    path = targets.CORPUS / name / hashlib.sha256(content).hexdigest()[:12]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    print(f"{name}: {broken}\n  kept as {path.relative_to(ROOT)} ({len(content)} bytes)", flush=True)


def _prepare() -> None:
    """Give this process its limits."""
    signal.signal(signal.SIGPROF, _hang)
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))


def main() -> int:
    """Fuzz what was asked for; the exit status is 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("readers", nargs="*", metavar="READER", help="or all; none lists them")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each stint, of its process's own time")
    parser.add_argument("--seed", type=int, default=1, help="of the first stint")
    parser.add_argument("--stints", type=int, default=1, help="a reader, each with a seed and a process of its own")
    parser.add_argument("--jobs", type=int, default=1, help="stints at a time")
    given = parser.parse_args()
    names = list(targets.TARGETS) if given.readers == ["all"] else given.readers
    if unknown := [name for name in names if name not in targets.TARGETS]:
        parser.error(f"there is no {unknown[0]}; there are {', '.join(targets.TARGETS)}")
    if not names:
        print("\n".join(targets.TARGETS))
    stints = itertools.product(range(given.seed, given.seed + given.stints), names)
    with concurrent.futures.ProcessPoolExecutor(given.jobs, initializer=_prepare, max_tasks_per_child=1) as pool:
        found = [pool.submit(fuzz, name, given.seconds, seed) for seed, name in stints]
        return int(sum(one.result() for one in found) > 0)


if __name__ == "__main__":
    sys.exit(main())
