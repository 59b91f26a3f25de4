"""How many operations samples have, and when a cell is given up."""

from __future__ import annotations

import pytest
from sweep_worlds import LL, RING, point

from ncclprobe.records.sweep import DEFAULT_CELL
from ncclprobe.sweep.pace import MOST_OPERATIONS, Pace, wanted_operations

AT = point(1024)


@pytest.mark.parametrize(
    ("each_s", "operations", "wanted"),
    [
        (6e-3, 1, 1),
        (600e-6, 1, 2),
        (600e-6, 2, 2),
        (100e-6, 1, 5),
        (100e-6, 5, 5),
        (150e-6, 3, 6),
        (5e-6, 1, 100),
        (5e-6, 90, 180),
        (1e-9, 600, MOST_OPERATIONS),
        (1e-9, MOST_OPERATIONS, MOST_OPERATIONS),
        (0.0, 7, 7),
    ],
)
def test_a_sample_lasts_half_a_millisecond(each_s: float, operations: int, wanted: int) -> None:
    assert wanted_operations(each_s, operations, 500e-6) == wanted
    assert wanted_operations(20 * each_s, operations, 10e-3) == wanted or each_s in (6e-3, 600e-6)


def paced(*ratios: float, cell=RING, each_s: float = 5e-6) -> Pace:
    """Return a pace at which the default's samples have 100 operations and the cell's took so many times as long."""
    pace = Pace()
    assert not pace.knows(AT)
    pace.set(AT, 100)
    pace.note(AT, DEFAULT_CELL, 4 * each_s, None)
    pace.note(AT, DEFAULT_CELL, 100 * each_s, 100)
    for number, ratio in enumerate(ratios):
        pace.note(AT, cell, ratio * (4 * each_s if number == 0 else each_s * 10), None if number == 0 else 10)
    assert pace.knows(AT)
    return pace


@pytest.mark.parametrize(
    ("ratios", "operations", "hopeless"),
    [
        ((), 100, False),
        ((0.5,), 100, False),
        ((1.9,), 100, False),
        ((2.0,), 50, False),
        ((30.0,), 4, False),
        ((1000.0,), 1, False),
        ((30.0, 1.0), 100, False),
        ((3.0, 3.1), 33, True),
        ((2.9, 30.0), 4, False),
        ((30.0, 2.9), 35, False),
        ((30.0, 31.0, 1.0), 100, False),
    ],
)
def test_slow_cells_run_less_and_are_given_up(ratios: tuple[float, ...], operations: int, hopeless: bool) -> None:
    pace = paced(*ratios, each_s=1e-3)
    assert (pace.operations(AT, RING), pace.hopeless(AT, RING)) == (operations, hopeless)
    assert (pace.operations(AT, LL), pace.hopeless(AT, LL)) == (100, False)
    assert not pace.hopeless(AT, DEFAULT_CELL)


def test_short_samples_are_all_taken() -> None:
    assert not paced(30.0, 31.0, each_s=10e-6).hopeless(AT, RING)
    assert paced(30.0, 31.0, each_s=20e-6).hopeless(AT, RING)


def test_a_time_that_the_default_has_none_of_says_nothing() -> None:
    pace = Pace()
    pace.set(AT, 10)
    pace.note(AT, RING, 1.0, None)
    pace.note(AT, RING, 1.0, 1)
    assert (pace.operations(AT, RING), pace.hopeless(AT, RING)) == (10, False)
