"""`env check` with the real plugin, launcher and worker; CuPy and NCCL are those of ``fake_gpu``."""

from __future__ import annotations

import json
import os
import pathlib

import jsonschema
import msgspec
import pytest
from click.testing import CliRunner, Result

from ncclprobe.backends import nccl as backend_module
from ncclprobe.backends.mpi_names import Choices
from ncclprobe.backends.nccl import NcclBackend
from ncclprobe.cli import group
from ncclprobe.cli.schema import document_schema
from ncclprobe.errors import ParseError, UsageError
from ncclprobe.records.sweep import Choice, Cost, Ratio, SweepDocument, TableRow, Verdict

TESTS = pathlib.Path(__file__).parents[1]
TABLE = """\
allreduce,64,4096,ring,simple,-1,1,2
allreduce,8192,65536,tree,ll128,2,1,2
allreduce,65537,131072,nvls,simple,-1,1,2
allgather,1000,5000,ring,ll,-1,-1,-1
"""
ROW = TableRow(collective="all_reduce", min_bytes=64, max_bytes=4096, algo="Tree", proto="LL", nchannels=None)


@pytest.fixture
def _gpus(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS / "backends/fake_gpu")]))
    monkeypatch.setenv("FAKE_NCCL_HELPERS", str(TESTS / "tuner"))
    monkeypatch.setenv("FAKE_GPU_FOLDER", str(tmp_path))
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    monkeypatch.setattr(backend_module, "gpu_count", lambda: 2)
    choices = Choices(library="NCCL 2.28.9", algorithms={}, ngpus=2)
    monkeypatch.setattr(NcclBackend, "_describe", lambda _self: choices)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(group, ["env", "check", *map(str, arguments)], standalone_mode=False)


def sweep(path: pathlib.Path, *rows: TableRow, verdict: Verdict = Verdict.CHANGE, **env: str) -> pathlib.Path:
    gain = Ratio(ratio=1.1, low=1.05, high=1.2)
    document = SweepDocument(
        backend="nccl", library="NCCL 2.28.9", nranks=2, nnodes=1, launches=3, seed=1, cells=(),
        choice=Choice(verdict=verdict, env=env, table=rows, gain=gain), cost=Cost(measured_s=1.0, exhaustive_s=2.0),
    )  # fmt: skip
    path.write_bytes(msgspec.json.encode(document))
    return path


@pytest.mark.usefixtures("_gpus")
def test_a_table_is_tried_at_the_ends_of_its_rows_and_just_outside(tmp_path: pathlib.Path) -> None:
    (tmp_path / "table.csv").write_text(TABLE)
    ended = run(tmp_path / "table.csv", "--json", "--out", tmp_path / "kept")
    document = json.loads(ended.stdout)
    jsonschema.validate(document, document_schema("env-check"))
    seen = {
        one["row"]["min_bytes"]: [one["outcome"], *((size["size_bytes"], size["ran"]) for size in one["sizes"])]
        for one in document["rows"]
    }
    assert seen == {
        64: ["applied", (62, "Tree/LL/1ch"), (64, "Ring/Simple/1ch"), (4096, "Ring/Simple/1ch"), (4098, "Tree/LL/1ch")],
        8192: [
            "applied", (8190, "Tree/LL/1ch"), (8192, "Tree/LL128/1ch"), (65536, "Tree/LL128/2ch"),
            (65538, "Tree/LL/4ch"),
        ],
        65537: [
            "refused", (65536, "Tree/LL128/2ch"), (65538, "Tree/LL/4ch"), (131072, "Tree/LL/4ch"),
            (131074, "Tree/LL/4ch"),
        ],
        1000: ["applied", (996, "Tree/LL/1ch"), (1000, "Ring/LL/1ch"), (5000, "Ring/LL/1ch"), (5004, "Tree/LL/1ch")],
    }  # fmt: skip
    assert [(one["code"], one["message"]) for one in document["findings"]] == [
        ("row-not-in-force", "At 65538 and 128K NVLS/Simple is to run, but NCCL says unavailable.")
    ]
    assert (document["library"], document["nranks"], document["nnodes"]) == ("NCCL 2.28.9", 2, 1)
    assert ended.return_value == 3
    assert len(list((tmp_path / "kept").glob("record.*"))) == 2


@pytest.mark.usefixtures("_gpus")
def test_a_choice_that_a_variable_says_is_looked_for_in_what_ran(tmp_path: pathlib.Path) -> None:
    """The stand-in knows no variable: what it runs of itself is in force, anything else is not."""
    other = ROW.with_(min_bytes=8192, max_bytes=8192, algo="Ring")
    ended = run(sweep(tmp_path / "sweep.json", ROW, other, NCCL_ALGO="allreduce:tree"))
    assert ended.return_value == 3
    assert ended.stdout.splitlines()[:5] == [
        "all_reduce      size  wanted    ran",
        "------------  ------  --------  -----------  ---------------",
        "64 to 4K          64  Tree/LL   Tree/LL/1ch  applied",
        "                  4K  Tree/LL   Tree/LL/1ch  applied",
        "8K to 8K          8K  Ring/LL   Tree/LL/1ch  another setting",
    ]
    said, following = ended.stdout.split("\n\nNext: ")
    assert said.endswith("1 of 2 rows in force with NCCL 2.28.9 on 2 ranks and 1 node (another setting:\n1).")
    assert following == "load nothing in jobs before the errors above are seen to.\n"


def test_defaults_need_no_check(tmp_path: pathlib.Path) -> None:
    path = sweep(tmp_path / "sweep.json", verdict=Verdict.KEEP_DEFAULTS)
    ended = run(path)
    assert (ended.return_value, ended.stdout) == (
        0,
        f"{path} sets nothing that a library's choice can show.\n\nNext: set nothing: there is nothing to load.\n",
    )


@pytest.mark.parametrize(
    ("table", "problem", "words"),
    [
        ("allreduce,0,64,tree,ll,-1,1,2\nallreduce,0,64,ring,ll,-1,1,4\n", UsageError, "the rows are for 2, 4 ranks"),
        ("allreduce,0,64,recursive_doubling,-1,-1,1,2\n", UsageError, "which no MPI library reads from a table"),
        ("allreduce,0,64,tre,ll,-1,1,2\n", UsageError, "table.csv: NCCL has no algorithm tre; write tree, or one of"),
        ("allreduce,0,64,tree,ll182,-1,1,2\n", UsageError, "has no protocol ll182; write ll128, or one of ll, ll128"),
        ("allreduce,0\n", ParseError, "table.csv:1: a row has the fields"),
        ("allreduce,0,64,tree,ll,65,1,2\n", ParseError, "channels"),
    ],
)
def test_what_cannot_be_loaded_is_not_tried(
    tmp_path: pathlib.Path, table: str, problem: type[Exception], words: str
) -> None:
    (tmp_path / "table.csv").write_text(table)
    ended = run(tmp_path / "table.csv")
    assert isinstance(ended.exception, problem)
    assert words in str(ended.exception)


def test_records_of_an_earlier_check_are_not_taken_for_this_ones(tmp_path: pathlib.Path) -> None:
    (tmp_path / "table.csv").write_text(TABLE)
    (tmp_path / "record.1").touch()
    ended = run(tmp_path / "table.csv", "--out", tmp_path)
    assert isinstance(ended.exception, UsageError)
