from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncclprobe.backends.geometry import Span, geometry
from ncclprobe.backends.pattern import PERIOD, Pattern
from ncclprobe.errors import UsageError
from ncclprobe.names import Collective
from ncclprobe.records.sweep import Point

RANKS = 4


def _point(collective: str, size: int, dtype: str = "float32") -> Point:
    return Point(collective=collective, dtype=dtype, size_bytes=size)


def _everyone(pattern: Pattern, collective: str, size: int) -> list[np.ndarray]:
    buffers = []
    for rank in range(RANKS):
        span = geometry(_point(collective, size), rank, RANKS).send
        buffers.append(np.empty(span.count, np.float32))
        pattern.write(buffers[-1], span)
    return buffers


def _wrong(pattern: Pattern, collective: str, size: int, rank: int, received: np.ndarray) -> int:
    return pattern.count_wrong(received, geometry(_point(collective, size), rank, RANKS).receive)


@pytest.fixture
def pattern() -> Pattern:
    made = Pattern("float32", RANKS)
    made.salt(5)
    return made


@pytest.mark.parametrize("size", [4, 8, 1024, 4 * PERIOD, 1 << 20])
def test_a_right_sum_passes(pattern: Pattern, size: int) -> None:
    parts = _everyone(pattern, "all_reduce", size)
    assert _wrong(pattern, "all_reduce", size, 0, sum(parts)) == 0
    assert _wrong(pattern, "all_reduce", size, 3, (parts[3] + parts[1]) + (parts[0] + parts[2])) == 0


@pytest.mark.parametrize(
    "corrupt",
    [
        pytest.param(lambda p: p[0] + p[1] + p[2], id="a rank is missing"),
        pytest.param(lambda p: p[0] + p[1] + p[2] + p[2], id="a rank is doubled for another"),
        pytest.param(lambda p: sum(p) + p[3], id="a rank is added twice"),
        pytest.param(lambda p: np.roll(sum(p), 256), id="chunks are shifted"),
        pytest.param(lambda p: np.full_like(p[0], np.nan), id="nothing was written"),
        pytest.param(lambda p: np.zeros_like(p[0]), id="zeros"),
    ],
)
def test_a_wrong_sum_fails_nearly_everywhere(pattern: Pattern, corrupt) -> None:
    parts = _everyone(pattern, "all_reduce", 1 << 20)
    assert _wrong(pattern, "all_reduce", 1 << 20, 0, corrupt(parts)) >= 0.99 * (1 << 18)


def test_one_wrong_element_is_one(pattern: Pattern) -> None:
    received = sum(_everyone(pattern, "all_reduce", 1 << 20))
    received[200_000] += 1
    assert _wrong(pattern, "all_reduce", 1 << 20, 0, received) == 1


def test_a_stale_buffer_fails(pattern: Pattern) -> None:
    stale = sum(_everyone(pattern, "all_reduce", 4096))
    pattern.salt(6)
    assert _wrong(pattern, "all_reduce", 4096, 0, stale) >= 1000


def test_a_single_element_tells_missing_ranks(pattern: Pattern) -> None:
    misses = 0
    for salt in range(100):
        pattern.salt(salt)
        parts = _everyone(pattern, "all_reduce", 4)
        misses += _wrong(pattern, "all_reduce", 4, 0, parts[0] + parts[1] + parts[2] + parts[0]) == 0
    assert misses == 0


@pytest.mark.parametrize("collective", ["all_gather", "alltoall"])
def test_swapped_shares_fail(pattern: Pattern, collective: str) -> None:
    size, count = 4096, 256
    sent = _everyone(pattern, collective, size)
    rank = 1
    shares = [part if collective == "all_gather" else part[rank * count : (rank + 1) * count] for part in sent]
    assert _wrong(pattern, collective, size, rank, np.concatenate(shares)) == 0
    swapped = np.concatenate([shares[1], shares[0], *shares[2:]])
    assert _wrong(pattern, collective, size, rank, swapped) >= 2 * count - 20
    if collective == "alltoall":
        neighbours = [part[:count] for part in sent]
        assert _wrong(pattern, collective, size, rank, np.concatenate(neighbours)) >= 0.98 * 4 * count


@pytest.mark.parametrize(
    ("collective", "rank", "send", "receive"),
    [
        ("all_reduce", 2, Span(start=0, count=16, sources=(2,)), [Span(start=0, count=16, sources=(0, 1, 2, 3))]),
        ("broadcast", 2, Span(start=0, count=16, sources=(2,)), [Span(start=0, count=16, sources=(0,))]),
        ("sendrecv", 0, Span(start=0, count=16, sources=(0,)), [Span(start=0, count=16, sources=(3,))]),
        ("reduce_scatter", 1, Span(start=0, count=16, sources=(1,)), [Span(start=4, count=4, sources=(0, 1, 2, 3))]),
        (
            "all_gather",
            1,
            Span(start=4, count=4, sources=(1,)),
            [Span(start=4 * r, count=4, sources=(r,)) for r in range(4)],
        ),
        (
            "alltoall",
            3,
            Span(start=0, count=16, sources=(3,)),
            [Span(start=12, count=4, sources=(r,)) for r in range(4)],
        ),
    ],
)
def test_who_sends_what(collective: str, rank: int, send: Span, receive: list[Span]) -> None:
    shape = geometry(_point(collective, 67), rank, RANKS)
    assert shape.send == send
    assert list(shape.receive) == receive


@pytest.mark.parametrize(("collective", "size"), [("all_reduce", 3), ("all_gather", 15), ("alltoall", 15)])
def test_sizes_without_an_element_a_rank_are_refused(collective: str, size: int) -> None:
    with pytest.raises(
        UsageError, match=r"hold no float32 element for each of 4 ranks .* sizes must be (4|16) or more"
    ):
        geometry(_point(collective, size), 0, RANKS)


@settings(max_examples=25, deadline=None)
@given(nranks=st.integers(1, 80), size=st.integers(4, 3 * PERIOD), salt=st.integers(0, 1 << 40), order=st.randoms())
def test_sums_are_exact_in_any_order(nranks: int, size: int, salt: int, order) -> None:
    pattern = Pattern("float32", nranks)
    pattern.salt(salt)
    total = np.zeros(size // 4, np.float32)
    for rank in order.sample(range(nranks), nranks):
        part = np.empty_like(total)
        pattern.write(part, Span(start=0, count=len(part), sources=(rank,)))
        total += part
    point = _point(Collective.ALL_REDUCE, size)
    assert pattern.count_wrong(total, geometry(point, 0, nranks).receive) == 0
