"""Every sum of a fleet on real GPUs is looked at: right ones pass, and one wrong element among them is named."""

from __future__ import annotations

import json
import pathlib

import pytest

from ncclprobe.cli import main

pytestmark = pytest.mark.gpu

PLANTED = pathlib.Path(__file__).parent / "planted"
NODES = ("nodes", "--launcher", "local", "--backend", "nccl", "--hosts", "part[1-2]", "--nranks-per-node", "1",
         "--size", "1M", "--rounds", "1", "--budget", "1", "--seed", "1", "--json")  # fmt: skip


def found(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str]]:
    """Return where sums were wrong, and what is said of it."""
    with pytest.raises(SystemExit):
        main([*NODES, "--out", str(tmp_path / "run")])
    document = json.loads(capsys.readouterr().out)
    assert {node["node"] for node in document["nodes"]} == {"part1", "part2"}
    return [(one["subject"], one["message"]) for one in document["findings"] if one["code"] == "wrong-result"]


def test_right_sums_pass(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert found(tmp_path, capsys) == []
    journal = [json.loads(line) for line in (tmp_path / "run/journal.jsonl").read_text().splitlines()]
    (value,) = [line for line in journal if line["kind"] == "group-value"]
    assert value["status"] == "ok"
    assert len(value["samples"]) >= 3


@pytest.mark.parametrize("number", [1, 3])
def test_one_wrong_element_of_one_sum_is_named(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Of the warm-up, and of a sample that is not the last."""
    monkeypatch.setenv("PYTHONPATH", str(PLANTED), prepend=":")
    monkeypatch.setenv("PLANTED_SUM", str(number))
    message = "1 element of their all-reduce was wrong in round 0, on part2"
    assert found(tmp_path, capsys) == [("part1–part2", message)]
