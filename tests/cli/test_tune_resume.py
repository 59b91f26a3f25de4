"""``tune --resume``: what has ended is kept, the stage in flight goes on, the answer is the same."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from ncclprobe.cli import main
from ncclprobe.cli.stages import STAGES
from ncclprobe.errors import LaunchError
from ncclprobe.records.tune import StageName

TWO_NODES = pathlib.Path(__file__).parents[2] / "data" / "fabric_two_nodes" / "fabric.toml"


def status_of(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    return int(exit_.value.code or 0)


def begin(path: pathlib.Path) -> int:
    return status_of("tune", "--fabric", TWO_NODES, "--seed", 3, "--out", path)


def document_of(path: pathlib.Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((path / "document.json").read_bytes())
    return loaded


def cells_of(path: pathlib.Path) -> Any:
    return document_of(path / "sweep")["cells"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Return a run that nothing interrupted."""
    path = tmp_path_factory.mktemp("whole") / "run"
    begin(path)
    return path


def broken(problem: BaseException, *, late: bool, work: Callable[..., Any]) -> Callable[..., Any]:
    """Return a stage that is interrupted before it has done anything, or when all but its journal line is written."""

    def stage(*arguments: Any) -> Any:
        if late:
            work(*arguments)
        raise problem

    return stage


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("name", list(StageName))
def test_a_run_interrupted_in_any_stage_goes_on(
    name: StageName, late: bool, whole: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setitem(STAGES, name, broken(KeyboardInterrupt(), late=late, work=STAGES[name]))
        assert begin(path) == 130
    assert status_of("tune", "--resume", path) == 0
    expected, got = document_of(whole), document_of(path)
    assert [stage["status"] for stage in got["stages"]] == [stage["status"] for stage in expected["stages"]]
    assert (got["verdict"], got["choice"], got["seed"]) == (expected["verdict"], expected["choice"], 3)
    assert cells_of(path) == cells_of(whole)
    assert (path / "sweep" / "journal.jsonl").read_text().count('"kind":"launch"') == (
        whole / "sweep" / "journal.jsonl"
    ).read_text().count('"kind":"launch"')


def test_a_failed_stage_ends_the_run_and_is_tried_again(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run"
    with monkeypatch.context() as patch:
        failing = broken(LaunchError("rank 1 died"), late=False, work=STAGES[StageName.SWEEP])
        patch.setitem(STAGES, StageName.SWEEP, failing)
        assert begin(path) == 1
    said = capsys.readouterr().err
    assert "Error: rank 1 died" in said
    assert f"go on with: ncclprobe tune --resume {path}" in said
    unfinished = document_of(path)
    assert [(stage["name"], stage["status"]) for stage in unfinished["stages"]] == [
        ("scan", "done"),
        ("sweep", "failed"),
    ]
    assert (unfinished["verdict"], unfinished["choice"]) == ("Unfinished: the sweep has no answer yet.", None)
    assert status_of("report", path) == 0
    assert "rank 1 died" in capsys.readouterr().out
    assert status_of("tune", "--resume", path) == 0
    assert [stage["status"] for stage in document_of(path)["stages"]][:2] == ["done", "done"]


def test_a_finished_run_is_not_measured_again(whole: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = document_of(whole)
    journal = (whole / "journal.jsonl").read_bytes()
    assert status_of("tune", "--resume", whole) == 0
    assert capsys.readouterr().err.count(" earlier") == len(StageName)
    assert (whole / "journal.jsonl").read_bytes() == journal
    assert {**document_of(whole), "created": ""} == {**before, "created": ""}


def test_resume_takes_no_other_options(whole: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("tune", "--resume", whole, "--seed", 4, "--sizes", "8") == 2
    assert "leave out --" in capsys.readouterr().err


def test_another_commands_run_is_refused(whole: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("tune", "--resume", whole / "sweep") == 1
    assert "holds a run of 'sweep', not of 'tune'" in capsys.readouterr().err


@pytest.mark.parametrize("after", ["scan: done", "sweep: begun", "nodes: begun", "env: done"])
def test_a_killed_run_goes_on(after: str, whole: pathlib.Path, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "run"
    command = [sys.executable, "-m", "ncclprobe", "tune", "--fabric", str(TWO_NODES), "--seed", "3", "--out", str(path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(after):
            break
    process.kill()
    process.wait()
    process.stderr.close()
    assert status_of("tune", "--resume", path) == 0
    assert document_of(path)["verdict"] == document_of(whole)["verdict"]
    assert cells_of(path) == cells_of(whole)
