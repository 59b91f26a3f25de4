"""A comparison goes on in the folder it was begun in, and says where it goes on in another environment."""

import json
import os
import pathlib
import sys

import pytest
from click.testing import CliRunner

from ncclprobe.cli import group
from ncclprobe.e2e.resumed import changes, resumed_doubts
from ncclprobe.errors import RunDirectoryError
from ncclprobe.records.e2e import ArmSettings, Changed, E2eOptions, Resumed

OPTIONS = E2eOptions(
    workload="command",
    baseline=ArmSettings(env={"NCCL_PROTO": "LL"}),
    candidate=ArmSettings(env={"NCCL_PROTO": "Simple", "A": "1"}),
    trials=4,
    warmups=0,
    min_effect=0.02,
    budget_s=None,
    timeout_s=60,
    seed=1,
)
FAILS_ONCE = "import os, pathlib, sys; sys.exit(1) if pathlib.Path('broken').exists() else print('v=1')"


@pytest.fixture
def home(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    for name in [name for name in os.environ if name.startswith("NCCL_")]:
        monkeypatch.delenv(name)
    return home


def validate(*arguments):
    return CliRunner().invoke(group, ["validate-e2e", *map(str, arguments)], standalone_mode=False)


def interrupted(home):
    """Begin a run whose trials all fail, so that --resume has them all to run."""
    (home / "broken").touch()
    (home / "workload.py").write_text(FAILS_ONCE)
    plan = ("--trials", 2, "--warmup", 0, "--seed", 1, "--telemetry", 0, "--out", "run")
    result = validate(
        "--workload", "command", "--metric", "v=(.*)", "--candidate", "A=1", *plan, "--", sys.executable, "workload.py"
    )
    assert result.return_value == 3
    (home / "broken").unlink()
    return home / "run"


def codes(result):
    return [finding["code"] for finding in json.loads(result.stdout)["findings"]]


def test_a_command_runs_on_where_it_was_begun(home, tmp_path, monkeypatch):
    run = interrupted(home)
    monkeypatch.chdir(tmp_path)
    resumed = validate("--resume", run.relative_to(tmp_path), "--json")
    assert resumed.exception is None
    assert json.loads(resumed.stdout)["trials_per_arm"] == 2
    assert pathlib.Path.cwd() == tmp_path
    assert "environment-changed" not in codes(resumed)


def test_a_folder_that_is_gone_is_named(home, tmp_path, monkeypatch):
    run = interrupted(home).rename(tmp_path / "kept")
    monkeypatch.chdir(tmp_path)
    home.rename(tmp_path / "away")
    gone = validate("--resume", run)
    assert isinstance(gone.exception, RunDirectoryError)
    assert f"was begun in {home}: No such file or directory" in str(gone.exception)


def test_a_run_without_its_folder_goes_on_here(home):
    run = interrupted(home)
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest.pop("directory") == str(home)
    (run / "manifest.json").write_text(json.dumps(manifest))
    assert validate("--resume", run, "--json").return_value == 0


def test_another_environment_is_said_and_stays_said(home, monkeypatch):
    monkeypatch.setenv("NCCL_ALGO", "Ring")
    monkeypatch.setenv("A", "7")
    run = interrupted(home)
    monkeypatch.delenv("NCCL_ALGO")
    monkeypatch.setenv("A", "8")
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    resumed = validate("--resume", run, "--json")
    assert "environment-changed: since the start, A was '7', and is '8'; NCCL_ALGO was 'Ring'" in resumed.stderr
    monkeypatch.setenv("NCCL_ALGO", "Ring")
    monkeypatch.setenv("A", "7")
    again = validate("--resume", run, "--json")
    assert "environment-changed" not in again.stderr
    (run / "document.json").unlink()
    unfinished = CliRunner().invoke(group, ["report", str(run), "--json"], standalone_mode=False)
    for result in (resumed, again):
        (found,) = [one for one in json.loads(result.stdout)["findings"] if one["code"] == "environment-changed"]
        assert found["message"].startswith("From trial 4 on the arms inherited other variables than before: A was '7',")
    assert "environment-changed" in unfinished.stdout


def test_what_every_arm_sets_and_a_jobs_numbers_are_no_matter():
    begun = {"NCCL_PROTO": "LL128", "SLURM_JOB_ID": "1", "NCCL_ALGO": "Ring", "UCX_TLS": "tcp"}
    now = {"A": "2", "PBS_JOBID": "3", "UCX_TLS": "tcp"}
    assert [one.name for one in changes(OPTIONS, begun, now)] == ["A", "NCCL_ALGO"]


def test_a_change_that_came_twice_is_said_once():
    line = Resumed(order=3, changed=(Changed(name="NCCL_ALGO", begun=None, now="Tree"),))
    (found,) = resumed_doubts("command", [line, line.with_(order=5)])
    assert found.message.count("NCCL_ALGO was not set, and is 'Tree'") == 1
