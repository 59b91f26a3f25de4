"""The baseline's own settings: in force like the candidate's, or refused like them."""

import json
import os
import pathlib
import sys

import pytest
from click.testing import CliRunner

from ncclprobe.cli import group
from ncclprobe.cli.e2e_arms import TABLE_VARIABLE, arm_settings, baseline_settings
from ncclprobe.errors import UsageError

READS_ITS_TABLE = (
    "import os; path = os.environ.get('NCCLPROBE_TUNER_TABLE');"
    "rows = [line for line in open(path) if line[0] != '#'] if path else [];"
    "print('speed:', 1 + len(rows) if rows and os.path.exists(os.environ['NCCL_TUNER_PLUGIN']) else 1)"
)
COMMAND = ("--workload", "command", "--metric", "speed: ([0-9.]+)", "--telemetry", "0")
PLAN = ("--trials", "2", "--warmup", "0", "--seed", "1")
ROW = "allreduce,0,65536,ring,ll,4,-1,-1,-1,-1\n"
HERE = pathlib.Path(__file__).parent


@pytest.fixture
def tables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NCCL_TUNER_PLUGIN", raising=False)
    pathlib.Path("one.csv").write_text(ROW)
    pathlib.Path("two.csv").write_text(ROW + ROW.replace(",0,65536,", ",65537,131072,"))
    return tmp_path


def validate(*arguments):
    return CliRunner().invoke(group, ["validate-e2e", *map(str, arguments)], standalone_mode=False)


def answer(*arguments):
    result = validate("--out", "run", "--json", *arguments)
    assert result.exception is None, result.exception
    return json.loads(result.stdout)


def codes(found):
    return [finding["code"] for finding in found["findings"]]


def test_a_table_of_the_baselines_is_in_force_for_a_command(tables):
    arms = ("--baseline", f"{TABLE_VARIABLE}=one.csv", "--candidate", f"{TABLE_VARIABLE}=two.csv")
    found = answer(*COMMAND, *PLAN, *arms, "--", sys.executable, "-c", READS_ITS_TABLE)
    speeds = {(trial["arm"], *trial["metrics"].values()) for trial in found["trials"]}
    assert speeds == {("baseline", 2.0), ("candidate", 3.0)}
    assert found["baseline"][TABLE_VARIABLE] == str(tables / "one.csv")
    assert found["baseline"]["NCCL_TUNER_PLUGIN"] == found["candidate"]["NCCL_TUNER_PLUGIN"]
    assert "identical-arms" not in codes(found)


def test_both_arms_with_one_table_are_the_same(tables):
    arms = ("--baseline", f"{TABLE_VARIABLE}=one.csv", "--candidate", f"{TABLE_VARIABLE}={tables / 'one.csv'}")
    assert "identical-arms" in codes(answer(*COMMAND, *PLAN, *arms, "--", "echo", "speed: 1"))


@pytest.mark.parametrize(
    ("workload", "table", "message"),
    [
        ((), "absent.csv", "cannot read"),
        (COMMAND, "absent.csv", "cannot read"),
        ((), "one.csv", "the baseline's table is for NCCL (Ring, LL)"),
        (COMMAND, "mpi.csv", "the baseline's choice depends on the message size, and recursive_doubling is none"),
    ],
)
def test_a_table_of_the_baselines_that_cannot_be_in_force_is_refused(tables, workload, table, message):
    pathlib.Path("mpi.csv").write_text("allreduce,0,65536,recursive_doubling,-1,-1,-1,-1,-1,-1\n")
    arms = ("--baseline", f"{TABLE_VARIABLE}={table}", "--candidate", "A=1")
    refused = validate("--out", "run", *workload, *arms, *(("--", "echo", "speed: 1") if workload else ()))
    assert isinstance(refused.exception, UsageError)
    assert message in str(refused.exception)
    assert not pathlib.Path("run").exists()


def test_a_run_is_no_setting_of_the_baseline(tables):
    with pytest.raises(UsageError, match="is not NAME=VALUE"):
        baseline_settings(["one.csv"])


def test_an_empty_name_is_no_table(tmp_path):
    assert baseline_settings([f"{TABLE_VARIABLE}="]).table == ()
    assert arm_settings([f"{TABLE_VARIABLE}="], tmp_path / "t").env == {TABLE_VARIABLE: ""}


@pytest.mark.mpi
def test_a_table_of_the_baselines_is_in_force_in_the_proxy(tables):
    pathlib.Path("mpi.csv").write_text("allreduce,0,65536,ring,-1,-1,1,2,-1,-1\n")
    shape = ("--layers", 1, "--hidden", 64, "--batch", 8, "--steps", 2, "--nranks", 2)
    found = answer(*shape, *PLAN, "--baseline", f"{TABLE_VARIABLE}=mpi.csv", "--candidate", "A=1")
    used = {trial["arm"]: trial["effective"]["allreduce"][0]["variables"] for trial in found["trials"]}
    assert used["baseline"]["MPIR_CVAR_ALLREDUCE_INTRA_ALGORITHM"] == "ring"
    assert used["candidate"]["MPIR_CVAR_ALLREDUCE_INTRA_ALGORITHM"] == "auto"


def test_a_baseline_whose_table_had_no_plugin_fails_in_sglang(tables, monkeypatch):
    places = [HERE / "fake_sglang", HERE.parent / "tuner", HERE.parents[1]]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, places)))
    monkeypatch.setenv("FAKE_SECONDS", "0.1")
    arms = ("--baseline", f"{TABLE_VARIABLE}=one.csv", "--baseline", "NCCL_TUNER_PLUGIN=/nowhere.so", "--candidate")
    through = ("--disable-custom-all-reduce", "--enforce-disable-flashinfer-allreduce-fusion")
    found = answer("--workload", "sglang", "--tp", 2, *PLAN, *arms, "A=1", "--", *through)
    failed = next(trial for trial in found["trials"] if trial["arm"] == "baseline")
    assert failed["message"].startswith("NCCL did not load the tuner plugin")
    assert "arm-failed" in codes(found)


@pytest.mark.parametrize(("inherited", "same"), [("1", True), ("2", False), (None, False)])
def test_a_candidate_that_sets_what_both_arms_inherit_is_the_same(tables, monkeypatch, inherited, same):
    monkeypatch.delenv("A", raising=False)
    if inherited is not None:
        monkeypatch.setenv("A", inherited)
    found = answer(*COMMAND, *PLAN, "--candidate", "A=1", "--", "echo", "speed: 1")
    assert ("identical-arms" in codes(found)) == same


def test_copies_of_one_table_are_the_same(tables):
    pathlib.Path("copy.csv").write_text(ROW)
    arms = ("--baseline", f"{TABLE_VARIABLE}=one.csv", "--candidate", f"{TABLE_VARIABLE}=copy.csv")
    assert "identical-arms" in codes(answer(*COMMAND, *PLAN, *arms, "--", "echo", "speed: 1"))


def test_an_inherited_secret_is_not_kept(tables, monkeypatch):
    monkeypatch.setenv("HUB", "https://me:word@hub.example/")
    answer(*COMMAND, *PLAN, "--candidate", "HUB=https://hub.example/", "--", "echo", "speed: 1")
    assert json.loads(pathlib.Path("run/manifest.json").read_text())["options"]["inherited"] == {}
