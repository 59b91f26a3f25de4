"""From options to points and cells, and what each impossible wish is told."""

from __future__ import annotations

import pytest
from sweep_worlds import CELLS, LL, RING, point

from ncclprobe.backends.base import Capabilities
from ncclprobe.errors import UsageError
from ncclprobe.records.sweep import Cell
from ncclprobe.sweep.plan import SweepOptions, planned_cells, planned_points

CHANNELS = tuple(Cell(algo=a, proto=p, nchannels=n) for a, p in (("Tree", "LL"), ("Ring", "LL")) for n in (1, 4, 16))


def options(**changes: object) -> SweepOptions:
    return SweepOptions(backend="sim", seed=1).with_(**changes)


def offered(cells=CELLS) -> Capabilities:
    return Capabilities(library="test", nranks=4, nnodes=1, cells=cells)


def sizes(points) -> list[int]:
    return [point.size_bytes for point in points]


# ---- points


def test_a_backend_that_takes_any_size_gets_the_usual_ones():
    points = planned_points(options(), ())
    assert sizes(points) == [8, 64, 512, 4096, 32768, 262144, 2097152]
    assert {(p.collective, p.dtype) for p in points} == {("all_reduce", "float32")}


def test_sizes_and_types_as_asked_for():
    points = planned_points(options(sizes="1K:1M:32", dtype="bfloat16", collective="all_gather"), ())
    assert sizes(points) == [1 << 10, 1 << 15, 1 << 20]
    assert {(p.collective, p.dtype) for p in points} == {("all_gather", "bfloat16")}


def test_a_table_is_swept_whole_unless_sizes_are_named():
    table = tuple(point(size) for size in (4096, 8, 64))
    assert sizes(planned_points(options(), table)) == [8, 64, 4096]
    assert sizes(planned_points(options(sizes="64,8"), table)) == [8, 64]


def test_a_tables_only_type_is_taken():
    table = (point(8).with_(dtype="bfloat16"),)
    assert planned_points(options(), table) == table
    both = (*table, point(8))
    assert planned_points(options(), both) == (point(8),)
    assert planned_points(options(dtype="bfloat16"), both) == table


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizes": "8:64:2"}, "--sizes: the backend has no 16; it has 8, 64"),
        ({"dtype": "float16"}, "--dtype float16: the backend has bfloat16, float32 alone"),
        ({"sizes": "8X"}, "'8X' is no size"),
        ({"sizes": "64:8:2"}, "is empty"),
    ],
)
def test_sizes_and_types_that_are_not_there(changes, message):
    table = (point(8), point(64), point(8).with_(dtype="bfloat16"))
    with pytest.raises(UsageError) as caught:
        planned_points(options(**changes), table)
    assert message in str(caught.value)


def test_a_type_that_nobody_has():
    with pytest.raises(UsageError, match="--dtype float99: there is no such type; choose from float32, float64"):
        planned_points(options(dtype="float99"), ())


# ---- cells


def test_without_names_all_cells_compete():
    assert planned_cells(options(), offered()) == CELLS


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"algo": ("Ring",)}, [RING]),
        ({"algo": ("ring",), "proto": ("SIMPLE",)}, [RING]),
        ({"algo": ("Tree", "Ring"), "proto": ("ll",)}, [LL]),
        ({"proto": ("LL", "Simple")}, [LL, CELLS[2], RING]),
    ],
)
def test_names_in_any_spelling_choose_cells(changes, expected):
    assert list(planned_cells(options(**changes), offered())) == expected


def test_channels_choose_cells():
    assert planned_cells(options(channels=(4, 16)), offered(CHANNELS)) == tuple(
        cell for cell in CHANNELS if cell.nchannels in (4, 16)
    )


@pytest.mark.parametrize(
    ("changes", "cells", "message"),
    [
        ({"algo": ("Tree", "NVLS")}, CELLS, "--algo NVLS: the backend does not have it; it has Tree, Ring"),
        ({"proto": ("LL64",)}, CELLS, "--proto LL64: the backend does not have it; it has LL, LL128, Simple"),
        ({"channels": (8,)}, CHANNELS, "--channels 8: the backend does not have it; it has 1, 4, 16"),
        ({"channels": (8,)}, CELLS, "--channels 8: the backend does not have it; it has no choice of channels"),
        ({"algo": ("Ring",), "proto": ("LL",)}, CELLS, "no cell has all of the named"),
    ],
)
def test_cells_that_are_not_there(changes, cells, message):
    with pytest.raises(UsageError) as caught:
        planned_cells(options(**changes), offered(cells))
    assert str(caught.value).startswith(message)


def test_a_collective_without_a_choice_of_algorithms_is_refused():
    with pytest.raises(UsageError, match="test has no choice of algorithms for sendrecv, so nothing to compare"):
        planned_cells(options(collective="sendrecv"), offered(()))
