"""``ncclprobe sweep --env`` from end to end: on a simulated fabric, and with real ranks."""

from __future__ import annotations

import json
import pathlib

import jsonschema
import pytest

from ncclprobe.cli import main
from ncclprobe.cli.schema import document_schema

ROOT = pathlib.Path(__file__).parents[2]
FABRIC = ROOT / "data" / "fabric_env_axes" / "fabric.toml"
AXES = ("--env", "NCCL_NTHREADS=default,256,512", "--env", "NCCL_BUFFSIZE=default,8388608")
CHOSEN = {"NCCL_BUFFSIZE": "8388608", "NCCL_NTHREADS": "512"}


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Run ``ncclprobe`` in this process; returns exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main([*map(str, arguments)])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return int(caught.value.code or 0), printed.out, printed.err

    return run


def document(ran: tuple[int, str, str]) -> dict:
    assert ran[0] == 0, ran[2]
    content = json.loads(ran[1])
    jsonschema.validate(content, document_schema("sweep"))
    return content


def test_the_document_names_the_environment_everywhere(command):
    found = document(command("sweep", "--fabric", FABRIC, *AXES, "--seed", 1, "--out", "run", "--json"))
    assert found["choice"]["env"] == CHOSEN
    assert found["choice"]["verdict"] == "change"
    assert found["choice"]["table"] == []
    assert found["choice"]["gain"]["low"] > 1.005
    assert [one["status"] for one in found["environments"] if one["env"] == CHOSEN] == ["chosen"]
    assert len(found["environments"]) == 6
    assert found["environments"][0]["env"] == {}
    settings = {(cell["algo"], cell["proto"], *cell["env"].items()) for cell in found["cells"]}
    assert len(settings) == 5 * 6
    first = {cell["size_bytes"]: cell for cell in reversed(found["cells"])}
    assert all((cell["algo"], cell["env"], cell["vs_default"]) == ("default", {}, None) for cell in first.values())
    assert [finding["code"] for finding in found["findings"]] == ["slower-size"]


def test_what_people_read_and_what_is_emitted(command):
    status, out, err = command("sweep", "--fabric", FABRIC, *AXES, "--seed", 1, "--out", "run")
    assert status == 0
    assert "4 cells at 7 sizes in 6 environments" in err
    assert " ".join(out.split()).startswith("Change: 3.5 % faster")
    assert "by NCCL_BUFFSIZE=8388608 and NCCL_NTHREADS=512 (simulated" in " ".join(out.split())
    assert "  NCCL_BUFFSIZE=8388608\n  NCCL_NTHREADS=512\n" in out
    status, text, _ = command("env", "emit", "run")
    assert status == 0
    assert "export NCCL_BUFFSIZE=8388608\n" in text
    assert "export NCCL_NTHREADS=512\n" in text
    assert "tuner" not in text


def test_the_page_shows_such_a_run(command):
    page = (ROOT / "docs" / "sweep.md").read_text()
    _, out, _ = command("sweep", "--fabric", FABRIC, *AXES, "--seed", 1, "--out", "run")
    assert out.partition("Run directory")[0] in page


def test_a_run_goes_on_after_a_kill(command, tmp_path):
    whole = document(command("sweep", "--fabric", FABRIC, *AXES, "--seed", 3, "--out", "whole", "--json"))
    lines = (tmp_path / "whole" / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "manifest.json").write_bytes((tmp_path / "whole" / "manifest.json").read_bytes())
    (tmp_path / "cut" / "journal.jsonl").write_bytes(b"".join(lines[: len(lines) // 3]))
    resumed = document(command("sweep", "--resume", "cut", "--json"))
    assert resumed["choice"]["env"] == whole["choice"]["env"] == CHOSEN


def test_variables_that_are_set_already_are_no_axis(command, monkeypatch):
    monkeypatch.setenv("NCCL_NTHREADS", "512")
    ran = command("sweep", "--fabric", FABRIC, "--env", "NCCL_NTHREADS=512", "--seed", 1, "--json")
    assert ran[0] == 2
    assert "all of these values are what the variables have anyway" in ran[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--env", "NCCL_NTHREADS"), "write NAME=VALUE,VALUE, such as NCCL_NTHREADS=default,256,512"),
        (("--env", "NCCL_ALGO=Ring"), "the sweep sets it itself"),
        (("--search", "optuna"), "--search optuna needs something to search in"),
        (("--env", "NCCL_A=1", "--search", "optuna", "--exhaustive"), "choose one of them"),
    ],
)
def test_mistakes_are_usage_errors_before_anything_is_written(command, tmp_path, arguments, message):
    status, out, err = command("sweep", "--fabric", FABRIC, *arguments, "--out", "run")
    assert (status, out) == (2, "")
    assert message in " ".join(err.split())
    assert not (tmp_path / "run").exists()


def test_optuna_searches_among_many(command):
    many = ("--env", "NCCL_NTHREADS=default,64,128,256,512", "--env", "NCCL_BUFFSIZE=default,1048576,2097152,8388608")
    ran = command("sweep", "--fabric", FABRIC, *many, "--search", "optuna", "--seed", 1, "--out", "run", "--json")
    found = document(ran)
    assert found["choice"]["env"] == CHOSEN
    assert "in 20 environments" in ran[2]
    assert {one["status"] for one in found["environments"]} >= {"chosen", "searched"}
    text = command("report", "run")[1]
    assert "more in the document" in text


@pytest.mark.mpi
def test_real_ranks_run_in_their_environment(command):
    """MPI does not start with a number that is none, so the variable reached the ranks."""
    found = document(command(
        "sweep", "--backend", "mpi", "--nranks", 2, "--algo", "Tree,Ring", "--sizes", "1K,64K", "--budget", 20,
        "--env", "MPIR_CVAR_POLLS_BEFORE_YIELD=default,100,nonsense", "--seed", 1, "--json",
    ))  # fmt: skip
    refused = [one["env"] for one in found["environments"] if one["status"] == "refused"]
    assert refused == [{"MPIR_CVAR_POLLS_BEFORE_YIELD": "nonsense"}]
    (finding,) = [one for one in found["findings"] if one["code"] == "environment-refused"]
    assert finding["subject"] == "MPIR_CVAR_POLLS_BEFORE_YIELD=nonsense"
    samples = {tuple(cell["env"].values()): 0 for cell in found["cells"]}
    for cell in found["cells"]:
        samples[tuple(cell["env"].values())] += cell["samples"]
    assert min(samples[()], samples["100",]) > 0
    assert samples["nonsense",] == 0
    assert sum(cell["wrong"] for cell in found["cells"]) == 0
