"""``report``: any runs of any command on the terminal."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import jsonschema
import msgspec
import pytest

from ncclprobe.cli import main
from ncclprobe.cli.schema import document_schema
from ncclprobe.findings import error, info, warning
from ncclprobe.names import DEFAULT
from ncclprobe.records.base import Document, EnvVariable, Interval
from ncclprobe.records.e2e import E2eDocument, E2eVerdict
from ncclprobe.records.env import EnvDocument
from ncclprobe.records.inspect import InspectDocument, SglangResults
from ncclprobe.records.nodes import NodesCost, NodesDocument, NodeStatus, NodeVerdict
from ncclprobe.records.scan import Hca, Host, ScanDocument
from ncclprobe.records.sweep import CellResult, Choice, Cost, Ratio, Status, Summary, SweepDocument, TableRow, Verdict

DOWN = error("port-down", "node1/mlx5_1:1", "The port is DOWN.", "Look at the cable.")
LOW = warning("low-memlock", "node1", "The limit is 64 KiB.", "ulimit -l unlimited")
NOTE = info("no-gpu", "node1", "There is no GPU.", "Nothing to do.")


def cell(algo: str, time: float, ratio: Ratio | None) -> CellResult:
    return CellResult(
        collective="all_reduce", dtype="float32", size_bytes=1 << 20, algo=algo, proto=DEFAULT, nchannels=None,
        samples=40, time_us=Summary(median=time, low=time, high=time), algbw_gbps=1.0, busbw_gbps=1.5, wrong=0,
        status=Status.OK, vs_default=ratio,
    )  # fmt: skip


GAIN = Ratio(ratio=1.12, low=1.10, high=1.14)
ROW = TableRow(
    collective="all_reduce", min_bytes=1 << 20, max_bytes=1 << 20, algo="Ring", proto=DEFAULT, nchannels=None
)
SWEEP = SweepDocument(
    findings=(NOTE, LOW), backend="mpi", library="MPICH 5.0.2", nranks=4, nnodes=1, launches=3, seed=1,
    cells=(cell(DEFAULT, 112.0, None), cell("Ring", 100.0, GAIN)),
    choice=Choice(verdict=Verdict.CHANGE, env={"MPIR_CVAR_X": "ring"}, table=(ROW,), gain=GAIN),
    cost=Cost(measured_s=1.0, exhaustive_s=10.0),
)  # fmt: skip
SCAN = ScanDocument(
    findings=(DOWN, LOW),
    hosts=(Host(host="node1", hcas=(Hca(name="mlx5_0"),)),),
    env=(EnvVariable(name="NCCL_IB_HCA", value="=mlx5_0", reason="It is ACTIVE."),),
)
NODES = NodesDocument(
    nodes=(
        NodeVerdict(node="n1", status=NodeStatus.OK, slowdown=Interval(estimate=0, low=0, high=0), evidence=""),
        NodeVerdict(
            node="n2",
            status=NodeStatus.SLOW,
            slowdown=Interval(estimate=0.15, low=0.1, high=0.2),
            evidence="It is slow.",
        ),
    ),
    cost=NodesCost(rounds=8, measurements_per_node=8, gpu_minutes_per_node=0.1),
    source="results.csv",
)
E2E = E2eDocument(
    workload="proxy", metric="tok_s", baseline={}, candidate={"MPIR_CVAR_X": "ring"}, trials=(),
    verdict=E2eVerdict.FASTER, ratio=Interval(estimate=1.08, low=1.05, high=1.11), trials_per_arm=8,
)  # fmt: skip
INSPECT = InspectDocument(documents=(SglangResults(source="bench.txt", results=({"total_throughput": 100.0},)),))
ENV = EnvDocument(sources=("scan",), format="shell", env=SCAN.env, table=(), text="export NCCL_IB_HCA='=mlx5_0'\n")
ALL = [SCAN, SWEEP, NODES, E2E, INSPECT, ENV]


def kept(path: pathlib.Path, document: Document) -> pathlib.Path:
    path.write_bytes(msgspec.json.encode(document))
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    with pytest.raises(SystemExit) as exit_:
        main(["report", *map(str, arguments)])
    captured = capsys.readouterr()
    return int(exit_.value.code or 0), captured.out + captured.err


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (SCAN, ["export NCCL_IB_HCA='=mlx5_0'", "mlx5_0"]),
        (SWEEP, ["Change: 12.0 % faster (95 % interval 10.0 to 14.0 %)", "Ring", "MPIR_CVAR_X=ring"]),
        (NODES, ["slow: 1 of 2 nodes: n2", "15.0 %"]),
        (E2E, ["The candidate is faster.", "1.080 (95 %: 1.050 to 1.110), 8 pairs"]),
        (INSPECT, ["bench.txt: SGLang results", "total_throughput"]),
        (ENV, ["export NCCL_IB_HCA='=mlx5_0'"]),
    ],
    ids=lambda value: value.schema if isinstance(value, Document) else "",
)
def test_any_commands_document_is_shown(
    document: Document, said: list[str], tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, text = run(capsys, kept(tmp_path / "a.json", document))
    assert status == (3 if document is SCAN else 0)
    assert all(words in text for words in said), text


def test_answers_come_first_and_findings_last_the_worst_first(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [kept(tmp_path / f"{number}.json", document) for number, document in enumerate(ALL)]
    status, text = run(capsys, *paths)
    assert status == 3
    first, last = text.split("\n\n")[0], text.rpartition("Findings\n========\n")[2]
    answers = [line for line in first.splitlines() if not line.startswith("  ")]
    assert [line[:4] for line in answers] == [f"[{letter}] " for letter in "ABCDEF"]
    assert all(line[4:].startswith(str(tmp_path)) for line in answers)
    assert "set NCCL_IB_HCA." in " ".join(first.split())
    assert "Change: 12.0 % faster" in " ".join(first.split())
    codes = [line.split()[1] for line in last.splitlines() if line.split()[:1] in (["error"], ["warning"], ["info"])]
    assert codes == ["port-down", "low-memlock", "no-gpu"], "the worst first, each once"
    assert text.count("Look at the cable.") == 1


def test_json_holds_answers_and_findings(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [kept(tmp_path / f"{number}.json", document) for number, document in enumerate(ALL)]
    status, text = run(capsys, "--json", *paths)
    document: dict[str, Any] = json.loads(text)
    jsonschema.validate(document, document_schema("report"))
    assert status == 3
    assert [entry["schema"] for entry in document["runs"]] == [document.schema for document in ALL]
    assert [entry["verdict"] for entry in document["runs"]] == [
        "1 node, 1 HCA, no GPU; set NCCL_IB_HCA.",
        "Change: 12.0 % faster (95 % interval 10.0 to 14.0 %) over all measured sizes, by one range of sizes "
        "(MPICH 5.0.2, 4 ranks).",
        "2 nodes; slow: n2.",
        "proxy: The candidate is faster. Candidate / baseline 1.080 (95 %: 1.050 to 1.110), 8 pairs.",
        "1 × sglang.",
        "1 variable to set.",
    ]  # fmt: skip
    assert [finding["code"] for finding in document["findings"]] == ["port-down", "low-memlock", "no-gpu"]


def test_a_report_can_be_kept_and_reported(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, kept(tmp_path / "a.json", E2E), "--out", tmp_path / "kept", "--seed", 1)
    assert json.loads((tmp_path / "kept" / "manifest.json").read_bytes())["seed"] == 1
    status, text = run(capsys, tmp_path / "kept")
    assert status == 0
    assert "a.json: proxy: The candidate is faster." in " ".join(text.split())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("not json", "is no document of ncclprobe (JSON is malformed"),
        ("{}", "is no document of ncclprobe (it names no schema); name a run directory"),
        ('{"schema": "ncclprobe.profile/9"}', "holds ncclprobe.profile/9, which does not serve here"),
        ('{"schema": "ncclprobe.scan/1", "hosts": 5}', "is no valid ncclprobe.scan/1"),
    ],
)
def test_what_cannot_be_read_is_one_message(
    content: str, said: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.json").write_text(content)
    status, text = run(capsys, tmp_path / "a.json")
    assert status == 1
    assert text.startswith("Error: ")
    assert said in text


def test_a_directory_of_something_else_is_told(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, text = run(capsys, tmp_path)
    assert status == 2
    assert text == f"Error: {tmp_path} is no run directory: it holds neither document.json nor manifest.json\n"
