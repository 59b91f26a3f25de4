"""Axes of the environment: what an option says, which environments it makes, and how a round is run part by part."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sweep_worlds import CELLS, LL, POINTS, RING, measured, world

from ncclprobe.backends.fabric import EnvEffect
from ncclprobe.backends.simulated import SimulatedBackend
from ncclprobe.errors import LaunchError, UsageError
from ncclprobe.records.sweep import DEFAULT_CELL, Block, Cell, Launch, Measurement, Status
from ncclprobe.sweep.axes import (
    Axis,
    check_search,
    environments,
    measure_by_environment,
    parse_axes,
    parts,
    under_each,
)

A1, A2 = (("NCCL_A", "1"),), (("NCCL_A", "2"),)


def launch(*cells: Cell, repeat: int = 2, index: int = 0, seed: int = 1, env=()) -> Launch:
    blocks = tuple(Block(point=point, cells=(DEFAULT_CELL, *cells), repeat=repeat) for point in POINTS)
    return Launch(
        index=index, stage="explore", nranks=4, blocks=blocks, warmups=1, timeout_s=1.0, seed=seed, env=tuple(env)
    )


# ---- what an option says


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("NCCL_NTHREADS=256,512", ("256", "512")),
        ("NCCL_NTHREADS=default, 256 ,256", (None, "256")),
        ("NCCL_NTHREADS=,256", (None, "256")),
        ("NCCL_NTHREADS=", (None,)),
        ("NCCL_IB_HCA==mlx5_0,mlx5_1;=mlx5_0", ("=mlx5_0,mlx5_1", "=mlx5_0")),
        ("UCX_TLS=rc", ("rc",)),
    ],
)
def test_values_are_taken_once_each_and_in_order(text, values):
    assert parse_axes([text], {}) == (Axis(name=text.partition("=")[0], values=values),)


def test_a_value_that_is_there_anyway_is_no_other_environment():
    axes = parse_axes(["NCCL_NTHREADS=256,512"], {"NCCL_NTHREADS": "256"})
    assert axes[0].values == (None, "512")
    assert environments(axes) == ((("NCCL_NTHREADS", "512"),),)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["NCCL_NTHREADS"], "--env 'NCCL_NTHREADS': write NAME=VALUE,VALUE"),
        (["1A=2"], "write NAME=VALUE,VALUE"),
        (["NCLL_NTHREADS=1"], "--env NCLL_NTHREADS: no variable of a communication library; those are NCCL_*"),
        (["NCCL_ALGO=Ring"], "--env NCCL_ALGO: the sweep sets it itself; use --algo, --proto and --channels"),
        (["NCCL_DEBUG_SUBSYS=ALL"], "the sweep sets it itself"),
        (["NCCL_TUNER_PLUGIN=x"], "the sweep sets it itself"),
        (["MPIR_CVAR_ALLREDUCE_INTRA_ALGORITHM=ring"], "the sweep sets it itself"),
        (["NCCL_A=1", "NCCL_A=2"], "--env NCCL_A stands there twice; write all its values into one: NCCL_A=1,2"),
        (["NCCL_A=1\n"], "a value has letters that cannot be printed"),
    ],
)
def test_what_is_no_axis_is_refused(texts, message):
    with pytest.raises(UsageError) as caught:
        parse_axes(texts, {})
    assert message in str(caught.value)


def test_environments_are_all_combinations_but_the_one_that_is_there():
    axes = parse_axes(["NCCL_B=default,1", "NCCL_A=default,1,2"], {})
    assert environments(axes) == (
        A1, A2, (("NCCL_B", "1"),), (("NCCL_A", "1"), ("NCCL_B", "1")), (("NCCL_A", "2"), ("NCCL_B", "1")),
    )  # fmt: skip
    assert environments(parse_axes(["NCCL_A=1,2", "NCCL_B=1"], {})) == (
        (("NCCL_A", "1"), ("NCCL_B", "1")), (("NCCL_A", "2"), ("NCCL_B", "1")),
    )  # fmt: skip


def test_options_that_contradict_each_other():
    axes = parse_axes(["NCCL_A=1,2"], {})
    check_search(axes, "optuna", exhaustive=False)
    for contradiction in ((axes, "optuna", True), ((), "optuna", False), (parse_axes(["NCCL_A="], {}), "grid", False)):
        with pytest.raises(UsageError):
            check_search(*contradiction[:2], exhaustive=contradiction[2])


def test_cells_under_each_environment_come_with_the_default_there():
    assert under_each((LL, RING), (A1,)) == (LL, RING, DEFAULT_CELL.under(A1), LL.under(A1), RING.under(A1))


# ---- a round


def test_a_launch_of_one_environment_is_itself():
    one = launch(LL, RING)
    assert list(parts(one)) == [((), one)]
    backend = SimulatedBackend.of(world())
    assert list(measure_by_environment(one, backend.measure)) == list(backend.measure(one))


def test_a_round_has_a_part_for_each_environment():
    whole = launch(LL, DEFAULT_CELL.under(A1), LL.under(A1), RING.under(A2), env=(("NCCL_C", "3"),))
    found = dict(parts(whole))
    assert set(found) == {(), A1, A2}
    assert found[()] == launch(LL, env=(("NCCL_C", "3"),))
    assert found[A1].env == (("NCCL_C", "3"), *A1)
    assert {block.cells for block in found[A1].blocks} == {(DEFAULT_CELL, LL)}
    assert {block.cells for block in found[A2].blocks} == {(RING,)}
    assert len({part.seed for part in found.values()}) == 3, "a simulator's parts draw of their own"
    assert all((part.index, part.stage, part.nranks) == (0, "explore", 4) for part in found.values())


def test_the_order_of_parts_changes_from_round_to_round():
    orders = [tuple(env for env, _ in parts(launch(LL.under(A1), LL.under(A2), index=i))) for i in range(40)]
    assert len(set(orders)) == 6
    assert orders == [tuple(env for env, _ in parts(launch(LL.under(A1), LL.under(A2), index=i))) for i in range(40)]


def test_each_part_runs_in_its_environment_and_says_so():
    fabric = world(noise=world().noise.with_(cv=0.0, launch_cv=0.0)).with_(
        env=(EnvEffect(name="NCCL_A", value="1", factor=0.5),)
    )
    whole = launch(LL, DEFAULT_CELL.under(A1), LL.under(A1))
    times = {}
    for one in measure_by_environment(whole, SimulatedBackend.of(fabric).measure):
        assert one.launch == 0
        times |= {(one.point, one.block, cell): t for cell, t in zip(one.cells, one.times_us, strict=True)}
    for point in POINTS:
        for number in range(2):
            base = times[point, number, DEFAULT_CELL]
            assert times[point, number, LL] == pytest.approx(base)
            assert times[point, number, DEFAULT_CELL.under(A1)] == pytest.approx(base / 2)
            assert times[point, number, LL.under(A1)] == pytest.approx(base / 2)


class Troubled:
    """A backend on which one environment hangs or does not start."""

    def __init__(self, trouble: str) -> None:
        self.trouble, self.ran = trouble, []

    def measure(self, part: Launch) -> Iterator[Measurement]:
        self.ran.append(part.env)
        if part.env == A1 and self.trouble == "start":
            raise LaunchError("NCCL_A=1 is no number")
        for block in part.blocks:
            hangs = part.env == A1 and self.trouble == "hang"
            status = Status.TIMEOUT if hangs else Status.OK
            yield measured(
                block.cells, tuple(None if hangs else 1.0 for _ in block.cells), at=block.point,
                statuses=(status,) * len(block.cells),
            )  # fmt: skip
            if hangs:
                return


@pytest.mark.parametrize("trouble", ["hang", "start"])
def test_trouble_in_one_part_leaves_the_others(trouble):
    backend = Troubled(trouble)
    whole = launch(LL, LL.under(A1), LL.under(A2))
    heard = list(measure_by_environment(whole, backend.measure))
    assert sorted(backend.ran) == [(), A1, A2]
    fine = {(one.point, cell) for one in heard for cell in one.cells if set(one.statuses) == {Status.OK}}
    assert fine == {(point, cell) for point in POINTS for cell in (DEFAULT_CELL, LL, LL.under(A2))}
    bad = [one for one in heard if set(one.statuses) != {Status.OK}]
    assert {cell for one in bad for cell in one.cells} == {LL.under(A1)}
    if trouble == "start":
        assert {one.point for one in bad} == set(POINTS)
        assert {one.message for one in bad} == {"NCCL_A=1 is no number"}
        assert all(one.statuses == (Status.REFUSED,) for one in bad)


def test_ranks_that_do_not_start_in_the_environment_that_is_there_end_the_sweep():
    def fails(part: Launch) -> Iterator[Measurement]:
        raise LaunchError("no ranks")
        yield

    with pytest.raises(LaunchError, match="no ranks"):
        list(measure_by_environment(launch(LL), fails))


def test_cells_keep_their_order_and_label():
    cells = [cell.under(env) for env in ((), A1) for cell in CELLS]
    assert [cell.label for cell in (LL, LL.under(A1), DEFAULT_CELL.under(A1))] == [
        "Tree/LL", "Tree/LL NCCL_A=1", "default NCCL_A=1",
    ]  # fmt: skip
    assert [cell.under(()) for cell in sorted(cells, key=lambda cell: cell.key)][::2] == sorted(
        CELLS, key=lambda cell: cell.key
    )
    assert not DEFAULT_CELL.under(A1).is_default
    assert DEFAULT_CELL.under(A1).under(()) == DEFAULT_CELL
