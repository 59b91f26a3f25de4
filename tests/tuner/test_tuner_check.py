"""Which sizes show whether a table is in force, and what fresh ranks' answers say of it."""

from __future__ import annotations

import pytest

from ncclprobe.findings import Severity
from ncclprobe.records.check import CheckedVariable, Outcome, Place
from ncclprobe.records.inspect import TunerRow
from ncclprobe.records.sweep import Cell
from ncclprobe.records.tuner import AnswerSource, Recorded, RecordedAnswer, Refusal
from ncclprobe.tuner.check import MOST_BYTES, Heard, Seen, checked, doubts, places

ROW = TunerRow(
    collective="all_reduce", min_bytes=8192, max_bytes=8192, algo="Tree", proto="LL128", nchannels=8, nnodes=1, nranks=2
)
RAN = Cell(algo="Tree", proto="LL128", nchannels=8)
OWN = Cell(algo="Ring", proto="LL", nchannels=4)


def answer(size: int, **changes: object) -> RecordedAnswer:
    mine = size == 8192
    said = {
        "source": AnswerSource.TABLE if mine else AnswerSource.LEFT_ALONE,
        "refused": None,
        "algo": "Tree" if mine else "Ring",
        "proto": "LL128" if mine else "LL",
        "nchannels": 8 if mine else None,
        "nnodes": 1,
    }
    return RecordedAnswer(
        count=1, operations=1, collective="all_reduce", size_bytes=size, nranks=2, api=5, **(said | changes)
    )


def record(*answers: RecordedAnswer) -> Recorded:
    return Recorded(source="r", host="h", pid=1, started="", asked=len(answers), overflow=0, answers=answers)


GOOD = record(*map(answer, (8188, 8192, 8196)))
SIZES = {("all_reduce", 8188): Seen(OWN), ("all_reduce", 8192): Seen(RAN), ("all_reduce", 8196): Seen(OWN)}


def heard(*records: Recorded, by_table: bool = True, **ran: Seen) -> Heard:
    return Heard(SIZES | {("all_reduce", int(name[1:])): seen for name, seen in ran.items()}, records, 2, by_table)


def outcomes(found: Heard, *rows: TunerRow) -> list[tuple[Outcome, list[tuple[int, str]]]]:
    return [
        (one.outcome, [(size.size_bytes, size.outcome.value) for size in one.sizes])
        for one in checked(rows or (ROW,), lambda _: 4, found)
    ]


@pytest.mark.parametrize(
    ("low", "high", "unit", "sizes"),
    [
        (8192, 8192, 4, [8188, 8192, None, 8196]),
        (0, 9, 4, [None, 4, 8, 12]),
        (5, 7, 4, []),
        (1, MOST_BYTES - 1, 8, [None, 8, MOST_BYTES - 8, MOST_BYTES]),
        (64, 2**62, 8, [56, 64, MOST_BYTES, None]),
    ],
)
def test_both_ends_and_what_lies_just_outside(low, high, unit, sizes):
    found = places(ROW.with_(min_bytes=low, max_bytes=high), unit)
    order = (Place.BELOW, Place.LOW, Place.HIGH, Place.ABOVE)
    assert [found.get(place) for place in order] == (sizes or [None] * 4)


def test_a_row_that_every_rank_was_told_is_applied():
    within = [(8188, "left-alone"), (8192, "applied"), (8196, "left-alone")]
    assert outcomes(heard(GOOD, GOOD)) == [(Outcome.APPLIED, within)]
    assert not list(doubts(checked((ROW,), lambda _: 4, heard(GOOD, GOOD)), (), 2))


FEW = Cell(algo="Tree", proto="LL128", nchannels=2)
MANY = Cell(algo="Tree", proto="LL128", nchannels=16)
UNTOLD = record(answer(8192, source=AnswerSource.LEFT_ALONE, algo="Ring", proto="LL", nchannels=None))


@pytest.mark.parametrize(
    ("found", "outcome", "reason"),
    [
        (heard(GOOD, _8192=Seen(FEW)), Outcome.OTHER, "NCCL ran Tree/LL128/2ch"),
        (heard(GOOD, _8192=Seen(MANY)), Outcome.OTHER, "NCCL ran Tree/LL128/16ch"),
        (heard(GOOD, _8192=Seen(OWN)), Outcome.OTHER, "NCCL ran Ring/LL/4ch"),
        (heard(GOOD, _8192=Seen()), Outcome.APPLIED, ""),
        (heard(_8192=Seen()), Outcome.UNTRIED, "NCCL said nothing of it, and did not ask the plugin"),
        (heard(UNTOLD), Outcome.OTHER, "the plugin left NCCL alone"),
        (heard(GOOD, UNTOLD), Outcome.OTHER, "the plugin left NCCL alone"),
        (
            heard(record(answer(8192, refused=Refusal.UNAVAILABLE, algo="Ring", proto="LL", nchannels=None))),
            Outcome.REFUSED,
            "NCCL says unavailable",
        ),
        (
            heard(record(answer(8192, source=AnswerSource.FORCED))),
            Outcome.OTHER,
            "NCCLPROBE_TUNER_FORCE comes before the table",
        ),
        (heard(GOOD, record(answer(8192, nchannels=4))), Outcome.OTHER, "ranks were told different settings"),
        (heard(GOOD, _8192=Seen(RAN, "wrong: 3 wrong elements")), Outcome.FAILED, "wrong: 3 wrong elements"),
        (
            heard(record(answer(8192, nnodes=2, source=AnswerSource.LEFT_ALONE))),
            Outcome.OTHER,
            "the row is for 1 nodes, and NCCL saw these ranks on 2",
        ),
        (heard(UNTOLD, by_table=False), Outcome.APPLIED, ""),
        (heard(UNTOLD, by_table=False, _8192=Seen(OWN)), Outcome.OTHER, "NCCL ran Ring/LL/4ch"),
    ],
)
def test_what_says_that_a_row_is_in_force(found, outcome, reason):
    (row,) = checked((ROW,), lambda _: 4, found)
    (low,) = [size for size in row.sizes if size.place is Place.LOW]
    assert (row.outcome, low.outcome, low.reason, low.wanted) == (outcome, outcome, reason, "Tree/LL128/8ch")
    errors = [finding for finding in doubts((row,), (), 2) if finding.severity is Severity.ERROR]
    assert bool(errors) == (outcome not in (Outcome.APPLIED, Outcome.UNTRIED))


def test_fewer_channels_are_nccls_right_but_at_the_upper_end():
    row = ROW.with_(max_bytes=16384)
    table = {"source": AnswerSource.TABLE, "algo": "Tree", "proto": "LL128", "nchannels": 8}
    told = record(answer(8188), answer(8192), answer(16384, **table), answer(16388))
    enough = heard(told, _8192=Seen(FEW), _16384=Seen(RAN))
    within = [(8188, "left-alone"), (8192, "applied"), (16384, "applied"), (16388, "left-alone")]
    assert outcomes(enough, row) == [(Outcome.APPLIED, within)]
    few = heard(told, _8192=Seen(FEW), _16384=Seen(FEW))
    assert outcomes(few, row) == [(Outcome.OTHER, [*within[:2], (16384, "other"), within[3]])]


def test_a_row_that_reaches_further_than_it_says_is_an_error():
    reaching = record(answer(8188), answer(8192), answer(8196, source=AnswerSource.TABLE))
    (finding,) = doubts(checked((ROW,), lambda _: 4, heard(reaching)), (), 2)
    assert finding.code == "row-not-in-force"
    assert finding.message == ("At 8196 NCCL's own choice is to run, but the plugin applied a row where none matches.")


def test_neighbours_are_told_apart_and_a_row_behind_another_is_named():
    next_one = ROW.with_(min_bytes=8193, max_bytes=8196, algo="Ring", proto="LL", nchannels=None)
    told = record(answer(8188), answer(8192), answer(8196, source=AnswerSource.TABLE), answer(8200))
    found = outcomes(heard(told, _8200=Seen(OWN)), ROW, next_one)
    assert found[0][1][-1] == (8196, "applied")
    assert found[1] == (
        Outcome.APPLIED, [(8192, "applied"), (8196, "applied"), (8200, "left-alone")],
    )  # fmt: skip
    (_, hidden) = checked((ROW, ROW.with_(algo="Ring")), lambda _: 4, heard(GOOD))
    assert {size.reason for size in hidden.sizes if size.place is Place.LOW} == {
        "an earlier row comes first, with Tree/LL128/8ch"
    }


def test_rows_that_these_ranks_cannot_try():
    rows = (ROW.with_(nranks=4), ROW.with_(min_bytes=8193, max_bytes=8195))
    found = checked(rows, lambda _: 4, heard(GOOD))
    assert [one.outcome for one in found] == [Outcome.UNTRIED, Outcome.UNTRIED]
    assert [finding.message for finding in doubts(found, (), 2)] == [
        "The row is for 4 ranks, and 2 were started.",
        "The row could not be tried: no size lies in it that these ranks can send.",
    ]


def test_a_variable_that_ranks_do_not_have():
    variable = CheckedVariable(name="MPIR_CVAR_X", value="ring", seen=("ring", "auto", None), in_force=False)
    (finding,) = doubts((), (variable,), 3)
    assert (finding.code, finding.subject) == ("variable-not-in-force", "MPIR_CVAR_X")
    assert finding.message == "It is to be ring, but ranks have ring, auto, no such variable."
