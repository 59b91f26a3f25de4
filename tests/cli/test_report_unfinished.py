"""``report`` on runs that have not ended: what validate-e2e says so far, also from a compressed journal."""

from __future__ import annotations

import json
import pathlib
import shutil
import sys
from typing import Any

import jsonschema
import pytest

from ncclprobe.cli import main
from ncclprobe.cli.report import read_run
from ncclprobe.cli.schema import document_schema
from ncclprobe.records.e2e import E2eDocument, E2eVerdict
from ncclprobe.report.prometheus import prometheus_text

DATA = pathlib.Path(__file__).parents[2] / "data" / "h200_sglang_202611"


def call(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main([*map(str, words)])
    captured = capsys.readouterr()
    return int(exit_.value.code or 0), captured.out, captured.err


def document_of(path: pathlib.Path) -> E2eDocument:
    document = read_run(path).document
    assert isinstance(document, E2eDocument)
    return document


@pytest.fixture
def kept(tmp_path: pathlib.Path) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(DATA / "ab", tmp_path / "ab"))


def test_the_answer_so_far_is_shown_and_marked(kept: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, text, _ = call(capsys, "report", kept)
    lines, words = text.splitlines(), " ".join(text.split())
    assert status == 0
    assert lines[0].startswith("unfinished, so far: inconclusive")
    assert lines[1].startswith("candidate / baseline throughput: 0.9")
    assert lines[1].endswith(", 8 pairs")
    assert "info unfinished (sglang): The comparison has not ended: 16 good trials so far, at most 24 in all." in words
    assert "trials an arm would settle it" in words
    assert lines[-1] == f"  ncclprobe validate-e2e --resume {kept}"
    assert not (kept / "document.json").exists()


def test_a_compressed_journal_is_read_but_not_gone_on_with(
    kept: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    way = f"gunzip {kept / 'journal.jsonl.gz'}"
    (finding,) = [one for one in document_of(kept).findings if one.code == "unfinished"]
    assert finding.hint == f"Go on with `{way} && ncclprobe validate-e2e --resume {kept}`, unless it still runs."
    status, _, said = call(capsys, "validate-e2e", "--resume", kept)
    assert (status, said) == (1, f"Error: the journal of {kept} is compressed; `{way}` first\n")
    assert sorted(path.name for path in kept.iterdir()) == ["candidate-table.csv", "journal.jsonl.gz", "manifest.json"]


def test_both_arms_alike_are_said_before_the_end() -> None:
    document = document_of(DATA / "aa")
    assert [finding.code for finding in document.findings][:2] == ["unfinished", "identical-arms"]
    assert (document.trials_per_arm, document.finished) == (5, False)


def test_metrics_for_prometheus_are_of_finished_runs_alone() -> None:
    document = document_of(DATA / "aa")
    assert "e2e_verdict" not in prometheus_text([document])
    assert "e2e_verdict" in prometheus_text([document.with_(finished=True)])


def test_a_run_that_was_killed_says_the_same_later(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    shown = [sys.executable, "-c", "import os; print('speed', 100 * float(os.environ.get('X', 1)))"]
    options = ("--workload", "command", "--metric", r"speed ([\d.]+)", "--candidate", "X=1.5", "--telemetry", 0)
    call(capsys, "validate-e2e", *options, "--trials", 4, "--warmup", 0, "--seed", 1, "--out", run, "--", *shown)
    (run / "document.json").unlink()
    with (run / "journal.jsonl").open("a") as journal:
        journal.write('{"kind": "tri')
    status, text, _ = call(capsys, "report", run, "--json")
    found: dict[str, Any] = json.loads(text)
    jsonschema.validate(found, document_schema("report"))
    assert status == 0
    assert found["runs"][0]["verdict"].startswith("command: unfinished, so far: The candidate is faster.")
    assert document_of(run).verdict is E2eVerdict.FASTER
    call(capsys, "validate-e2e", "--resume", run)
    assert document_of(run).finished


def test_other_commands_say_how_to_go_on(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(DATA / "sweep" / "manifest.json", tmp_path)
    status, _, said = call(capsys, "report", tmp_path)
    way = f"go on with `ncclprobe sweep --resume {tmp_path}`"
    assert (status, said) == (1, f"Error: {tmp_path} holds an unfinished run of sweep, without a result yet; {way}\n")
