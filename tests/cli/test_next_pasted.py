"""The commands below "Next:" run as they stand: pasted into a shell where the command before them ran."""

from __future__ import annotations

import pathlib
import shlex
import sys

import page_commands
import pytest
from click.testing import CliRunner

from ncclprobe.cli import group

ROOT = pathlib.Path(__file__).parents[2]
DATA, SAMPLES = ROOT / "data", ROOT / "tests" / "data"
NVLINK, TWO_NODES = DATA / "fabric_nvlink_model" / "fabric.toml", DATA / "fabric_two_nodes" / "fabric.toml"
SPEED = "import os; print('v=', 1 + 0.5 * ('NCCLPROBE_TUNER_TABLE' in os.environ), sep='')"
CHEAP = ("env emit", "report")
"""What is run; of the others, names and options are checked."""


def output(*words: object) -> str:
    ended = CliRunner().invoke(group, [*map(str, words)], standalone_mode=False)
    assert ended.exception is None, ended.exception
    return ended.stdout


def hints(text: str) -> list[list[str]]:
    """Return the commands below the last "Next:" as tokens."""
    _, next_word, after = text.rpartition("\nNext: ")
    assert next_word
    return [shlex.split(line) for line in after.splitlines() if line.startswith("  ")]


@pytest.mark.parametrize(
    ("words", "begins"),
    [
        (["scan", "--from", DATA / "fleet_dgx_12hca"], []),
        (["sweep", "--backend", "sim", "--fabric", NVLINK, "--sizes", "2M", "--seed", 1], ["env emit"]),
        (["sweep", "--backend", "sim", "--fabric", TWO_NODES, "--sizes", "8,64K", "--seed", 1], ["sweep"]),
        (["nodes", "--from", DATA / "nodes_example" / "pairs.csv"], []),
        (["nodes", "--fabric", TWO_NODES, "--seed", 1], ["sweep"]),
        (["profile", SAMPLES / "profile" / "nccl_coll_two_ranks.log"], ["sweep --profile"]),
        (["inspect", SAMPLES / "profile" / "nccl_coll_two_ranks.log"], ["sweep"]),
        (
            ["report", DATA / "h200x2_202611" / "sweep_30cells"],
            ["env check", "validate-e2e --workload sglang", "env emit"],
        ),
        (["tune", "--fabric", NVLINK, "--seed", 1, "--sizes", "2M,128M"], ["ls"]),
    ],
    ids=lambda value: str(value[0]) if isinstance(value, list) and value else "",
)
def test_hints_run_as_they_stand(
    words: list[object], begins: list[str], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = [] if words[0] in ("report", "inspect") else ["--out", "a run"]
    found = hints("\n" + output(*words, *out))
    for tokens, begin in zip(found, begins, strict=True):
        assert " ".join(tokens).removeprefix("ncclprobe ").startswith(begin)
    for tokens in found:
        if tokens[0] == "ncclprobe":
            page_commands.check_ours(tokens[1:])
        if " ".join(tokens[1:3]).startswith(CHEAP):
            assert output(*tokens[1:])


def test_a_faster_table_is_said_to_be_copied(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    output("sweep", "--backend", "sim", "--fabric", NVLINK, "--sizes", "2M", "--seed", 1, "--out", "sweep")
    plan = ("--candidate", "sweep", "--trials", 4, "--warmup", 0, "--telemetry", 0, "--metric", r"v=(\S+)")
    command = (sys.executable, "-c", SPEED)
    text = output("validate-e2e", "--workload", "command", *plan, "--out", "e2e", "--", *command)
    assert "Next: set in jobs what the faster arm has, as shown above with a copy of its" in text
