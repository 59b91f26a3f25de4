from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ncclprobe.records.sweep import DEFAULT_CELL, Block, Cell, Launch, Point
from ncclprobe.sweep.schedule import schedule

CELLS = (DEFAULT_CELL, Cell(algo="Tree"), Cell(algo="Ring"))


def _launch(repeats: tuple[int, ...], **changes) -> Launch:
    points = [Point(collective="all_reduce", dtype="float32", size_bytes=8 << i) for i in range(len(repeats))]
    blocks = tuple(Block(point=p, cells=CELLS, repeat=r) for p, r in zip(points, repeats, strict=True))
    return Launch(
        **{"index": 0, "stage": "explore", "nranks": 4, "warmups": 1, "timeout_s": 1, "seed": 0, **changes},
        blocks=blocks,
    )


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=4), st.integers(0, 2), st.integers(0, 1 << 40))
def test_everything_runs_as_often_as_asked(repeats: list[int], warmups: int, seed: int) -> None:
    launch = _launch(tuple(repeats), warmups=warmups, seed=seed)
    steps = list(schedule(launch))
    timed = [step for step in steps if not step.warmup]
    assert steps == list(schedule(launch))
    assert [step.warmup for step in steps] == sorted((step.warmup for step in steps), reverse=True)
    assert sum(step.warmup for step in steps) == warmups * len(repeats)
    for block in launch.blocks:
        mine = [step for step in timed if step.point == block.point]
        assert [step.block for step in mine] == list(range(block.repeat))
        assert all(sorted(step.cells, key=lambda c: c.key) == sorted(CELLS, key=lambda c: c.key) for step in mine)
    assert [step.block for step in timed] == sorted(step.block for step in timed)


def test_launches_and_seeds_have_orders_of_their_own() -> None:
    orders = {
        tuple((step.point, step.cells) for step in schedule(_launch((8, 8), seed=seed, index=index)))
        for seed in (0, 1)
        for index in (0, 1)
    }
    assert len(orders) == 4
