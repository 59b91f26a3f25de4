"""The simulator draws what its fabric describes: medians, scatter, drift, launches, faults, and what they cost."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest
from test_backend_contract import BackendContract

from ncclprobe.backends import make_backend
from ncclprobe.backends.base import BackendOptions
from ncclprobe.backends.fabric import Fabric, Fault, Noise, read_fabric
from ncclprobe.backends.simulated import DRIFT_TIME_S, SimulatedBackend
from ncclprobe.errors import UsageError
from ncclprobe.names import Collective
from ncclprobe.records.sweep import DEFAULT_CELL, Block, Cell, Launch, Measurement, Point, Status

TREE, RING = Cell(algo="Tree", proto="LL"), Cell(algo="Ring", proto="Simple")
SMALL, LARGE = (Point(collective="all_reduce", dtype="float32", size_bytes=size) for size in (1024, 65536))
TIMES = {SMALL: {DEFAULT_CELL: 10.0, TREE: 8.0, RING: 20.0}, LARGE: {DEFAULT_CELL: 100.0, TREE: 120.0, RING: 90.0}}


def fabric(**changes: object) -> Fabric:
    plain = Fabric(
        name="test",
        nodes=("a", "b"),
        gpus_per_node=2,
        rails=(),
        times=TIMES,
        model={},
        noise=Noise(),
        slow_nodes={},
        slow_links=(),
        slow_rails=(),
        faults=(),
    )
    return plain.with_(**changes)


def launch_of(repeat: int = 10, points=(SMALL, LARGE), cells=(DEFAULT_CELL, TREE, RING), **changes: object) -> Launch:
    plain = Launch(
        index=0,
        stage="explore",
        nranks=4,
        blocks=tuple(Block(point=point, cells=cells, repeat=repeat) for point in points),
        warmups=1,
        timeout_s=2.5,
        seed=3,
    )
    return plain.with_(**changes)


def drawn(described: Fabric, launch: Launch) -> list[Measurement]:
    return list(SimulatedBackend.of(described).measure(launch))


def samples(measured: list[Measurement], point: Point, cell: Cell) -> np.ndarray:
    return np.array([
        time
        for m in measured
        if m.point == point and not m.warmup
        for c, time in zip(m.cells, m.times_us, strict=True)
        if c == cell and time is not None
    ])  # fmt: skip


def in_order(measured: list[Measurement]) -> np.ndarray:
    """Return all log times over their medians, in the order in which they were drawn, warm-ups too."""
    return np.array(
        [
            math.log(time / TIMES[m.point][cell])
            for m in measured
            for cell, time in zip(m.cells, m.times_us, strict=True)
            if time is not None
        ]
    )


class TestSimulatedBackend(BackendContract):
    def make(self):
        return SimulatedBackend.of(fabric(noise=Noise(cv=0.03, launch_cv=0.01)))


# ---- draws follow from the seed, and from it alone


def test_the_same_seed_draws_the_same():
    noisy = fabric(noise=Noise(cv=0.1, drift=0.1, outlier_rate=0.1, outlier_factor=4, launch_cv=0.02))
    assert drawn(noisy, launch_of()) == drawn(noisy, launch_of())


@pytest.mark.parametrize("changes", [{"seed": 4}, {"index": 1}])
def test_another_seed_or_launch_draws_something_else(changes):
    noisy = fabric(noise=Noise(cv=0.1))
    first, other = drawn(noisy, launch_of()), drawn(noisy, launch_of(**changes))
    assert not set(in_order(first)) & set(in_order(other))


def test_nothing_is_slept():
    began = time.monotonic()
    measured = drawn(fabric(), launch_of(points=(LARGE,), timeout_s=1000.0))
    hung = drawn(fabric(faults=(Fault(kind="hang", algo="Tree"),)), launch_of(timeout_s=1000.0))
    assert time.monotonic() - began < 5
    assert sum(m.spent_s for m in measured) == pytest.approx(11 * 310e-6)
    assert sum(m.spent_s for m in hung) >= 1000


# ---- scatter


def test_without_noise_every_sample_is_the_tables():
    measured = drawn(fabric(), launch_of())
    for point, cell in itertools.product(TIMES, (DEFAULT_CELL, TREE, RING)):
        assert samples(measured, point, cell) == pytest.approx([TIMES[point][cell]] * 10)


@pytest.mark.parametrize("cv", [0.03, 0.1, 0.5])
def test_the_tables_time_is_the_median_and_cv_the_coefficient_of_variation(cv):
    values = samples(drawn(fabric(noise=Noise(cv=cv)), launch_of(20_000, points=(SMALL,))), SMALL, TREE)
    assert np.median(values) == pytest.approx(8.0, rel=3 * 1.25 * cv / math.sqrt(20_000))
    assert values.std() / values.mean() == pytest.approx(cv, rel=0.05)
    logs = np.log(values)
    skew = np.mean((logs - logs.mean()) ** 3) / logs.std() ** 3
    assert abs(skew) < 0.07


def test_cells_scatter_independently():
    measured = drawn(fabric(noise=Noise(cv=0.1)), launch_of(5000, points=(SMALL,)))
    tree, ring = (np.log(samples(measured, SMALL, cell)) for cell in (TREE, RING))
    assert abs(np.corrcoef(tree, ring)[0, 1]) < 0.05


def test_outliers_are_a_share_of_the_samples():
    noise = Noise(outlier_rate=0.05, outlier_factor=4.0)
    values = samples(drawn(fabric(noise=noise), launch_of(20_000, points=(SMALL,))), SMALL, TREE)
    assert set(np.round(values, 9)) == {8.0, 32.0}
    assert np.mean(values > 16) == pytest.approx(0.05, abs=0.005)


# ---- drift


def test_drift_has_its_size_and_its_correlation_time():
    long = {LARGE: {DEFAULT_CELL: 100_000.0, TREE: 100_000.0}}  # a sample of 0.1 s: 20 a correlation time
    measured = drawn(fabric(times=long, noise=Noise(drift=0.1)), launch_of(20_000, (LARGE,), (DEFAULT_CELL, TREE)))
    values = np.array([math.log(t / 1e5) for m in measured for t in m.times_us])
    assert values.std() == pytest.approx(0.1, rel=0.1)
    for lag_s in (0.1, 1.0, 2.0):
        lag = round(lag_s / 0.1)
        found = np.corrcoef(values[:-lag], values[lag:])[0, 1]
        assert found == pytest.approx(math.exp(-lag_s / DRIFT_TIME_S), abs=0.06), lag_s
    assert abs(np.corrcoef(values[:-200], values[200:])[0, 1]) < 0.12


def test_drift_is_common_to_the_cells_of_a_block():
    measured = drawn(fabric(noise=Noise(drift=0.1)), launch_of(300, points=(SMALL,)))
    tree, default = (np.log(samples(measured, SMALL, cell)) for cell in (TREE, DEFAULT_CELL))
    assert np.std(default - tree) < 0.01
    # 300 blocks take 12 ms, far less than a correlation time: all of it is one factor.
    assert np.std(tree) < 0.03


def test_each_launch_starts_somewhere_in_the_drift():
    noisy = fabric(noise=Noise(drift=0.1))
    starts = [in_order(drawn(noisy, launch_of(1, index=index)))[0] for index in range(400)]
    assert np.std(starts) == pytest.approx(0.1, rel=0.12)
    assert np.mean(starts) == pytest.approx(0, abs=0.02)


# ---- launches


def test_launch_factors_are_drawn_once_a_launch_cell_and_size():
    noisy = fabric(noise=Noise(launch_cv=0.05))
    factors = {}
    for index in range(300):
        measured = drawn(noisy, launch_of(3, index=index))
        for point, cell in itertools.product(TIMES, (DEFAULT_CELL, TREE, RING)):
            ratio = samples(measured, point, cell) / TIMES[point][cell]
            assert ratio == pytest.approx([ratio[0]] * 3)  # the same all through the launch
            factors.setdefault((point, cell), []).append(math.log(ratio[0]))
    for values in factors.values():  # the default among them
        assert np.std(values) == pytest.approx(0.05, rel=0.15)
        assert np.median(values) == pytest.approx(0, abs=0.012)
    for one, other in itertools.combinations(factors.values(), 2):
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.2


def test_launch_outliers_are_a_share_of_the_factors():
    noisy = fabric(noise=Noise(launch_outlier_rate=0.1, launch_outlier_factor=1.3))
    launches = (drawn(noisy, launch_of(1, index=index)) for index in range(300))
    values = np.concatenate([in_order(measured[2:]) for measured in launches])
    assert set(np.round(values, 6)) == {0.0, round(math.log(1.3), 6)}
    assert np.mean(values > 0.1) == pytest.approx(0.1, abs=0.025)


# ---- order


def test_points_are_interleaved_and_cells_shuffled():
    measured = [m for m in drawn(fabric(), launch_of(60)) if not m.warmup]
    assert [m.block for m in measured] == [number for number in range(60) for _ in range(2)]
    for one, next_one in zip(measured[::2], measured[1::2], strict=True):
        assert {one.point, next_one.point} == {SMALL, LARGE}
    orders = [m.cells for m in measured if m.point == SMALL]
    assert {len(order) for order in orders} == {3}
    assert len(set(orders)) == 6  # every order of three cells comes in 60 blocks
    firsts = [order[0] for order in orders]
    assert all(8 <= firsts.count(cell) <= 34 for cell in (DEFAULT_CELL, TREE, RING))


def test_warm_ups_touch_each_cell_once_and_the_default_everywhere():
    warm = [m for m in drawn(fabric(), launch_of(2)) if m.warmup]
    assert [(m.point, m.cells) for m in warm] == [(SMALL, (DEFAULT_CELL, TREE, RING)), (LARGE, (DEFAULT_CELL,))]


# ---- faults


def test_a_hang_ends_the_launch_and_counts_its_timeout():
    measured = drawn(fabric(faults=(Fault(kind="hang", algo="Tree"),)), launch_of())
    last = measured[-1]
    assert len(measured) == 1
    assert last.cells[-1] == TREE
    assert last.statuses == (Status.OK, Status.TIMEOUT)
    assert last.times_us == (10.0, None)
    assert last.spent_s == pytest.approx(2.5 + 10e-6)


def test_a_rare_hang_ends_the_launch_where_it_comes():
    rare = fabric(faults=(Fault(kind="hang", algo="Tree", rate=0.05),))
    lengths = []
    for index in range(200):
        measured = drawn(rare, launch_of(500, points=(SMALL,), index=index))
        assert [Status.TIMEOUT in m.statuses for m in measured] == [False] * (len(measured) - 1) + [True]
        lengths.append(len(measured))
    assert np.mean(lengths) == pytest.approx(20, rel=0.25)  # geometric with mean 1 / 0.05


def test_a_wrong_sum_is_told_and_not_run_again():
    measured = drawn(fabric(faults=(Fault(kind="wrong", algo="Tree"),)), launch_of(5))
    seen = [(m, m.cells.index(TREE)) for m in measured if TREE in m.cells]
    ((only, place),) = seen
    assert only.statuses[place] is Status.WRONG
    assert only.wrong[place] == 1024 // 4
    assert only.times_us[place] == 8.0
    assert samples(measured, LARGE, RING) == pytest.approx([90.0] * 5)


@pytest.mark.parametrize("proto", ["LL", None])
def test_the_share_of_measurements_that_go_wrong(proto):
    faulty = fabric(faults=(Fault(kind="wrong", algo="Tree", proto=proto, rate=0.2),))
    only = launch_of(1, points=(SMALL,), warmups=0)
    wrong = [drawn(faulty, only.with_(index=index))[0] for index in range(1000)]
    found = [m.statuses[m.cells.index(TREE)] is Status.WRONG for m in wrong]
    assert np.mean(found) == pytest.approx(0.2, abs=0.04)
    assert not any(m.statuses[m.cells.index(RING)] is Status.WRONG for m in wrong)


def test_a_fault_of_another_protocol_concerns_nobody():
    measured = drawn(fabric(faults=(Fault(kind="hang", algo="Tree", proto="LL128"),)), launch_of())
    assert {status for m in measured for status in m.statuses} == {Status.OK}


def test_a_cell_is_refused_where_the_table_lacks_it_and_runs_elsewhere():
    times = {SMALL: {DEFAULT_CELL: 10.0, RING: 20.0}, LARGE: TIMES[LARGE]}
    measured = drawn(fabric(times=times), launch_of(4))
    at_small = [s for m in measured if m.point == SMALL for c, s in zip(m.cells, m.statuses, strict=True) if c == TREE]
    assert at_small == [Status.REFUSED]
    assert samples(measured, SMALL, TREE).size == 0
    assert samples(measured, LARGE, TREE) == pytest.approx([120.0] * 4)


# ---- the fabric as a whole


def test_a_slow_node_slows_every_sample():
    measured = drawn(fabric(slow_nodes={"b": 0.8}), launch_of(3))
    assert samples(measured, SMALL, DEFAULT_CELL) == pytest.approx([12.5] * 3)
    assert samples(measured, LARGE, RING) == pytest.approx([112.5] * 3)


def test_capabilities_name_the_fabric_and_its_ranks():
    capabilities = SimulatedBackend.of(fabric()).capabilities(Collective.ALL_REDUCE)
    assert capabilities.library == "simulated fabric test"
    assert (capabilities.nranks, capabilities.nnodes) == (4, 2)
    assert capabilities.cells == (TREE, RING)


def test_points_are_the_tables():
    backend = SimulatedBackend.of(fabric())
    assert backend.points(Collective.ALL_REDUCE) == (SMALL, LARGE)
    assert backend.points(Collective.BROADCAST) == ()


def test_a_size_that_the_table_lacks_is_a_usage_error():
    other = SMALL.with_(size_bytes=999)
    with pytest.raises(UsageError, match="'test' has no times for all_reduce float32 999"):
        drawn(fabric(), launch_of(points=(other,)))


def test_it_is_made_from_a_description(tmp_path):
    path = tmp_path / "f.toml"
    path.write_text("gpus_per_node = 4\n[model.Ring]\nLL = { latency_us = 1, bandwidth_gbps = 1 }\n")
    backend = make_backend("sim", BackendOptions(fabric=path, nranks=4))
    assert isinstance(backend, SimulatedBackend)
    assert backend.fabric == read_fabric(path)
    with pytest.raises(UsageError, match=r"--nranks 8, but .* describes 4 ranks"):
        make_backend("sim", BackendOptions(fabric=path, nranks=8))
    with pytest.raises(UsageError, match=r"add --fabric FILE\.toml"):
        make_backend("sim", BackendOptions())


# ---- variables for a cell


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (TREE, {"NCCL_ALGO": "allreduce:tree", "NCCL_PROTO": "allreduce:ll"}),
        (Cell(algo="NVLSTree", proto="Simple"), {"NCCL_ALGO": "allreduce:nvlstree", "NCCL_PROTO": "allreduce:simple"}),
        (Cell(algo="Ring"), {"NCCL_ALGO": "allreduce:ring"}),
        (Cell(algo="Ring", proto="LL128"), {}),
        (Cell(algo="Ring", proto="LL", nchannels=4), {}),
    ],
)
def test_variables_only_where_they_say_it_safely(cell, expected):
    assert SimulatedBackend.of(fabric()).environment(Collective.ALL_REDUCE, cell) == expected
