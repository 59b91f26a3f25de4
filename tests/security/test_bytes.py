"""Bytes that are no UTF-8, on the command line, in inherited variables and in the names of files."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from ncclprobe.decoding import readable
from ncclprobe.errors import UsageError
from ncclprobe.secrecy import kept_json
from ncclprobe.store import Manifest, RunDirectory, read_manifest, relevant_environment

COMMAND = ("validate-e2e", "--workload", "command", "--trials", "1", "--warmup", "0", "--telemetry", "0", "--json")
FABRIC = str(pathlib.Path(__file__).parents[2] / "data/nodes_example/fabric.toml")


def ncclprobe(*words, **variables):
    return subprocess.run(
        [sys.executable, "-m", "ncclprobe", *words], capture_output=True, env={**os.environ, **variables}, check=False
    )


@pytest.mark.parametrize(
    "words",
    [
        (*COMMAND, "--metric", "v=(.*)", "--candidate", b"A=\xff", "--out", "run", "--", "echo", "v=1"),
        (*COMMAND, "--metric", "v=(.*)", "--candidate", "A=1", "--out", "run", "--", "echo", "v=1", b"A=\xff"),
        ("nodes", "--fabric", FABRIC, "--out", b"run/\xff"),
    ],
)
def test_what_no_manifest_can_hold_is_a_mistake_in_the_command(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    refused = ncclprobe(*words)
    assert refused.returncode == 2, refused.stderr
    assert b"\\udcff" in refused.stderr
    assert b"Traceback" not in refused.stderr
    assert not pathlib.Path("run").exists()


def test_a_token_is_named_and_nothing_made(tmp_path):
    with pytest.raises(UsageError, match=r"'x\\udcff' is no UTF-8"):
        RunDirectory.create(tmp_path / "run", Manifest(command="sweep", argv=("ncclprobe", "x\udcff"), seed=1))
    assert not (tmp_path / "run").exists()


def test_inherited_bytes_are_kept_as_far_as_they_can_be(tmp_path):
    words = ("--metric", "v=(.*)", "--candidate", "A=1", "--out", tmp_path / "run", "--", "echo", "v=1")
    ended = ncclprobe(*COMMAND, *words, NCCL_SOCKET_IFNAME="eth\udcff", A="\udcfe")
    assert ended.returncode == 0, ended.stderr
    assert read_manifest(tmp_path / "run").environment["NCCL_SOCKET_IFNAME"] == "eth\N{REPLACEMENT CHARACTER}"
    effective = {trial["arm"]: trial["effective"]["env"] for trial in json.loads(ended.stdout)["trials"]}
    assert effective["baseline"]["A"] == "?"
    resumed = ncclprobe("validate-e2e", "--resume", tmp_path / "run", NCCL_SOCKET_IFNAME="eth\udcff", A="\udcfe")
    assert (resumed.returncode, b"environment-changed" in resumed.stderr) == (0, False)


def test_a_file_with_such_a_name_is_read(tmp_path):
    name = os.fsencode(tmp_path) + b"/\xff.log"
    pathlib.Path(os.fsdecode(name)).write_text("nothing that is known\n")
    ended = ncclprobe("inspect", name, "--json")
    assert ended.returncode == 3, ended.stderr
    assert json.loads(ended.stdout)["findings"][0]["code"] == "unrecognised-input"


def test_secrets_are_hidden_beside_such_bytes():
    assert kept_json({"\udcff": ["--api-key", "secret", "\udcff"]}) == b'{"?":["--api-key","(hidden)","?"]}'


def test_text_stays_what_it_is():
    assert readable("grün") == "grün"
    assert relevant_environment({"NCCL_X": "1", "PATH": "/"}) == {"NCCL_X": "1"}
