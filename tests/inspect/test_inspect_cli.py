"""``ncclprobe inspect`` as a user calls it."""

import json
import pathlib
import subprocess
import sys

import jsonschema
import pytest
from click.testing import CliRunner

from ncclprobe.cli.inspect import command
from ncclprobe.cli.schema import document_schema
from ncclprobe.report.text.inspect import inspect_text
from ncclprobe.store import read_manifest

DATA = pathlib.Path(__file__).parent.parent / "data" / "inspect"
SAMPLES = sorted(path.name for path in DATA.iterdir())


def run(*arguments, stdin=None):
    """Return the exit status, stdout and stderr."""
    done = CliRunner().invoke(command, [str(argument) for argument in arguments], input=stdin, standalone_mode=False)
    assert done.exception is None, done.exception
    return done.return_value, done.stdout, done.stderr


def test_every_sample_validates_against_the_schema():
    _, stdout, _ = run(*(DATA / name for name in SAMPLES), "--json")
    document = json.loads(stdout)
    jsonschema.validate(document, document_schema("inspect"))
    assert document["schema"] == "ncclprobe.inspect/1"
    kinds = {entry["kind"] for entry in document["documents"]}
    assert kinds == {"nccl-log", "nccl-tests", "sglang", "nsys", "tuner-csv"}
    assert len({entry["source"] for entry in document["documents"]}) == len(SAMPLES) - 1


def test_text_fits_80_columns_where_names_allow():
    _, stdout, _ = run(*(DATA / name for name in SAMPLES))
    long = [line for line in stdout.splitlines() if len(line) > 80 and " " in line.strip() and "/" not in line]
    assert long == []


def test_a_file_of_no_known_kind_hides_nothing_of_the_others(tmp_path):
    other = tmp_path / "notes.txt"
    other.write_text("call the vendor\n")
    status, stdout, _ = run(other, DATA / "tuner_header.csv", "--json")
    document = json.loads(stdout)
    assert status == 3
    assert [entry["kind"] for entry in document["documents"]] == ["tuner-csv"]
    assert [(finding["severity"], finding["code"]) for finding in document["findings"]] == [
        ("error", "unrecognised-input")
    ]


@pytest.mark.parametrize("missing", ["no/such/file", "."])
def test_an_unreadable_file_is_said_and_hides_nothing(missing, tmp_path):
    status, stdout, stderr = run(missing, DATA / "tuner_header.csv", "--json")
    document = json.loads(stdout)
    assert status == 2
    assert f"cannot read {missing}" in stderr
    assert [entry["kind"] for entry in document["documents"]] == ["tuner-csv"]
    assert [finding["code"] for finding in document["findings"]] == ["unreadable-input"]


def test_healthy_and_failed_outputs_differ_in_status():
    assert run(DATA / "nccl_tests_two_tables.txt")[0] == 0
    assert run(DATA / "nccl_tests_wrong.txt")[0] == 3
    assert run(DATA / "nccl_failures.log")[0] == 3


def test_standard_input():
    status, stdout, _ = run("-", "--json", stdin=(DATA / "nsys_kernels.csv").read_text())
    assert status == 0
    assert json.loads(stdout)["documents"][0]["source"] == "-"


def test_a_run_directory_only_where_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(DATA / "tuner_header.csv")
    assert list(tmp_path.iterdir()) == []
    _, stdout, _ = run(DATA / "tuner_header.csv", "--out", tmp_path / "run", "--seed", "7")
    assert "Run directory:" in stdout
    assert read_manifest(tmp_path / "run").seed == 7
    assert json.loads((tmp_path / "run" / "document.json").read_bytes())["documents"][0]["kind"] == "tuner-csv"


def test_text_of_a_log_says_what_ran():
    _, stdout, _ = run(DATA / "nccl_2_28_rank0.log")
    assert "ranks           16 on 2 nodes" in stdout
    assert "all_reduce      64K      Tree    LL128    8" in stdout


def test_an_empty_document_is_an_empty_text():
    from ncclprobe.records.inspect import InspectDocument

    assert inspect_text(InspectDocument()) == ""


def test_start_is_light():
    code = (
        "import sys; from ncclprobe.cli import group; group.get_command(None, 'inspect');"
        "print(sorted({'numpy', 'mpi4py', 'pynvml', 'cupy'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
