"""A sweep's answer by what could be measured at all, and its intervals."""

from __future__ import annotations

import math

import pytest
from html_samples import cell, sweep

from ncclprobe.findings import warning
from ncclprobe.names import DEFAULT
from ncclprobe.records.sweep import CellResult, Choice, Ratio, Status, Verdict
from ncclprobe.report.html.lines import families
from ncclprobe.report.html.sweep_figures import gain_figure
from ncclprobe.report.text.next_step import next_step
from ncclprobe.report.text.sweep import sweep_text, verdict_sentence

KEPT = Choice(verdict=Verdict.KEEP_DEFAULTS, env={}, table=(), gain=Ratio(ratio=1.0, low=1.0, high=1.0))
REFERENCE = cell(DEFAULT, 1024, 100.0, None)
SLOWER = cell("Ring", 1024, 120.0, Ratio(ratio=0.83, low=0.8, high=0.86))
HANGS = SLOWER.with_(status=Status.TIMEOUT, time_us=None, vs_default=None, busbw_gbps=None)
WRONG = SLOWER.with_(status=Status.WRONG, wrong=3)
REFUSED = REFERENCE.with_(status=Status.REFUSED, time_us=None, busbw_gbps=None)


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ((REFERENCE, SLOWER), "Keep the defaults: no setting beats them clearly at any size"),
        (
            (REFERENCE, SLOWER.with_(status=Status.ELIMINATED), HANGS),
            "Keep the defaults: no setting beats them clearly at any size",
        ),
        (
            (REFERENCE, HANGS, WRONG),
            "Keep the defaults: no other setting works, so nothing was compared with them",
        ),
        ((REFERENCE,), "Keep the defaults: no other setting was tried, so nothing was compared with them"),
        ((REFUSED, HANGS), "No answer: nothing could be measured"),
        ((), "No answer: nothing could be measured"),
    ],
)
def test_a_sweep_says_what_it_compared(cells: tuple[CellResult, ...], said: str) -> None:
    document = sweep().with_(cells=cells, choice=KEPT)
    assert verdict_sentence(document) == f"{said} (MPICH Ring, 4 ranks)."
    assert " ".join(sweep_text(document).split()).startswith(said)


@pytest.mark.parametrize(
    ("low", "spent", "said", "next_"),
    [
        (1.163, True, "Keep the defaults for now: the budget ended before any gain was confirmed", "can confirm"),
        (0.983, True, "Keep the defaults: no setting beats them clearly at any size", "can tell smaller gains"),
        (1.163, False, "Keep the defaults: no setting beats them clearly at any size", "jobs are slower"),
    ],
)
def test_a_gain_that_the_budget_left_unconfirmed_is_not_denied(low: float, spent: bool, said: str, next_: str) -> None:
    faster = cell("Ring", 1024, 82.5, Ratio(ratio=1.211, low=low, high=1.26))
    found = (
        (warning("budget-spent", "1K", "the budget of 9.5 s was spent", "Give a larger --budget."),) if spent else ()
    )
    document = sweep().with_(cells=(REFERENCE, faster), choice=KEPT, findings=found)
    assert verdict_sentence(document) == f"{said} (MPICH Ring, 4 ranks)."
    assert next_ in next_step(document)


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [
        (math.exp(-math.log(1000)), math.exp(math.log(1000)), "1.937 (<0.001->1000)"),
        (0.5, 1000.0, "1.937 (0.500->1000)"),
        (0.001, 3.0, "1.937 (<0.001-3.000)"),
        (0.0014, 999.0, "1.937 (0.001-999.000)"),
    ],
)
def test_an_interval_that_was_cut_has_open_ends(low: float, high: float, shown: str) -> None:
    unsure = cell("Ring", 1024, 120.0, Ratio(ratio=1.937, low=low, high=high))
    assert shown in sweep_text(sweep().with_(cells=(REFERENCE, unsure), choice=KEPT))


def test_a_drawn_interval_that_was_cut_says_so_and_leaves_the_others_their_room() -> None:
    sure = cell("Ring", 1024, 90.0, Ratio(ratio=1.1, low=1.05, high=1.15))
    unsure = cell("Ring", 2048, 90.0, Ratio(ratio=1.2, low=0.001, high=1000.0))
    document = sweep().with_(cells=(REFERENCE, sure, cell(DEFAULT, 2048, 100.0, None), unsure), choice=KEPT)
    (trace,) = gain_figure("sweep", document, next(families(document))).traces
    assert trace["customdata"][1].endswith("1.200 (<0.001 to >1000)")
    assert trace["error_y"]["array"] == pytest.approx([0.05, 0.0])
    assert trace["error_y"]["arrayminus"] == pytest.approx([0.05, 0.15])
