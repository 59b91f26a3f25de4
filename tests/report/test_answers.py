"""A report's texts begin with the answer that ``verdict`` gives of the whole document, findings and all."""

from __future__ import annotations

import pathlib

import pytest
from html_samples import sweep

from ncclprobe.findings import error, warning
from ncclprobe.records.base import Document
from ncclprobe.records.e2e import ARM_FAILED, E2eDocument, E2eVerdict
from ncclprobe.records.profile import ProfileDocument
from ncclprobe.records.tune import TuneDocument
from ncclprobe.records.watch import CHANGES, Check, CheckStatus, WatchDocument
from ncclprobe.report.text.runs import Run, runs_text
from ncclprobe.report.text.validate_e2e import e2e_text
from ncclprobe.report.text.verdict import verdict
from ncclprobe.store import read_document

DATA = pathlib.Path(__file__).parents[2] / "data"
CHECK = Check(
    number=1, started="2026-11-22T00:00:00Z", seconds=1.0, status=CheckStatus.DONE, exit_status=0, path="checks/1",
    message="Keep the defaults.",
)  # fmt: skip
CHANGED = warning(CHANGES[1], "all_reduce 1M", "It takes 20 % longer than before.", "Look at the hosts.")
LATER = warning(CHANGES[2], "dgx002", "It was ok and is slow.", "Look at dgx002.")
WATCH = WatchDocument(check="sweep", arguments=(), every_s=60.0, checks=(CHECK,), findings=(CHANGED, LATER))
FAILED = E2eDocument(
    workload="command", metric="tok_s", baseline={}, candidate={"NCCL_ALGO": "Ring"}, trials=(),
    verdict=E2eVerdict.INCONCLUSIVE, ratio=None, trials_per_arm=0,
    findings=(error(ARM_FAILED, "candidate", "3 of 3 trials failed.", "Read their logs."),),
)  # fmt: skip
TUNE = read_document(DATA / "demo_2cores_202611", [TuneDocument])
PROFILE = ProfileDocument(sources=(), messages=(), kernels=(), comm_share=None)


def body(document: Document) -> str:
    """Return a document's text in a report of it alone, with its lines joined."""
    return " ".join(runs_text([Run(source="run", document=document)]).split())


@pytest.mark.parametrize("document", [WATCH, sweep(), TUNE, PROFILE], ids=lambda document: document.schema)
def test_a_body_begins_with_the_verdict(document: Document) -> None:
    assert body(document).startswith(verdict(document))


def test_changes_are_counted_though_findings_stand_further_below() -> None:
    assert body(WATCH).startswith("1 check (sweep), none failed; 2 changes.")
    assert body(WATCH).count(CHANGED.hint) == 1


def test_an_arm_that_failed_too_often_is_no_open_question() -> None:
    answer = "No answer: candidate failed too often to be compared."
    assert answer in verdict(FAILED)
    assert body(FAILED).startswith(f"inconclusive {answer}")
    assert body(FAILED).count("Read their logs.") == 1


def test_a_commands_own_text_has_its_findings() -> None:
    assert "Read their logs." in e2e_text(FAILED)
    assert "Read their logs." not in e2e_text(FAILED, with_findings=False)
