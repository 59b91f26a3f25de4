"""Of several runs, a finding says which of them have it: a repaired node is not to be left out again."""

from __future__ import annotations

import json
import pathlib

import msgspec
import pytest
from html_samples import nodes

from ncclprobe.cli import main
from ncclprobe.findings import error, info
from ncclprobe.records.nodes import NodesDocument
from ncclprobe.report.html.page import page
from ncclprobe.report.html.part import Part, Shown
from ncclprobe.report.text.github import github_text
from ncclprobe.report.text.letters import letter, letters, mark
from ncclprobe.report.text.runs import Run, all_findings, runs_text

SLOW = error("slow-node", "dgx002", "dgx002 is 15 % slower.", "Leave dgx002 out of jobs.")
NOTE = info("few-partners", "dgx001", "dgx001 had one partner.", "Measure longer.")
BEFORE: NodesDocument = nodes("dgx001", "dgx002", slow="dgx002").with_(findings=(NOTE, SLOW))
AFTER = nodes("dgx001", "dgx002").with_(findings=(NOTE,))
RUNS = [Run(source="before", document=BEFORE), Run(source="after", document=AFTER)]


def test_text_and_issue_have_the_runs_letters() -> None:
    text = runs_text(RUNS)
    assert text.startswith("[A] before: 2 nodes; slow: dgx002.\n[B] after: 2 nodes; none stands out.\n")
    assert "\n[B] after (nodes, " in text
    assert "\nerror slow-node (dgx002) [A]: dgx002 is 15 % slower.\n" in text
    assert "\ninfo few-partners (dgx001) [A, B]: dgx001 had one partner.\n" in text
    assert "error slow-node (dgx002) [A]: " in github_text(text)


def test_a_run_alone_needs_none() -> None:
    text = runs_text(RUNS[:1])
    assert "\nerror slow-node (dgx002): dgx002 is 15 % slower.\n" in text
    assert "[A]" not in text


def test_a_page_has_them_beside_the_subject() -> None:
    shown = [Shown(source=run.source, parts=(Part(document=run.document),)) for run in RUNS]
    text = page(shown, all_findings(RUNS), "")
    assert "<strong>dgx002</strong> [A]: " in text
    assert "<strong>dgx001</strong> [A, B]: " in text
    assert "<strong>dgx002</strong>: " in page(shown[:1], all_findings(RUNS[:1]), "")


def test_the_document_names_the_runs(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [tmp_path / "before.json", tmp_path / "after.json"]
    for path, run in zip(paths, RUNS, strict=True):
        path.write_bytes(msgspec.json.encode(run.document))
    with pytest.raises(SystemExit):
        main(["report", "--json", *map(str, paths)])
    found = {one["code"]: one["runs"] for one in json.loads(capsys.readouterr().out)["findings"]}
    assert found == {"slow-node": [str(paths[0])], "few-partners": [str(path) for path in paths]}


def test_letters_go_on_behind_z() -> None:
    assert (letter(0), letter(25), letter(26)) == ("A", "Z", "run 27")
    assert mark(["b", "c"], letters(["a", "b", "c"])) == "[B, C]"
