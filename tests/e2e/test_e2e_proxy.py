import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import jsonschema
import msgspec
import pytest
from click.testing import CliRunner

from ncclprobe.cli import group
from ncclprobe.cli.schema import document_schema
from ncclprobe.e2e.choice import matching, numbered
from ncclprobe.e2e.proxy import InForce, ProxyReport, not_in_force, outcome_of
from ncclprobe.records.inspect import TunerRow

ALGORITHM = "MPIR_CVAR_ALLREDUCE_INTRA_ALGORITHM"
DEVICE = "MPIR_CVAR_ALLREDUCE_DEVICE_COLLECTIVE"
SMALL = ["--layers", 1, "--hidden", 64, "--batch", 8, "--steps", 2, "--nranks", 2, "--warmup", 0, "--trials", 2]
MESSAGE = 64 * 8 * 4
ROW = TunerRow(
    collective="all_reduce", min_bytes=1024, max_bytes=4096, algo="Ring", proto="default", nnodes=1, nranks=2
)


@pytest.mark.parametrize(
    ("changes", "size", "matches"),
    [
        ({}, 1024, True),
        ({}, 4096, True),
        ({}, 1023, False),
        ({}, 4097, False),
        ({"nranks": 4}, 2048, False),
        ({"nranks": None, "nnodes": None}, 2048, True),
        ({"nnodes": 2}, 2048, False),
        ({"collective": "all_gather"}, 2048, False),
    ],
)
def test_a_row_matches_by_shape_and_size(changes, size, matches):
    row = ROW.with_(**changes)
    assert matching([row], size, 2, 1) == (row if matches else None)


def test_the_first_row_that_matches_wins():
    other = ROW.with_(algo="Tree")
    assert matching([other, ROW], 2048, 2, 1) == other


@pytest.mark.parametrize(
    ("initial", "began_with", "expected"),
    [
        (0, "auto", {"auto": 0, "tree": 1, "ring": 2}),
        (2, "ring", {"auto": 0, "tree": 1, "ring": 2}),
        (57, "tree", {"auto": 56, "tree": 57, "ring": 58}),
        (0, "unknown", {"auto": 0, "tree": 1, "ring": 2}),
    ],
)
def test_words_are_numbered_from_where_the_variable_began(initial, began_with, expected):
    assert numbered(["auto", "tree", "ring"], initial, began_with) == expected


def test_a_setting_that_was_not_in_force_fails_the_trial():
    rows = (InForce(size_bytes=8, ranks=(0, 1), variables={ALGORITHM: "ring"}),)
    assert not_in_force({ALGORITHM: "ring", "OTHER": "x"}, rows) == ""
    stray = (*rows, InForce(size_bytes=8, ranks=(2,), variables={ALGORITHM: "auto"}))
    assert "'auto' on rank 2, not 'ring'" in not_in_force({ALGORITHM: "ring"}, stray)
    report = ProxyReport(metrics={"tok_s": 1.0}, library="MPICH", in_force=stray)
    outcome = outcome_of([msgspec.json.encode(report)], {ALGORITHM: "ring"})
    assert outcome.metrics == {}
    assert outcome.message.startswith(ALGORITHM)
    assert outcome.effective["allreduce"][1]["ranks"] == (2,)


def test_no_answer_is_a_failed_trial():
    assert outcome_of([], {}).message == "the ranks ended without a result"


def validate(*arguments):
    arguments = ["validate-e2e", *map(str, arguments), "--json"]
    result = CliRunner().invoke(group, arguments, standalone_mode=False)
    assert result.exception is None, result.exception
    document = json.loads(result.stdout)
    jsonschema.validate(document, document_schema("validate-e2e"))
    return result.return_value, document


@pytest.mark.mpi
def test_a_variable_of_mpich_is_in_force_in_the_candidate_only(tmp_path):
    status, document = validate(*SMALL, "--candidate", f"{ALGORITHM}=ring", "--out", tmp_path / "run")
    assert status == 0
    assert [trial["status"] for trial in document["trials"]] == ["ok"] * 4
    for trial in document["trials"]:
        (row,) = trial["effective"]["allreduce"]
        assert (row["size_bytes"], row["ranks"]) == (MESSAGE, [0, 1])
        assert row["variables"][ALGORITHM] == {"baseline": "auto", "candidate": "ring"}[trial["arm"]]
        assert trial["metrics"]["tok_s"] == pytest.approx(1e3 * 8 / trial["metrics"]["step_ms"])
        assert 0 < trial["metrics"]["comm_share"] < 1
    sums = [trial["metrics"]["checksum"] for trial in document["trials"]]
    assert max(sums) == pytest.approx(min(sums), rel=1e-5)


@pytest.mark.mpi
def test_a_table_is_applied_live(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("allreduce,1024,4096,ring,-1,-1,1,2,-1,-1\n")
    options = ("--candidate", f"NCCLPROBE_TUNER_TABLE={table}", "--out", tmp_path / "run")
    _, document = validate(*SMALL, *options)
    used = {trial["arm"]: trial["effective"]["allreduce"][0]["variables"] for trial in document["trials"]}
    assert used["candidate"] == {ALGORITHM: "ring", DEVICE: "0"}
    assert used["baseline"][ALGORITHM] == "auto"


@pytest.mark.mpi
def test_a_table_for_other_sizes_is_said(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("allreduce,1048576,4194304,ring,-1,-1,-1,-1\n")
    options = ("--candidate", f"NCCLPROBE_TUNER_TABLE={table}", "--out", tmp_path / "run")
    _, document = validate(*SMALL, *options)
    assert "table-not-exercised" in [finding["code"] for finding in document["findings"]]
    assert {trial["effective"]["allreduce"][0]["variables"][ALGORITHM] for trial in document["trials"]} == {"auto"}


@pytest.mark.mpi
def test_an_algorithm_that_the_library_does_not_have_is_an_error(tmp_path):
    status, document = validate(*SMALL, "--candidate", f"{ALGORITHM}=nonsense", "--out", tmp_path / "run")
    assert status == 3
    assert document["verdict"] == "inconclusive"
    assert [finding["code"] for finding in document["findings"]] == ["arm-failed"]
    assert document["findings"][0]["subject"] == "candidate"
    assert len(list((tmp_path / "run" / "trials").glob("*.txt"))) == len(document["trials"])


@pytest.mark.mpi
def test_a_killed_run_leaves_no_rank(tmp_path):
    out = tmp_path / "run"
    options = [*map(str, SMALL), "--steps", "100000", "--candidate", "X=1", "--out", str(out)]
    process = subprocess.Popen([sys.executable, "-m", "ncclprobe", "validate-e2e", *options], stderr=subprocess.DEVNULL)
    wait_for(lambda: len(own_ranks()) >= 2)
    ranks = own_ranks()
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for(lambda: not any(pathlib.Path(f"/proc/{rank}").exists() for rank in ranks))


def own_ranks():
    """Return the worker processes on this machine that this test's process started, directly or not."""
    parents, workers = {}, []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if b"ncclprobe.e2e.proxy_worker" in (folder / "cmdline").read_bytes().split(b"\0"):
                workers.append(int(folder.name))
        except (OSError, ValueError):
            continue
    return [worker for worker in workers if descends(worker, os.getpid(), parents)]


def descends(child, ancestor, parents):
    while child in parents:
        child = parents[child]
        if child == ancestor:
            return True
    return False


def wait_for(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
