#!/usr/bin/env python3
"""Let a real Prometheus scrape what ncclprobe exports, and run every query of docs/grafana-dashboard.json on it.

    scripts/prometheus_check.py            exit status 0 where each query returns data

The metrics are of real commands: a watch of `sweep` on a simulated fabric, `nodes` on past results, a scan of captured
outputs, and the kept run of `tune`. node_exporter's textfile collector serves the file; it and Prometheus run on free
ports of this host alone and end with the script. Debian: apt-get install prometheus prometheus-node-exporter
"""

from __future__ import annotations

import json
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
DASHBOARD = ROOT / "docs" / "grafana-dashboard.json"
PROGRAMS = ("prometheus", "prometheus-node-exporter")
PATIENCE_S = 60.0
PAIRS = [(one, other) for one in range(8) for other in range(one)]
RAILS = "nodes,rail,value\n" + "".join(
    f'"n[{other},{one}]",rail{rail},{20 * (0.7 if rail == 1 else 1) * (0.8 if 5 in (one, other) else 1)}\n'
    for rail in range(4)
    for one, other in PAIRS
)
"""Past results: rail1 and n5 are slow."""


def export(folder: pathlib.Path) -> pathlib.Path:
    """Run the commands and return the file that they wrote."""
    textfiles, rails = folder / "textfiles", folder / "rails.csv"
    textfiles.mkdir()
    rails.write_text(RAILS, encoding="utf-8")
    fabric = ROOT / "data" / "fabric_nvlink_model" / "fabric.toml"
    ncclprobe("watch", "--every", "1s", "--count", "2", "--out", folder / "watch", "--seed", 1, "--",
              "sweep", "--fabric", fabric, "--sizes", "8,256K,2M")  # fmt: skip
    ncclprobe("nodes", "--from", rails, "--out", folder / "rails")
    ncclprobe("scan", "--from", ROOT / "data" / "fleet_dgx_12hca", "--out", folder / "scan")
    sweep = sorted(path for path in (folder / "watch").iterdir() if path.is_dir())[-1]
    runs = [folder / "watch", sweep, folder / "rails", folder / "scan", ROOT / "data/demo_2cores_202611"]
    ncclprobe("report", *runs, "--prometheus", textfiles / "ncclprobe.prom")
    return textfiles / "ncclprobe.prom"


def ncclprobe(*tokens: object) -> None:
    name, *rest = map(str, tokens)
    ended = subprocess.run([sys.executable, "-m", "ncclprobe", name, "--quiet", *rest], check=False)
    if ended.returncode not in (0, 3):
        raise SystemExit(f"ncclprobe {' '.join([name, *rest])} ended with {ended.returncode}")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def queries() -> Iterator[tuple[str, str]]:
    """Yield each panel's title with each of its queries, Grafana's variable replaced as `All` is."""
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"].replace("$instance", ".*")


def answer(port: int, query: str) -> list[Any]:
    url = f"http://127.0.0.1:{port}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            found: list[Any] = json.load(response)["data"]["result"]
            return found
    except (urllib.error.URLError, ConnectionError):
        return []


def wait_for_scrape(port: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not answer(port, "ncclprobe_build_info"):
        if time.monotonic() > deadline:
            raise SystemExit(f"Prometheus has no ncclprobe_build_info after {PATIENCE_S:g} s")
        time.sleep(0.2)


def started(folder: pathlib.Path, textfiles: pathlib.Path) -> tuple[int, list[subprocess.Popen[bytes]]]:
    """Start node_exporter and Prometheus, and return Prometheus' port."""
    exporter, server = free_port(), free_port()
    config = folder / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
        f"scrape_configs: [{{job_name: node, static_configs: [{{targets: ['127.0.0.1:{exporter}']}}]}}]\n"
    )
    commands = [
        ["prometheus-node-exporter", "--collector.disable-defaults", "--collector.textfile",
         f"--collector.textfile.directory={textfiles}", f"--web.listen-address=127.0.0.1:{exporter}"],
        ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}",
         f"--web.listen-address=127.0.0.1:{server}"],
    ]  # fmt: skip
    nowhere = subprocess.DEVNULL
    return server, [subprocess.Popen(command, stdout=nowhere, stderr=nowhere) for command in commands]


def main() -> int:
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        print(f"missing: {', '.join(missing)}; Debian: apt-get install {' '.join(PROGRAMS)}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        port, processes = started(folder, export(folder).parent)
        try:
            wait_for_scrape(port)
            empty = [title for title, query in queries() if not told(title, query, answer(port, query))]
        finally:
            for process in processes:
                process.terminate()
                process.wait()
    print(f"{sum(1 for _ in queries())} queries, {len(empty)} without data")
    return 1 if empty else 0


def told(title: str, query: str, found: list[Any]) -> bool:
    print(f"{len(found):4} series  {title}: {query}")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
