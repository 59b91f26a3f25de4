"""From winners to a table by size, and to variables where one setting fits everywhere."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncclprobe.records.sweep import Cell, Point, Ratio, TableRow, Verdict
from ncclprobe.tuner.choose import choose, table, widened

TREE, RING = Cell(algo="Tree", proto="LL"), Cell(algo="Ring", proto="Simple", nchannels=16)
SIZES = (8, 64, 512, 4096, 32768)
POINTS = tuple(Point(collective="all_reduce", dtype="float32", size_bytes=size) for size in SIZES)
GAIN = Ratio(ratio=1.1, low=1.05, high=1.15)


def row(low: int, high: int, cell: Cell) -> TableRow:
    return TableRow(
        collective="all_reduce",
        min_bytes=low,
        max_bytes=high,
        algo=cell.algo,
        proto=cell.proto,
        nchannels=cell.nchannels,
    )


def winners(*cells: Cell | None) -> dict[Point, Cell]:
    return {point: cell for point, cell in zip(POINTS, cells, strict=True) if cell}


def test_far_from_both_of_two_different_winners_the_library_decides() -> None:
    small, large = (Point(collective="all_reduce", dtype="float32", size_bytes=size) for size in (14336, 32 << 20))
    found = table((small, large), {small: TREE, large: RING})
    assert found == (row(14336, 8 * 14336, TREE), row(4 << 20, 32 << 20, RING))
    assert table((small, large), {small: TREE, large: TREE}) == (row(14336, 32 << 20, TREE),)


def chosen(cells, ratios: dict[tuple[int, Cell], float], environment=None):
    known = {
        (point, cell): Ratio(ratio=r, low=r - 0.01, high=r + 0.01)
        for (size, cell), r in ratios.items()
        for point in POINTS
        if point.size_bytes == size
    }
    asked = environment or (lambda collective, cell: {"SET": f"{collective}:{cell.label}"})
    return choose(POINTS, winners(*cells), known, GAIN, asked)


@pytest.mark.parametrize(
    ("cells", "rows"),
    [
        ((None,) * 5, []),
        ((TREE,) * 5, [row(8, 32768, TREE)]),
        ((None, TREE, TREE, TREE, None), [row(64, 4096, TREE)]),
        ((None, None, RING, None, None), [row(512, 512, RING)]),
        ((TREE, None, TREE, None, None), [row(8, 8, TREE), row(512, 512, TREE)]),
        # Between different winners the border is the sizes' geometric mean: sqrt(64 * 512) = 181.02.
        ((TREE, TREE, RING, RING, RING), [row(8, 180, TREE), row(181, 32768, RING)]),
        (
            (TREE, RING, TREE, None, RING),
            [row(8, 21, TREE), row(22, 180, RING), row(181, 512, TREE), row(32768, 32768, RING)],
        ),
    ],
)
def test_rows_from_winner_to_winner(cells, rows):
    assert list(table(POINTS, winners(*cells))) == rows


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(1, 30) | st.integers(1, 1 << 31), min_size=1, max_size=8, unique=True),
    st.lists(st.sampled_from([None, TREE, RING]), min_size=8, max_size=8),
)
def test_a_table_says_at_each_measured_size_who_won_there(sizes, cells):
    points = [POINTS[0].with_(size_bytes=size) for size in sorted(sizes)]
    won = {point: cell for point, cell in zip(points, cells, strict=False) if cell}
    rows = table(points, won)
    for point in points:
        found = [(r.algo, r.proto, r.nchannels) for r in rows if r.min_bytes <= point.size_bytes <= r.max_bytes]
        cell = won.get(point)
        assert found == ([(cell.algo, cell.proto, cell.nchannels)] if cell else [])
    assert all(r.min_bytes <= r.max_bytes for r in rows)
    assert all(one.max_bytes < other.min_bytes for one, other in itertools.pairwise(rows))
    if rows:  # closed outside what was measured
        assert (rows[0].min_bytes, rows[-1].max_bytes) == (min(won).size_bytes, max(won).size_bytes)


def test_neighbours_of_different_winners_meet_without_a_gap():
    rows = table(POINTS, winners(TREE, RING, TREE, RING, TREE))
    for i, (one, other) in enumerate(itertools.pairwise(rows)):
        assert other.min_bytes == one.max_bytes + 1
        assert other.min_bytes == math.isqrt(SIZES[i] * SIZES[i + 1])


# ---- the choice


def test_without_winners_the_defaults_stay():
    choice = chosen((None,) * 5, {})
    assert choice.verdict is Verdict.KEEP_DEFAULTS
    assert (choice.env, choice.table) == ({}, ())
    assert choice.gain == Ratio(ratio=1.0, low=1.0, high=1.0)


def test_variables_where_one_setting_is_no_slower_anywhere():
    choice = chosen((None, TREE, TREE, None, None), {(size, TREE): 1.0 + 0.1 * (size > 8) for size in SIZES})
    assert choice.verdict is Verdict.CHANGE
    assert choice.env == {"SET": "all_reduce:Tree/LL"}
    assert choice.table == (row(64, 512, TREE),)
    assert choice.gain == GAIN


@pytest.mark.parametrize(
    ("cells", "ratios"),
    [
        ((None, TREE, TREE, None, None), {(size, TREE): 0.99 if size == 32768 else 1.1 for size in SIZES}),
        ((None, TREE, TREE, None, None), {(size, TREE): 1.1 for size in SIZES[:4]}),
        ((TREE, RING, RING, RING, RING), {(size, cell): 1.1 for size in SIZES for cell in (TREE, RING)}),
    ],
    ids=["slower at a size", "not measured at a size", "two settings"],
)
def test_no_variables_where_no_setting_fits_all(cells, ratios):
    choice = chosen(cells, ratios)
    assert choice.verdict is Verdict.CHANGE
    assert choice.env == {}
    assert choice.table


def test_no_variables_where_none_says_it_safely():
    ratios = {(size, TREE): 1.1 for size in SIZES}
    assert chosen((TREE,) * 5, ratios, lambda collective, cell: {}).env == {}


@pytest.mark.parametrize(("own", "env"), [(None, {}), (24, {}), (16, {}), (8, {"NCCL_MIN_NCHANNELS": "16"})])
def test_more_channels_than_nccls_own_are_asked_for_beside_the_table(own, env):
    choice = choose(POINTS, winners(TREE, None, RING, RING, None), {}, GAIN, lambda *_: {}, own)
    assert choice.env == env
    assert [r.nchannels for r in choice.table] == [None, 16]


def test_rows_reach_as_far_as_what_the_measured_sizes_stand_for() -> None:
    rows = (row(64, 512, TREE), row(4096, 4096, RING))
    extents = {8: (4, 9), 64: (60, 70), 512: (400, 900), 4096: (4000, 5000)}
    assert widened(rows, extents) == (row(60, 900, TREE), row(4000, 5000, RING))
    assert widened(rows, {}) == rows


@given(
    st.lists(st.sampled_from([None, TREE, RING]), min_size=5, max_size=5),
    st.lists(st.tuples(st.integers(1, 100), st.integers(1, 100)), min_size=5, max_size=5),
)
@settings(deadline=None)
def test_wider_rows_still_hold_what_they_held_and_never_overlap(cells, reaches) -> None:
    rows = table(POINTS, winners(*cells))
    extents = {size: (max(1, size // low), size * high) for size, (low, high) in zip(SIZES, reaches, strict=True)}
    wider = widened(rows, extents)
    assert all(a.min_bytes <= b.min_bytes and b.max_bytes <= a.max_bytes for a, b in zip(wider, rows, strict=True))
    assert all(a.max_bytes < b.min_bytes for a, b in itertools.pairwise(wider))
