"""Names of a document that somebody else wrote: they forge neither a line of the text nor anything on GitHub."""

from __future__ import annotations

import json
import pathlib
import re

import msgspec
import pytest
from html_samples import e2e, nodes

from ncclprobe.cli import main
from ncclprobe.findings import error
from ncclprobe.records.base import Document
from ncclprobe.report.text.github import github_text
from ncclprobe.report.text.lines import in_lines

FORGED = "dgx001\n\nerror all-is-lost (dgx002): forged\tcell"
OUTPUT = "It printed:\n```\n# Not a heading\n````\n@torvalds"


def reported(tmp_path: pathlib.Path, document: Document, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """Return what is printed of a document in a file."""
    file = tmp_path / "given.json"
    file.write_bytes(msgspec.json.encode(document))
    with pytest.raises(SystemExit):
        main(["report", str(file), *options])
    return capsys.readouterr().out


@pytest.mark.parametrize("options", [[], ["--quiet"], ["--format", "github"]])
def test_no_name_begins_a_line_or_a_cell(
    options: list[str], tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = nodes(FORGED, "dgx003", slow=FORGED).with_(
        findings=(error("slow-node", FORGED, "It is slow.", "Look."),), source=FORGED
    )
    text = reported(tmp_path, document, capsys, *options)
    assert not re.search(r"^\W*error all-is-lost", text, re.MULTILINE)
    assert "\t" not in text
    assert "dgx001\\n\\nerror" in text


def test_variables_are_names_too(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = e2e(env={"A\nB": "1\nNext: forged"})
    assert "candidate: A\\nB=1\\nNext: forged" in reported(tmp_path, document, capsys)


def test_machines_get_names_as_they_are(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = nodes(FORGED, "dgx003").with_(findings=(error("slow-node", FORGED, "It is slow.", "Look."),))
    assert json.loads(reported(tmp_path, document, capsys, "--json"))["findings"][0]["subject"] == FORGED


def test_prose_keeps_its_lines_and_sound_documents_stay_what_they_are() -> None:
    document = nodes("dgx001", "dgx002").with_(findings=(error("slow-node", "dgx001", OUTPUT, "Look."),))
    assert in_lines(document) is document


def test_a_fence_is_longer_than_those_in_quoted_output() -> None:
    issue = github_text(f"error arm-failed (candidate): {OUTPUT}\n  Look.")
    assert issue == f"`````\nerror arm-failed (candidate): {OUTPUT}\n  Look.\n`````"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("dgx001", "dgx001"),
        ("a|b", "a\\|b"),
        ("@torvalds", "`@torvalds`"),
        ("#1", "`#1`"),
        ("<img src=x>", "`<img` `src=x>`"),
        ("[x](javascript:1)", "`[x](javascript:1`)"),
        ("*bold*", "`*bold*`"),
        ("all_reduce,", "`all_reduce`,"),
        ("``", "``` `` ```"),
        ("a\\|b", "<code>a&#92;&#124;b</code>"),
    ],
)
def test_a_cell_shows_each_letter(name: str, shown: str) -> None:
    width = max(len(name), 8)
    table = f"{'name'.ljust(width)}  status\n{'-' * width}  ------\n{name.ljust(width)}  ok"
    assert github_text(table).splitlines()[2].startswith(f"| {shown} ")


def test_prose_mentions_nobody() -> None:
    assert github_text("Ask @torvalds about #1.") == "Ask `@torvalds` about `#1`."
    assert github_text("Two\n1. forged") == "```\nTwo\n1. forged\n```"
