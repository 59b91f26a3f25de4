"""What a sweep has seen: pairs within blocks, and which cells are out where."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sweep_worlds import CELLS, LL, LL128, RING, SIMPLE, evidence_of, measured, point, world

from ncclprobe.backends.fabric import Fault, Noise
from ncclprobe.records.sweep import DEFAULT_CELL, Block, Launch, Status
from ncclprobe.sweep.evidence import Evidence, matrix

HERE, THERE = point(1024), point(65536)


def launch_of(index: int = 0, stage: str = "explore") -> Launch:
    blocks = tuple(Block(point=p, cells=(DEFAULT_CELL, LL, RING), repeat=3) for p in (HERE, THERE))
    return Launch(index=index, stage=stage, nranks=4, blocks=blocks, warmups=1, timeout_s=1.0, seed=1)


@pytest.fixture
def evidence() -> Evidence:
    fresh = Evidence()
    fresh.begin(launch_of(0))
    return fresh


def ratios(evidence: Evidence, cell=LL, at=HERE, launch: int = 0) -> list[float]:
    return list(evidence.summaries(at, launch)[cell].ratios)


def test_ratios_are_pairs_within_a_block(evidence):
    evidence.add(measured((DEFAULT_CELL, LL), (10.0, 8.0), block=0))
    evidence.add(measured((LL, DEFAULT_CELL), (20.0, 30.0), block=1))
    assert ratios(evidence) == pytest.approx([math.log(10 / 8), math.log(30 / 20)])
    assert evidence.summaries(HERE, 0)[LL].count == 2
    assert DEFAULT_CELL not in evidence.summaries(HERE, 0)


def test_a_block_may_come_in_pieces(evidence):
    for cells, times in (((LL,), (8.0,)), ((DEFAULT_CELL,), (10.0,)), ((RING,), (5.0,))):
        evidence.add(measured(cells, times, block=0))
    assert ratios(evidence) == pytest.approx([math.log(10 / 8)])
    assert ratios(evidence, RING) == pytest.approx([math.log(2)])
    assert evidence.blocks_done(HERE, 0) == 1


def test_a_block_without_its_default_has_no_pairs(evidence):
    evidence.add(measured((LL,), (8.0,), block=0))
    evidence.add(measured((DEFAULT_CELL, RING), (10.0, 5.0), block=1))
    assert set(evidence.summaries(HERE, 0)) == {RING}
    assert evidence.blocks_done(HERE, 0) == 1


def test_warm_ups_are_paid_for_and_ignored(evidence):
    evidence.add(measured((DEFAULT_CELL, LL), (100.0, 900.0), warmup=True))
    assert evidence.summaries(HERE, 0) == {}
    assert list(evidence.log_times(HERE, LL)) == []
    assert evidence.blocks_done(HERE, 0) == 0
    assert evidence.spent_s == pytest.approx(1000e-6)


def test_a_warm_up_that_sums_wrongly_counts(evidence):
    wrong = measured((DEFAULT_CELL, LL), (10.0, 8.0), statuses=(Status.OK, Status.WRONG), warmup=True, wrong=(0, 7))
    evidence.add(wrong)
    assert evidence.out == {LL: (Status.WRONG, "")}
    assert evidence.wrong[HERE, LL] == 7


@pytest.mark.parametrize("status", [Status.WRONG, Status.TIMEOUT])
def test_a_broken_cell_is_out_everywhere(evidence, status):
    evidence.add(measured((DEFAULT_CELL, LL), (10.0, None), statuses=(Status.OK, status), message="why"))
    assert not evidence.usable(HERE, LL)
    assert not evidence.usable(THERE, LL)
    assert evidence.out == {LL: (status, "why")}
    assert all(evidence.usable(at, cell) for at in (HERE, THERE) for cell in (DEFAULT_CELL, RING))


def test_the_first_reason_to_be_out_stays(evidence):
    evidence.add(measured((LL,), (10.0,), statuses=(Status.WRONG,), message="first"))
    evidence.add(measured((LL,), (None,), statuses=(Status.TIMEOUT,), message="second"))
    assert evidence.out == {LL: (Status.WRONG, "first")}


def test_a_refused_cell_is_out_at_that_point_only(evidence):
    evidence.add(measured((DEFAULT_CELL, LL), (10.0, None), statuses=(Status.OK, Status.REFUSED), message="too small"))
    assert not evidence.usable(HERE, LL)
    assert evidence.usable(THERE, LL)
    assert evidence.refused == {(HERE, LL): "too small"}
    assert evidence.out == {}


def test_wrong_samples_have_no_time(evidence):
    evidence.add(measured((DEFAULT_CELL, LL), (10.0, 8.0), statuses=(Status.OK, Status.WRONG)))
    assert list(evidence.log_times(HERE, LL)) == []
    assert evidence.spent_s == pytest.approx(18e-6)


def test_launches_and_points_are_kept_apart(evidence):
    evidence.begin(launch_of(1, "confirm"))
    evidence.add(measured((DEFAULT_CELL, LL), (10.0, 8.0), launch=0))
    evidence.add(measured((DEFAULT_CELL, LL), (10.0, 5.0), launch=1))
    evidence.add(measured((DEFAULT_CELL, LL), (10.0, 4.0), launch=1, at=THERE))
    assert ratios(evidence, launch=0) == pytest.approx([math.log(10 / 8)])
    assert ratios(evidence, launch=1) == pytest.approx([math.log(2)])
    assert ratios(evidence, launch=1, at=THERE) == pytest.approx([math.log(2.5)])
    assert [np.exp(times).tolist() for times in evidence.log_times(HERE, LL)] == [
        pytest.approx([8.0]),
        pytest.approx([5.0]),
    ]
    assert evidence.summaries(THERE, 0) == {}


def test_a_summary_follows_new_blocks(evidence):
    evidence.add(measured((DEFAULT_CELL, LL), (10.0, 8.0), block=0))
    assert evidence.summaries(HERE, 0)[LL].count == 1
    evidence.add(measured((DEFAULT_CELL, LL), (10.0, 8.0), block=1))
    assert evidence.summaries(HERE, 0)[LL].count == 2


def test_operations_are_those_of_timed_samples(evidence):
    evidence.add(measured((DEFAULT_CELL,), (10.0,), warmup=True, operations=1))
    assert evidence.operations == {}
    evidence.add(measured((DEFAULT_CELL,), (10.0,), operations=64))
    assert evidence.operations == {HERE: 64}


def test_the_scale_is_that_of_a_pair_and_stays():
    noisy = world(noise=Noise(cv=0.05, drift=0.2, launch_cv=0.1))
    evidence = evidence_of(noisy, launches=4, repeat=200)
    at = next(iter(noisy.times))
    scale = evidence.scale(at)
    # Both samples of a pair scatter by 5 %; drift and the launch's factor are no part of it.
    assert scale == pytest.approx(0.05 * math.sqrt(2), rel=0.06)
    evidence.begin(launch_of(9))
    evidence.add(measured((DEFAULT_CELL, LL), (10.0, 1000.0), launch=9, at=at))
    assert evidence.scale(at) == scale


def test_the_location_ignores_wild_samples():
    wild = world({(1024, LL): 1.1}, noise=Noise(cv=0.02, outlier_rate=0.1, outlier_factor=4.0), sizes=(1024,))
    summary = evidence_of(wild, launches=1, repeat=400).summaries(HERE, 0)
    assert summary[LL].location == pytest.approx(math.log(1.1), abs=0.005)
    for cell in (LL128, SIMPLE, RING):
        assert summary[cell].location == pytest.approx(0, abs=0.005)


def test_a_cell_that_hangs_leaves_the_others_their_pairs():
    hangs = world(faults=(Fault(kind="hang", algo="Tree", proto="LL", rate=0.02),), sizes=(1024,))
    evidence = evidence_of(hangs, launches=2, repeat=200)
    assert evidence.out[LL][0] is Status.TIMEOUT
    assert all(evidence.usable(HERE, cell) for cell in CELLS if cell != LL)
    assert 0 < evidence.blocks_done(HERE, 0) < 200


def test_a_matrix_has_gaps_where_a_row_has_none():
    rows = matrix([{0: 1.0, 2: 3.0}, {1: 2.0}], [0, 1, 2])
    assert np.array_equal(rows, np.array([[1, math.nan, 3], [math.nan, 2, math.nan]]), equal_nan=True)
