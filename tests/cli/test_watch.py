"""``watch``: the schedule, the history, what it notices, and what goes wrong."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import Any

import jsonschema
import pytest

from ncclprobe.cli.schema import document_schema
from ncclprobe.errors import UsageError
from ncclprobe.units import parse_seconds

NODES = 'name = "eight"\nnodes = 8\ngpus_per_node = 8\n[noise]\ncv = 0.01\n'
SWEEP = (
    'name = "pair"\nnodes = 2\ngpus_per_node = 8\n[model.Ring]\n'
    "Simple = {{ latency_us = 30.0, bandwidth_gbps = {bandwidth} }}\n"
    "LL = {{ latency_us = 40.0, bandwidth_gbps = 40.0 }}\n"
    "[noise]\ncv = 0.01\nlaunch_cv = 0.005\n"
)


def watch(
    folder: pathlib.Path, *arguments: str, count: int = 1, every: str = "0.1s"
) -> tuple[int, dict[str, Any], str]:
    """Return the exit status, the document and what was said on stderr."""
    start = [
        sys.executable,
        "-m",
        "ncclprobe",
        "watch",
        "--json",
        "--every",
        every,
        "--count",
        str(count),
        "--seed",
        "1",
    ]
    ended = subprocess.run(
        [*start, "--out", "history", *arguments], capture_output=True, text=True, cwd=folder, check=False, timeout=200
    )
    document = json.loads(ended.stdout) if ended.stdout else {}
    return ended.returncode, document, ended.stderr


def codes(document: dict[str, Any]) -> list[str]:
    return [finding["code"] for finding in document["findings"]]


def test_checks_are_repeated_and_kept(tmp_path: pathlib.Path) -> None:
    (tmp_path / "f.toml").write_text(NODES)
    status, document, said = watch(tmp_path, "--prometheus", "n.prom", "--", "nodes", "--fabric", "f.toml", count=2)
    jsonschema.validate(document, document_schema("watch"))
    assert (status, codes(document)) == (0, [])
    assert [check["status"] for check in document["checks"]] == ["done", "done"]
    assert [check["message"] for check in document["checks"]] == ["8 nodes; none stands out."] * 2
    assert [line.split(" ", 1)[1].split(",")[0] for line in said.splitlines()] == ["check 1", "check 2"]
    runs = [tmp_path / "history" / check["path"] for check in document["checks"]]
    assert [json.loads((run / "manifest.json").read_bytes())["seed"] for run in runs] == [1, 2]
    metrics = (tmp_path / "n.prom").read_text()
    assert 'ncclprobe_watch_checks_total{check="nodes"} 2.0\n' in metrics
    assert 'ncclprobe_nodes{status="ok"} 8.0\n' in metrics
    assert json.loads((tmp_path / "history" / "document.json").read_bytes())["checks"] == document["checks"]


def test_a_later_watch_goes_on_with_the_history_and_names_the_node_that_changed(tmp_path: pathlib.Path) -> None:
    fabric = tmp_path / "f.toml"
    fabric.write_text(NODES)
    assert watch(tmp_path, "--", "nodes", "--fabric", "f.toml", count=3)[0] == 0
    fabric.write_text(NODES + "[slow_nodes]\nnode3 = 0.8\n")
    names = {path.read_text() for path in (tmp_path / "history").glob("*/hostfile")}
    node = sorted(name for text in names for name in text.split())[2]
    fabric.write_text(NODES + f"[slow_nodes]\n{node} = 0.8\n")
    status, document, said = watch(tmp_path, "--", "nodes", "--fabric", "f.toml", count=3)
    assert (status, len(document["checks"])) == (3, 6)
    changed = [finding for finding in document["findings"] if finding["code"] == "node-changed"]
    assert [finding["subject"] for finding in changed] == [node]
    assert said.count(f"warning node-changed ({node}): ") == 1, "said when it is first seen"
    since = changed[0]["message"].partition(" since ")[2][: len("2026-11-22T00:00:00Z")]
    started = [check["started"] for check in document["checks"]]
    assert started[3] <= since <= started[4], "since the first check after the change"


def test_a_sweep_that_reaches_less_than_before_is_noticed(tmp_path: pathlib.Path) -> None:
    fabric = tmp_path / "f.toml"
    check = ("--", "sweep", "--fabric", "f.toml", "--sizes", "8,64M")
    fabric.write_text(SWEEP.format(bandwidth=300.0))
    assert codes(watch(tmp_path, *check, count=3)[1]) == []
    fabric.write_text(SWEEP.format(bandwidth=200.0))
    status, document, _ = watch(tmp_path, *check)
    (change,) = [finding for finding in document["findings"] if finding["code"] == "level-changed"]
    assert (status, change["severity"]) == (0, "warning")
    assert "slower" in change["message"]
    assert "(default all_reduce float32 of 64M, GB/s)" in change["message"]


def test_another_answer_of_the_sweep_is_noticed(tmp_path: pathlib.Path) -> None:
    fabric, model = tmp_path / "f.toml", SWEEP.format(bandwidth=300.0)
    check = ("--", "sweep", "--fabric", "f.toml", "--sizes", "8")
    fabric.write_text(model)
    assert codes(watch(tmp_path, *check)[1]) == []
    default = "[model.default]\ndefault = { latency_us = 50.0, bandwidth_gbps = 100.0 }\n"
    fabric.write_text(model.replace("[model.Ring]", default + "[model.Ring]"))
    _, document, said = watch(tmp_path, *check)
    (change,) = [finding for finding in document["findings"] if finding["code"] == "choice-changed"]
    assert change["message"] == "the sweep's answer was keep-defaults and is change"
    assert "warning choice-changed" in said


def test_a_failed_check_is_counted_and_the_next_one_runs(tmp_path: pathlib.Path) -> None:
    check = ("--prometheus", "n.prom", "--", "nodes", "--fabric", "f.toml")
    (tmp_path / "f.toml").write_text("nodes = eight\n")
    status, document, _ = watch(tmp_path, *check, count=2)
    assert (status, codes(document)) == (3, ["check-failed"])
    assert [check["status"] for check in document["checks"]] == ["failed", "failed"]
    assert "f.toml" in document["checks"][0]["message"]
    (tmp_path / "f.toml").write_text(NODES)
    status, document, _ = watch(tmp_path, *check)
    assert (status, [finding["severity"] for finding in document["findings"]]) == (0, ["warning"])
    assert 'ncclprobe_watch_failed_checks_total{check="nodes"} 2.0\n' in (tmp_path / "n.prom").read_text()


def test_a_first_check_that_refuses_its_options_ends_the_watch_with_its_error(tmp_path: pathlib.Path) -> None:
    check = ("--", "nodes", "--fabric", "f.toml")
    status, document, said = watch(tmp_path, *check, count=2)
    assert (status, document) == (2, {})
    assert said.splitlines()[-1].startswith("Error: ")
    assert "f.toml" in said.splitlines()[-1]
    (tmp_path / "f.toml").write_text(NODES)
    status, document, _ = watch(tmp_path, *check)
    assert (status, codes(document), len(document["checks"])) == (0, [], 1), "a new history doesn't count it"
    (tmp_path / "f.toml").unlink()
    assert watch(tmp_path, *check, count=2)[0] == 2
    (tmp_path / "f.toml").write_text(NODES)
    _, document, _ = watch(tmp_path, *check)
    assert [one["status"] for one in document["checks"]] == ["done", "failed", "done"]


def test_a_check_that_takes_too_long_is_ended(tmp_path: pathlib.Path) -> None:
    workload = ("validate-e2e", "--workload", "command", "--metric", "(x)", "--candidate", "A=1", "--", "sleep", "60")
    status, document, _ = watch(tmp_path, "--timeout", "3s", "--", *workload)
    assert (status, document["checks"][0]["status"]) == (3, "failed")
    assert document["checks"][0]["message"] == "it took longer than 3 s"
    assert document["checks"][0]["seconds"] < 30


def test_a_damaged_run_of_the_history_does_not_end_the_watch(tmp_path: pathlib.Path) -> None:
    (tmp_path / "f.toml").write_text(NODES)
    check = ("--", "nodes", "--fabric", "f.toml")
    _, document, _ = watch(tmp_path, *check, count=2)
    (tmp_path / "history" / document["checks"][0]["path"] / "manifest.json").write_text("{")
    status, document, _ = watch(tmp_path, *check)
    assert (status, len(document["checks"])) == (0, 3)


def test_an_interrupted_watch_leaves_its_answer_and_nothing_running(tmp_path: pathlib.Path) -> None:
    (tmp_path / "f.toml").write_text(NODES)
    command = [
        sys.executable,
        "-m",
        "ncclprobe",
        "watch",
        "--every",
        "1h",
        "--out",
        "h",
        "--",
        "nodes",
        "--fabric",
        "f.toml",
    ]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "h" / "journal.jsonl").exists() or not (tmp_path / "h" / "journal.jsonl").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said.splitlines()[-1]) == (130, "Interrupted; what was measured is kept.")
    assert len((tmp_path / "h" / "journal.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize("check", [("tune",), ("report", "x"), ("no-such",)])
def test_other_commands_are_no_checks(check: tuple[str, ...], tmp_path: pathlib.Path) -> None:
    status, _, said = watch(tmp_path, "--", *check)
    assert (status, said.startswith(f"Error: {check[0]!r} is no check; ")) == (2, True)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("1h", 3600), ("1.5h", 5400), ("1d", 86400), ("7", 7)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "0s", "-1m", "1w", "1 h 30 m"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError, match="is no duration"):
        parse_seconds(text)
