"""``tune``: the whole pipeline on simulated fabrics, and on real ranks."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import jsonschema
import pytest

from ncclprobe.cli import main
from ncclprobe.cli.course import Course, Skipped
from ncclprobe.cli.schema import document_schema
from ncclprobe.cli.stages import STAGES, manifest
from ncclprobe.cli.tune import created, sweep_budget_s
from ncclprobe.records.base import Interval
from ncclprobe.records.e2e import E2eDocument, E2eVerdict
from ncclprobe.records.tune import StageName, TuneOptions
from ncclprobe.store import RunDirectory

ROOT = pathlib.Path(__file__).parents[2]
TWO_NODES = ROOT / "data" / "fabric_two_nodes" / "fabric.toml"
EIGHT_NODES = ROOT / "data" / "nodes_example" / "fabric.toml"
"""Without times of a collective: for ``nodes`` alone."""
NVLINK = ROOT / "data" / "fabric_nvlink_model" / "fabric.toml"


def status_of(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    return int(exit_.value.code or 0)


def tuned(path: pathlib.Path, capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    """Run the pipeline, check what it prints against its schema, and return it."""
    assert status_of("tune", "--json", "--out", path, *arguments) in (0, 3)
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, document_schema("tune"))
    assert document == json.loads((path / "document.json").read_bytes())
    return document


def stages(document: dict[str, Any]) -> dict[str, str]:
    return {stage["name"]: stage["status"] for stage in document["stages"]}


def test_defaults_stay_where_nothing_beats_them(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = tuned(tmp_path / "run", capsys, "--fabric", TWO_NODES, "--seed", 1)
    assert document["choice"] == "keep-defaults"
    assert document["backend"] == "sim"
    assert document["verdict"].startswith("Keep the defaults: ")
    assert document["verdict"].endswith("No workload was run: a simulated fabric runs no workload.")
    assert document["table"] == []
    assert stages(document) == {
        "scan": "done", "sweep": "done", "nodes": "done", "env": "done", "validate-e2e": "skipped",
    }  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "run" / "env").iterdir() if path.suffix != ".json") == [
        "journal.jsonl", "pbs.sh", "settings.sh", "slurm.sh",
    ]  # fmt: skip


def test_a_change_is_found_and_emitted(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = tuned(tmp_path / "run", capsys, "--backend", "sim", "--fabric", NVLINK, "--seed", 1)
    assert document["choice"] == "change"
    assert document["verdict"].startswith("Change: ")
    chosen = [row for row in document["table"] if row["min_bytes"] <= 2 << 20 <= row["max_bytes"]]
    assert [(row["algo"], row["proto"]) for row in chosen] == [("Ring", "LL128")]
    lines = (tmp_path / "run" / "env" / "tuner.csv").read_text().splitlines()
    assert sum(line.startswith("allreduce,") for line in lines) == len(document["table"])
    assert stages(document)["nodes"] == "skipped", "the fabric has one node"
    assert status_of("env", "emit", tmp_path / "run", "--format", "tuner") == 0
    emitted = capsys.readouterr().out.splitlines()
    assert [line for line in emitted if line[0] != "#"] == [line for line in lines if line[0] != "#"]


def test_each_stage_is_a_run_of_its_own(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = tuned(tmp_path / "run", capsys, "--fabric", TWO_NODES, "--seed", 1)
    folders = {stage["name"]: stage["path"] for stage in document["stages"] if stage["path"]}
    assert folders == {name: name for name in ("scan", "sweep", "nodes", "env")}
    for name in folders:
        content = json.loads((tmp_path / "run" / name / "document.json").read_bytes())
        jsonschema.validate(content, document_schema(name))
        assert all(finding in document["findings"] for finding in content["findings"])


def test_the_report_is_printed_and_kept(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = status_of("tune", "--fabric", TWO_NODES, "--seed", 1, "--out", tmp_path / "run")
    printed = capsys.readouterr().out
    kept = (tmp_path / "run" / "report.txt").read_text()
    assert kept.startswith("Keep the defaults: ")
    text, _, following = printed.partition("\n\nNext: ")
    assert text == f"{kept.rstrip()}\n\nRun directory: {tmp_path / 'run'}"
    assert status_of("report", tmp_path / "run") == status
    assert capsys.readouterr().out == f"{kept.rstrip()}\n\nNext: {following}"
    headings = [
        line for line, under in zip(kept.splitlines(), kept.splitlines()[1:], strict=False) if set(under) == {"="}
    ]
    assert headings == ["scan", "sweep", "nodes", "env", "Findings"]


def test_the_same_seed_gives_the_same_answer(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (tuned(tmp_path / name, capsys, "--fabric", NVLINK, "--seed", 5) for name in ("a", "b"))
    assert first["table"] == second["table"]
    assert first["seed"] == second["seed"] == 5


def test_sizes_and_ranks_are_passed_on(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    tuned(tmp_path / "run", capsys, "--fabric", TWO_NODES, "--seed", 1, "--sizes", "64K,1M", "--nranks", 16)
    sweep = json.loads((tmp_path / "run" / "sweep" / "document.json").read_bytes())
    assert {cell["size_bytes"] for cell in sweep["cells"]} == {64 << 10, 1 << 20}
    assert sweep["nranks"] == 16


def test_a_change_that_slows_the_workload_is_withdrawn(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def slower(course: Course, path: pathlib.Path) -> E2eDocument:
        document = E2eDocument(
            workload="proxy", metric="tok_s", baseline={}, candidate={}, trials=(), verdict=E2eVerdict.SLOWER,
            ratio=Interval(estimate=0.9, low=0.85, high=0.95), trials_per_arm=8,
        )  # fmt: skip
        with RunDirectory.create(path, manifest(course, StageName.VALIDATE)) as directory:
            directory.finish(document)
        return document

    monkeypatch.setitem(STAGES, StageName.VALIDATE, slower)
    document = tuned(tmp_path / "run", capsys, "--fabric", NVLINK, "--seed", 1)
    assert (document["choice"], document["table"]) == ("keep-defaults", [])
    assert [finding["code"] for finding in document["findings"]][-1] == "workload-slower"
    assert not (tmp_path / "run" / "env" / "tuner.csv").exists()
    assert "left out: the workload was slower" in (tmp_path / "run" / "env" / "settings.sh").read_text()
    assert status_of("env", "emit", tmp_path / "run", "--format", "tuner") == 0
    assert "No row: the library chooses at every size." in capsys.readouterr().out


def test_on_gpus_no_proxy_judges_what_it_does_not_run(tmp_path: pathlib.Path) -> None:
    options = TuneOptions(
        backend="nccl", fabric=None, nranks=2, sizes=None, sweep_budget_s=75.0, e2e_budget_s=30.0, seed=1
    )
    with created(options, tmp_path / "run") as directory:
        outcome = STAGES[StageName.VALIDATE](Course(directory), tmp_path / "run" / "validate-e2e")
    assert isinstance(outcome, Skipped)
    assert "says nothing of NCCL; validate-e2e --workload sglang does" in outcome.reason


@pytest.mark.parametrize(
    ("backend", "budget", "sweeping"), [("sim", None, None), ("nccl", None, 75.0), ("nccl", 10, 10), ("mpi", 10, 6)]
)
def test_the_sweep_has_the_budget_that_no_workload_takes(
    backend: str, budget: float | None, sweeping: float | None
) -> None:
    assert sweep_budget_s(backend, budget) == sweeping


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--backend", "mpi", "--fabric", str(TWO_NODES)], 2, "--fabric describes a simulated fabric"),
        (["--backend", "sim"], 2, "fabric"),
        (["--fabric", "/no/such/fabric.toml"], 2, "/no/such/fabric.toml"),
        (["--fabric", str(TWO_NODES), "--sizes", "8:"], 2, "is no size"),
        (["--fabric", str(EIGHT_NODES)], 2, "the fabric 'eight nodes' has no times for all_reduce"),
        (["--backend", "no-such"], 2, "no-such"),
        (["--resume", "/no/such/run"], 2, "is no run directory"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_runs(
    arguments: list[str], status: int, said: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = [] if "--resume" in arguments else ["--out", str(tmp_path / "run")]
    assert status_of("tune", *arguments, *out) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert not (tmp_path / "run").exists()


def test_without_mpi_it_says_what_to_install(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert status_of("tune", "--out", tmp_path / "run") == 1
    assert "pip install 'ncclprobe[embedded]'" in capsys.readouterr().err


@pytest.mark.mpi
def test_real_ranks_are_measured_and_the_workload_is_run(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run"
    document = tuned(path, capsys, "--nranks", 2, "--sizes", "4K,128K", "--budget", 50, "--seed", 1)
    assert stages(document) == {
        "scan": "done", "sweep": "done", "nodes": "skipped", "env": "done", "validate-e2e": "done",
    }  # fmt: skip
    sweep = json.loads((path / "sweep" / "document.json").read_bytes())
    assert (sweep["backend"], sweep["nranks"]) == ("mpi", 2)
    assert all(cell["wrong"] == 0 for cell in sweep["cells"])
    e2e = json.loads((path / "validate-e2e" / "document.json").read_bytes())
    arms = {trial["arm"] for trial in e2e["trials"] if trial["metrics"]}
    assert arms == {"baseline", "candidate"}
    assert any(word in document["verdict"] for word in ("workload", "Workload"))
