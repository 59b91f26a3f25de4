"""How long a browser needs until a report's plots are drawn.

    scripts/report_load_benchmark.py [--times 7] [RUN...] >table.txt

Each load has a Chromium of its own with an empty profile, headless, 1200 x 900, and nothing else is opened in it. The
times are milliseconds from the start of the navigation, by the page's own clock: ``painted`` is the first text,
``unpacked`` the plot library's source out of its compressed form, ``started`` the library ready, ``first`` all figures
of the first screen drawn, ``all`` every figure drawn. Medians, with the least and the most of ``all``. Without a RUN:
a sweep of two H200s, a comparison with telemetry, and a simulated run of 500 nodes. ``--file`` measures a page that is
there already, of another version; its loads alternate with the others', ``ratio`` is its ``all`` / that of the page of
the same name, and columns of which it has no mark have ``-``.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from tabulate import tabulate

DATA = pathlib.Path(__file__).parents[1] / "data"
RUNS = (DATA / "h200x2_202611" / "sweep", DATA / "h200_sglang_202611" / "bad")
FABRIC = 'name = "large"\nnodes = 500\ngpus_per_node = 8\n[noise]\ncv = 0.03\n[slow_nodes]\nnode017 = 0.8\n'
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1200,900")
PATIENCE_S = 60.0
STEPS = ("painted", "unpacked", "started", "first", "all")
TIMES = """
  const mark = (name) => performance.getEntriesByName(name)[0]?.startTime ?? null;
  const {first, milliseconds, state} = document.documentElement.dataset;
  return JSON.stringify({painted: mark("first-contentful-paint"), unpacked: mark("unpacked"), started: mark("started"),
    first: first === undefined ? null : +first, all: milliseconds === undefined ? null : +milliseconds, state});
"""


def ncclprobe(*arguments: str) -> None:
    command = [sys.executable, "-m", "ncclprobe", *arguments]
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def pages(runs: list[pathlib.Path], folder: pathlib.Path) -> Iterator[pathlib.Path]:
    for run in runs:
        file = folder / f"{run.name}.html"
        ncclprobe("report", str(run), "--html", str(file))
        yield file


def default_runs(folder: pathlib.Path) -> list[pathlib.Path]:
    (folder / "fabric.toml").write_text(FABRIC)
    ncclprobe("nodes", "--fabric", str(folder / "fabric.toml"), "--seed", "1", "--out", str(folder / "500-nodes"))
    return [*RUNS, folder / "500-nodes"]


def loaded(file: pathlib.Path) -> dict[str, float | None]:
    """Return the times of one load, in milliseconds."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in FLAGS:
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        driver.get(file.absolute().as_uri())
        deadline = time.monotonic() + PATIENCE_S
        while True:
            found = json.loads(driver.execute_script(TIMES))
            state = found.pop("state")
            if state == "drawn":
                return dict(found)
            if state == "failed" or time.monotonic() > deadline:
                sys.exit(f"{file}: its plots are not drawn")
            time.sleep(0.1)
    finally:
        driver.quit()


def medians(loads: list[dict[str, float | None]]) -> dict[str, float]:
    values = {step: [value for one in loads if (value := one[step]) is not None] for step in STEPS}
    return {step: statistics.median(found) for step, found in values.items() if found}


def row(file: pathlib.Path, loads: list[dict[str, float | None]], now: float) -> list[str]:
    found = medians(loads)
    known = [f"{found[step]:.0f}" if step in found else "-" for step in STEPS]
    ends = [value for one in loads if (value := one["all"]) is not None]
    size = f"{file.stat().st_size / 1e6:.2f}"
    return [file.stem, size, *known, f"{min(ends):.0f} to {max(ends):.0f}", f"{found['all'] / now:.2f}"]


def rows(files: list[pathlib.Path], times: int) -> Iterator[list[str]]:
    loads: dict[pathlib.Path, list[dict[str, float | None]]] = {file: [] for file in files}
    for _ in range(times):
        for file in files:
            loads[file].append(loaded(file))
    now = {file.stem: medians(found)["all"] for file, found in loads.items()}
    return (row(file, found, now[file.stem]) for file, found in loads.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=7)
    parser.add_argument("--file", type=pathlib.Path, action="append", default=[])
    parser.add_argument("runs", type=pathlib.Path, nargs="*")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        files = [*options.file, *pages(options.runs or default_runs(folder), folder)]
        table = list(rows(files, options.times))
    headers = ["page", "MB", *STEPS, "all, from to", "ratio"]
    print(tabulate(table, headers=headers, disable_numparse=True, stralign="right"))


if __name__ == "__main__":
    main()
