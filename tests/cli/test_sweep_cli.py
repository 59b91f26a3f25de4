"""``ncclprobe sweep`` from end to end on simulated fabrics: what it prints, writes, exits with, and survives."""

from __future__ import annotations

import collections
import json
import math
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

import jsonschema
import msgspec
import pytest

from ncclprobe.cli import main
from ncclprobe.cli.schema import document_schema
from ncclprobe.cli.sweep import command
from ncclprobe.records.sweep import Status, SweepDocument
from ncclprobe.report.text.sweep import verdict_sentence
from ncclprobe.store import RunDirectory

ROOT = pathlib.Path(__file__).parents[2]
TWO_NODES = ROOT / "data" / "fabric_two_nodes" / "fabric.toml"
CSV_HEADER = "collective,dtype,size_bytes,algo,proto,nchannels,time_us"

ONE_WINNER = """\
name = "one winner"
nodes = ["a", "b"]
gpus_per_node = 4
[times]
table = "times.csv"
[noise]
cv = 0.03
launch_cv = 0.005
"""
ROWS = [
    *((size, "default", "", size / 1000 + 10) for size in (1024, 32768, 1048576)),
    *((size, "Tree", "LL", size / 1000 + 10) for size in (1024, 32768, 1048576)),
    *((size, "Tree", "LL128", (size / 1000 + 10) * 1.5) for size in (1024, 32768, 1048576)),
    *(
        (size, "Ring", "Simple", (size / 1000 + 10) / (1.0 if size == 1024 else 1.12))
        for size in (1024, 32768, 1048576)
    ),
]
LOUD = """\
name = "loud"
nodes = 2
gpus_per_node = 4
[model.Tree]
LL = { latency_us = 20, bandwidth_gbps = 40 }
Simple = { latency_us = 19, bandwidth_gbps = 45 }
[model.Ring]
LL = { latency_us = 21, bandwidth_gbps = 44 }
[noise]
cv = 0.08
launch_cv = 0.01
"""
"""Takes some 1500 lines of journal."""


def fabric(folder: pathlib.Path, extra: str = "", rows=ROWS) -> pathlib.Path:
    lines = [f"all_reduce,float32,{size},{algo},{proto},,{t:.4f}" for size, algo, proto, t in rows]
    (folder / "times.csv").write_text("\n".join([CSV_HEADER, *lines]) + "\n")
    path = folder / "fabric.toml"
    path.write_text(ONE_WINNER + extra)
    return path


@pytest.fixture
def sweep(tmp_path, monkeypatch, capsys):
    """Run ``ncclprobe sweep`` in this process; returns exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(["sweep", *map(str, arguments)])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return int(caught.value.code or 0), printed.out, printed.err

    return run


@pytest.fixture
def document(sweep):
    def run(*arguments: object, status: int = 0) -> dict:
        code, out, err = sweep(*arguments, "--json")
        assert code == status, err
        content = json.loads(out)
        jsonschema.validate(content, document_schema("sweep"))
        return content

    return run


def process(*arguments: object, cwd: pathlib.Path) -> subprocess.Popen[str]:
    environment = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "ncclprobe", "sweep", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=cwd, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def names(cell: dict) -> tuple:
    return cell["size_bytes"], cell["algo"], cell["proto"], cell["nchannels"]


def codes(content: dict) -> dict[str, str]:
    return {finding["code"]: finding["severity"] for finding in content["findings"]}


# ---- the document


def test_a_winner_is_reported_as_the_contract_says(tmp_path, document):
    found = document("--fabric", fabric(tmp_path), "--seed", 1, "--out", "run")
    assert found["schema"] == "ncclprobe.sweep/1"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found["created"])
    assert (found["backend"], found["nranks"], found["nnodes"], found["seed"]) == ("sim", 8, 2, 1)
    expected = [
        (size, algo, proto, None)
        for size in (1024, 32768, 1048576)
        for algo, proto in (("default", "default"), ("Tree", "LL"), ("Tree", "LL128"), ("Ring", "Simple"))
    ]
    assert list(map(names, found["cells"])) == expected
    for cell in found["cells"]:
        assert set(cell) == {
            "collective", "dtype", "size_bytes", "algo", "proto", "nchannels", "samples", "time_us", "algbw_gbps",
            "busbw_gbps", "wrong", "status", "vs_default", "message", "env",
        }  # fmt: skip
        assert set(cell["time_us"]) == {"median", "low", "high"}
        assert cell["vs_default"] is None if cell["algo"] == "default" else set(cell["vs_default"]) == {
            "ratio", "low", "high",
        }  # fmt: skip
        assert (cell["collective"], cell["dtype"], cell["wrong"]) == ("all_reduce", "float32", 0)
        assert cell["status"] in ("ok", "eliminated")
    choice = found["choice"]
    assert choice["verdict"] == "change"
    assert choice["table"] == [
        {
            "collective": "all_reduce",
            "min_bytes": 32768,
            "max_bytes": 1048576,
            "algo": "Ring",
            "proto": "Simple",
            "nchannels": None,
        }
    ]
    assert set(choice["gain"]) == {"ratio", "low", "high"}
    assert choice["gain"]["low"] < 1.12 ** (2 / 3) < choice["gain"]["high"]
    assert set(found["cost"]) == {"measured_s", "exhaustive_s"}
    assert json.loads((tmp_path / "run" / "document.json").read_text()) == found


def test_equal_cells_keep_the_defaults(tmp_path, document):
    rows = [(size, algo, proto, 20.0) for size in (8, 512) for algo, proto in (("default", ""), ("Tree", "LL"))]
    found = document("--fabric", fabric(tmp_path, rows=rows), "--seed", 1)
    assert found["choice"] == {
        "verdict": "keep-defaults",
        "env": {},
        "table": [],
        "gain": {"ratio": 1.0, "low": 1.0, "high": 1.0},
    }
    assert found["findings"] == []


def test_one_setting_for_all_sizes_has_variables(tmp_path, document):
    rows = [(size, algo, proto, 20.0 if algo == "default" else 15.0)
            for size in (8, 512) for algo, proto in (("default", ""), ("Tree", "LL"))]  # fmt: skip
    found = document("--fabric", fabric(tmp_path, rows=rows), "--seed", 1)
    assert found["choice"]["env"] == {"NCCL_ALGO": "allreduce:tree", "NCCL_PROTO": "allreduce:ll"}
    assert "table-only" not in codes(found)


def test_a_choice_without_variables_says_where_to_get_the_table(tmp_path, document):
    slower = [(s, a, p, t * 1.2 if (s, a) == (1024, "Ring") else t) for s, a, p, t in ROWS]
    found = document("--fabric", fabric(tmp_path, rows=slower), "--seed", 1)
    assert found["choice"]["env"] == {}
    assert codes(found) == {"table-only": "info"}


def test_cells_and_sizes_as_asked_for(document):
    found = document(
        "--fabric", TWO_NODES, "--algo", "tree,RING", "--proto", "Simple", "--sizes", "1K:64K:8", "--seed", 1
    )
    assert {names(cell) for cell in found["cells"]} == {
        (size, algo, proto, None)
        for size in (1024, 8192, 65536)
        for algo, proto in (("default", "default"), ("Tree", "Simple"), ("Ring", "Simple"))
    }


def test_channels_as_asked_for(document):
    path = ROOT / "data" / "fabric_nvlink_model" / "fabric.toml"
    found = document(
        "--fabric", path, "--algo", "Tree", "--proto", "LL", "--channels", "1,16", "--sizes", "8,64", "--seed", 1
    )
    assert {names(cell)[1:] for cell in found["cells"]} == {
        ("default", "default", None), ("Tree", "LL", 1), ("Tree", "LL", 16),
    }  # fmt: skip


def test_another_collective_of_a_model(document):
    found = document(
        "--fabric", TWO_NODES, "--collective", "all_gather", "--sizes", "64K", "--dtype", "bfloat16", "--seed", 1
    )
    cell = found["cells"][0]
    assert (cell["collective"], cell["dtype"]) == ("all_gather", "bfloat16")
    assert cell["busbw_gbps"] == pytest.approx(cell["algbw_gbps"] * 15 / 16)


def test_the_same_seed_gives_the_same_document(tmp_path, document):
    described = fabric(tmp_path)
    one, other, third = (document("--fabric", described, "--seed", seed) for seed in (5, 5, 6))
    for content in (one, other, third):
        del content["created"]
    assert one == other
    assert one["cells"] != third["cells"]


def test_a_seed_is_drawn_and_recorded(tmp_path, document):
    found = document("--fabric", fabric(tmp_path), "--out", "run")
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["seed"] == found["seed"]


def test_cost_recomputed_from_the_journal(tmp_path, document):
    found = document("--fabric", fabric(tmp_path), "--seed", 2, "--out", "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "journal.jsonl").read_text().splitlines()]
    measurements = [line for line in lines if line["kind"] == "measurement"]
    assert found["cost"]["measured_s"] == pytest.approx(sum(line["spent_s"] for line in measurements))
    logs = collections.defaultdict(list)
    for line in measurements:
        if not line["warmup"]:
            for cell, t in zip(line["cells"], line["times_us"], strict=True):
                logs[line["point"]["size_bytes"], cell["algo"], cell["proto"]].append(math.log(t))
    means = {group: sum(values) / len(values) for group, values in logs.items()}
    squares = sum((x - means[group]) ** 2 for group, values in logs.items() for x in values)
    spread = math.sqrt(squares / sum(len(values) - 1 for values in logs.values()))
    n = max(20, 2 * (2.7729213 * spread / 0.01) ** 2)  # the normal quantile of 1 - 0.05 / (2 * 9)
    medians = [cell["time_us"]["median"] for cell in found["cells"]]
    assert len(medians) == 12
    assert found["cost"]["exhaustive_s"] == pytest.approx(n * sum(medians) / 1e6, rel=1e-3)
    assert {cell["samples"] for cell in found["cells"]} == {len(values) for values in logs.values()}
    assert found["cost"]["measured_s"] < found["cost"]["exhaustive_s"]


# ---- broken cells, and the exit status


@pytest.mark.parametrize(
    ("kind", "code", "status"), [("wrong", "wrong-result", "wrong"), ("hang", "cell-timeout", "timeout")]
)
@pytest.mark.parametrize("rate", [1.0, 0.2])
def test_a_broken_cell_is_named_and_never_chosen(tmp_path, document, kind, code, status, rate):
    fault = f'[[faults]]\nkind = "{kind}"\nalgo = "Tree"\nproto = "LL"\nrate = {rate}\n'
    faster = [(s, a, p, t / 2 if (a, p) == ("Tree", "LL") else t) for s, a, p, t in ROWS]
    found = document("--fabric", fabric(tmp_path, fault, faster), "--seed", 1, "--timeout", 2, status=3)
    assert codes(found)[code] == "error"
    assert [f["subject"] for f in found["findings"] if f["code"] == code] == ["Tree/LL"]
    assert {c["status"] for c in found["cells"] if names(c)[1:3] == ("Tree", "LL")} == {status}
    assert [row["algo"] for row in found["choice"]["table"]] == ["Ring"]
    assert (found["cost"]["measured_s"] > 2) == (kind == "hang")
    others = [c for c in found["cells"] if names(c)[1:3] in (("Tree", "LL128"), ("Ring", "Simple"))]
    assert all(c["status"] in ("ok", "eliminated") and c["vs_default"] for c in others)


@pytest.mark.parametrize("kind", ["wrong", "hang"])
def test_a_broken_default_is_an_error_and_no_choice(tmp_path, document, kind):
    fault = f'[[faults]]\nkind = "{kind}"\nalgo = "default"\n'
    found = document("--fabric", fabric(tmp_path, fault), "--seed", 1, status=3)
    assert codes(found) == {"default-broken": "error"}
    assert found["choice"]["verdict"] == "keep-defaults"
    sentence = verdict_sentence(msgspec.convert(found, SweepDocument))
    assert sentence.startswith("No answer: the library's own choice does not work, so nothing can be compared with it")
    assert found["launches"] == 1
    assert {c["status"] for c in found["cells"] if c["algo"] == "default"} == {
        "wrong" if kind == "wrong" else "timeout"
    }


def test_a_size_that_lacks_a_cell_is_said(tmp_path, document):
    found = document("--fabric", fabric(tmp_path, rows=[r for r in ROWS if r[:3] != (1024, "Tree", "LL")]), "--seed", 1)
    assert codes(found)["cell-refused"] == "info"
    (finding,) = [f for f in found["findings"] if f["code"] == "cell-refused"]
    assert finding["message"] == "the library refuses Tree/LL at 1K"
    refused = [c for c in found["cells"] if c["status"] == "refused"]
    assert [names(c) for c in refused] == [(1024, "Tree", "LL", None)]
    assert refused[0]["time_us"] is None
    assert refused[0]["samples"] == 0


def test_a_spent_budget_is_said(tmp_path, document):
    found = document("--fabric", fabric(tmp_path), "--seed", 1, "--budget", 1e-9)
    assert codes(found) == {"budget-spent": "warning"}
    assert found["findings"][0]["subject"] == "1K, 32K, 1M"
    assert found["choice"]["verdict"] == "keep-defaults"
    assert found["launches"] == 1
    assert all(c["vs_default"] is None for c in found["cells"])  # one launch: nothing about the spread between launches


def test_a_tight_budget_says_what_it_can_tell(tmp_path, document):
    (tmp_path / "loud.toml").write_text(LOUD.replace("cv = 0.08", "cv = 0.2"))
    found = document("--fabric", "loud.toml", "--sizes", "1K,1M", "--seed", 1, "--budget", 0.1)
    assert found["cost"]["measured_s"] < 0.15
    assert set(codes(found)) & {"coarse-resolution", "budget-spent"}


def test_exhaustive_drops_nothing(tmp_path, document):
    usual, full = (document("--fabric", fabric(tmp_path), "--seed", 1, *more) for more in ((), ("--exhaustive",)))
    assert {c["status"] for c in full["cells"]} == {"ok"}
    assert "eliminated" in {c["status"] for c in usual["cells"]}
    assert min(c["samples"] for c in full["cells"]) > 3 * min(c["samples"] for c in usual["cells"])
    assert full["choice"]["table"] == usual["choice"]["table"]


# ---- what people read


def test_the_text(tmp_path, sweep):
    code, out, err = sweep("--fabric", fabric(tmp_path), "--seed", 1, "--out", "run")
    assert code == 0
    lines = out.splitlines()
    sentence = (
        r"Change: \d\.\d % faster \(95 % interval \d+\.\d to \d+\.\d %\) over all measured sizes, by one range of"
    )
    assert re.match(sentence, " ".join(lines))
    assert max(map(len, lines)) <= 80
    (row,) = [line.split() for line in lines if line.strip().startswith("32K")]
    assert (row[0], row[4], row[-1]) == ("32K", "Ring/Simple", "*")
    (row,) = [line.split() for line in lines if line.strip().startswith("1K")]
    assert row[-1] != "*"
    assert [line.split() for line in lines if line.startswith("all_reduce")] == [
        ["all_reduce", "32K", "1M", "Ring/Simple"]
    ]
    assert "Run directory: run" in lines
    assert err.splitlines()[0] == "simulated fabric one winner, 8 ranks: 3 cells at 3 sizes"


def test_the_text_without_a_winner(sweep):
    code, out, _ = sweep("--fabric", TWO_NODES, "--sizes", "8,1M", "--seed", 1)
    assert code == 0
    assert out.startswith("Keep the defaults: no setting beats them clearly at any size")
    assert "*" not in out
    assert max(map(len, out.splitlines())) <= 80


def test_json_is_all_there_is_on_stdout(tmp_path, sweep):
    _, out, err = sweep("--fabric", fabric(tmp_path), "--seed", 1, "--json")
    assert out.count("\n") == 1
    assert json.loads(out)["schema"] == "ncclprobe.sweep/1"
    assert "cells at 3 sizes" in err


def test_help_names_files_that_are_there(sweep):
    code, out, _ = sweep("--help")
    assert code == 0
    examples = [line for line in out.splitlines() if line.startswith("  ncclprobe sweep")]
    assert len(examples) >= 2
    for path in re.findall(r"\S+\.toml", "\n".join(examples)):
        assert (ROOT / path).exists()


# ---- usage


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--fabric", TWO_NODES, "--algo", "Tree,NVLS"],
            "--algo NVLS: the backend does not have it; it has Ring, Tree",
        ),
        (["--fabric", TWO_NODES, "--proto", "LL64"], "--proto LL64: the backend does not have it; it has"),
        (["--fabric", TWO_NODES, "--channels", "4"], "--channels 4: the backend does not have it"),
        (["--fabric", TWO_NODES, "--channels", "many"], "--channels 'many': write numbers over 0"),
        (["--fabric", TWO_NODES, "--channels", "0"], "--channels '0': write numbers over 0"),
        (["--fabric", TWO_NODES, "--sizes", "8Q"], "'8Q' is no size"),
        (["--fabric", TWO_NODES, "--nranks", "3"], "--nranks 3, but"),
        (["--backend", "sim"], "add --fabric FILE.toml"),
        (["--backend", "mpi", "--fabric", TWO_NODES], "leave it away with --backend mpi"),
        (["--fabric", "nowhere.toml"], "cannot read"),
        (["--fabric", TWO_NODES, "--budget", "0"], "--budget"),
        (["--fabric", TWO_NODES, "--backend", "cuda"], "--backend"),
        (["--fabric", TWO_NODES, "--collective", "gather"], "--collective"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_usage_errors(sweep, tmp_path, arguments, message):
    code, out, err = sweep(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert not (tmp_path / "ncclprobe-runs").exists()  # nothing is left of a run that could not begin


def test_a_fabric_that_is_none_is_an_error(tmp_path, sweep):
    (tmp_path / "f.toml").write_text("[noise]\ncv = -1\n")
    code, _, err = sweep("--fabric", "f.toml")
    assert code == 1
    assert "f.toml: [noise] cv = -1" in err


# ---- run directories


def test_a_run_directory_by_default(tmp_path, sweep):
    assert sweep("--fabric", fabric(tmp_path), "--seed", 1)[0] == 0
    (run,) = (tmp_path / "ncclprobe-runs").iterdir()
    assert re.fullmatch(r"\d{8}T\d{6}Z-sweep", run.name)
    assert {path.name for path in run.iterdir()} == {"manifest.json", "journal.jsonl", "document.json"}
    manifest = json.loads((run / "manifest.json").read_text())
    assert (manifest["command"], manifest["options"]["backend"]) == ("sweep", "sim")


def test_a_directory_that_holds_a_run_is_not_overwritten(tmp_path, sweep):
    sweep("--fabric", fabric(tmp_path), "--seed", 1, "--out", "run")
    before = (tmp_path / "run" / "journal.jsonl").read_bytes()
    code, _, err = sweep("--fabric", fabric(tmp_path), "--seed", 2, "--out", "run")
    assert code == 1
    assert "already holds a run; go on with --resume run" in err
    assert (tmp_path / "run" / "journal.jsonl").read_bytes() == before


def test_a_finished_run_resumes_to_the_same_document(tmp_path, document):
    first = document("--fabric", fabric(tmp_path), "--seed", 1, "--out", "run")
    journal = (tmp_path / "run" / "journal.jsonl").read_bytes()
    again = document("--resume", "run")
    assert {**again, "created": ""} == {**first, "created": ""}
    assert (tmp_path / "run" / "journal.jsonl").read_bytes() == journal


@pytest.mark.parametrize(
    "option", [["--seed", 2], ["--algo", "Tree"], ["--out", "other"], ["--exhaustive"], ["--fabric", TWO_NODES]]
)
def test_resume_takes_no_other_options(tmp_path, sweep, option):
    sweep("--fabric", fabric(tmp_path), "--seed", 1, "--out", "run")
    code, _, err = sweep("--resume", "run", *option)
    assert code == 2
    assert f"--resume goes on with the run's own options; leave {option[0]} away" in err


def test_resume_needs_a_run_of_sweep(tmp_path, sweep):
    code, _, err = sweep("--resume", "nowhere")
    assert code == 2
    assert "nowhere is no run directory" in err
    (tmp_path / "scan").mkdir()
    (tmp_path / "scan" / "manifest.json").write_text('{"command": "scan", "argv": [], "seed": 1}')
    code, _, err = sweep("--resume", "scan")
    assert code == 1
    assert "holds a run of 'scan', not of 'sweep'" in err


def test_a_journal_of_another_plan_is_refused(tmp_path, sweep):
    sweep("--fabric", fabric(tmp_path), "--seed", 1, "--out", "run")
    manifest = tmp_path / "run" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"seed": 1', '"seed": 2'))
    code, _, err = sweep("--resume", "run")
    assert code == 1
    assert "was measured by another plan or version" in err


def test_a_torn_last_line_is_dropped_and_said(tmp_path, document):
    first = document("--fabric", fabric(tmp_path), "--seed", 1, "--out", "run")
    journal = tmp_path / "run" / "journal.jsonl"
    whole = journal.read_bytes()
    cut = whole.index(b"\n", len(whole) // 2) + 20
    journal.write_bytes(whole[:cut])
    again = document("--resume", "run")
    assert codes(again)["torn-line"] == "info"
    assert [names(c) for c in again["cells"]] == [names(c) for c in first["cells"]]
    assert journal.read_bytes().startswith(whole[: cut - 20])


def test_a_second_process_in_the_directory_is_refused(tmp_path):
    described = fabric(tmp_path)
    first = process("--fabric", described, "--seed", 1, "--out", "run", cwd=tmp_path)
    assert first.communicate(timeout=60)[0]
    before = (tmp_path / "run" / "journal.jsonl").read_bytes()
    with RunDirectory.resume(tmp_path / "run", "sweep"):
        second = process("--resume", "run", cwd=tmp_path)
        _, err = second.communicate(timeout=60)
    assert second.returncode == 1
    assert "another process is writing to run" in err
    assert (tmp_path / "run" / "journal.jsonl").read_bytes() == before


# ---- kills


def lines_in(journal: pathlib.Path) -> int:
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def killed(at_line: int, *arguments: object, cwd: pathlib.Path) -> bool:
    """Run a sweep, kill it once its journal has so many lines, and return whether that came in time."""
    running = process(*arguments, cwd=cwd)
    deadline = time.monotonic() + 60
    while running.poll() is None and lines_in(cwd / "run" / "journal.jsonl") < at_line and time.monotonic() < deadline:
        time.sleep(0.001)
    running.kill()
    running.communicate(timeout=60)
    return running.returncode == -signal.SIGKILL


def keys_of(journal: bytes) -> list[tuple]:
    """Return what makes a line of the journal one of its kind."""
    found = []
    for line in map(json.loads, journal.splitlines()):
        if line["kind"] == "measurement":
            found.append(("measurement", line["launch"], line["point"]["size_bytes"], line["warmup"], line["block"]))
        else:
            found.append((line["kind"], line.get("index", line.get("launch"))))
    return found


def test_five_kills_lose_nothing_but_what_was_in_flight(tmp_path):
    (tmp_path / "loud.toml").write_text(LOUD)
    options = ["--fabric", "loud.toml", "--sizes", "1K:1M:32", "--seed", 1, "--json"]
    whole = process(*options, "--out", "whole", cwd=tmp_path)
    uninterrupted = json.loads(whole.communicate(timeout=60)[0])
    journal, total = tmp_path / "run" / "journal.jsonl", lines_in(tmp_path / "whole" / "journal.jsonl")
    rng, kills, kept = random.Random(7), 0, b""
    while kills < 5:
        have = kept.count(b"\n")
        moment = have + rng.randint(1, max(1, (total - have) // 3))
        assert killed(moment, *(["--resume", "run"] if kills else [*options, "--out", "run"]), cwd=tmp_path)
        kills += 1
        now = journal.read_bytes()
        assert now.startswith(kept)  # every line that was whole is there, as it was
        kept = now[: now.rfind(b"\n") + 1]
    last = process("--resume", "run", "--json", cwd=tmp_path)
    resumed = json.loads(last.communicate(timeout=60)[0])
    final = journal.read_bytes()
    assert final.startswith(kept)
    assert [key for key, count in collections.Counter(keys_of(final)).items() if count > 1] == []
    assert {names(c) for c in resumed["cells"]} == {names(c) for c in uninterrupted["cells"]}
    assert resumed["choice"]["verdict"] == uninterrupted["choice"]["verdict"]
    jsonschema.validate(resumed, document_schema("sweep"))
    samples = collections.Counter(
        (line["point"]["size_bytes"], cell["algo"], cell["proto"], cell["nchannels"])
        for line in map(json.loads, final.splitlines())
        if line["kind"] == "measurement" and not line["warmup"]
        for cell in line["cells"]
    )
    assert {names(c): c["samples"] for c in resumed["cells"]} == samples  # all that was measured counts, once


def test_ctrl_c_ends_it_at_once_and_says_what_is_kept(tmp_path):
    (tmp_path / "loud.toml").write_text(LOUD)
    sizes = "1K:1G:2"  # some ten thousands of lines: it surely runs when the signal comes
    running = process(
        "--fabric", "loud.toml", "--sizes", sizes, "--seed", 1, "--exhaustive", "--out", "run", cwd=tmp_path
    )
    deadline = time.monotonic() + 60
    while lines_in(tmp_path / "run" / "journal.jsonl") < 50 and time.monotonic() < deadline:
        time.sleep(0.001)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert err.splitlines()[-1] == "Interrupted; what was measured is kept."
    assert "Traceback" not in out + err


# ---- the page


def test_the_page_names_every_option():
    page = (ROOT / "docs" / "sweep.md").read_text()
    options = {option for parameter in command.params for option in parameter.opts}
    assert {option for option in options if f"`{option}" not in page} == set()


def test_the_page_names_every_status():
    page = (ROOT / "docs" / "sweep.md").read_text()
    assert [status for status in Status if f"| `{status}` |" not in page] == []
