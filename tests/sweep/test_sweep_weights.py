"""Which sizes of a workload are measured, and what each stands for."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ncclprobe.errors import UsageError
from ncclprobe.findings import info, warning
from ncclprobe.records.profile import Message, ProfileDocument
from ncclprobe.sweep.weights import MOST_SIZES, OTHER_SIZES, Sized, estimated_us, placed, thinned, workload_of


def message(size: int, count: int, collective: str = "all_reduce", dtype: str | None = "bfloat16") -> Message:
    return Message(collective=collective, dtype=dtype, size_bytes=size, count=count, seen=count)


def profile(*messages: Message, **changes: object) -> ProfileDocument:
    return ProfileDocument(messages=messages).with_(**changes)


def test_few_sizes_are_all_measured_and_types_are_added_up():
    document = profile(
        message(4096, 10), message(4096, 5, dtype="float32"), message(1 << 20, 7), rank="a:1[0]", steps=9
    )
    found = workload_of(document, "log", None)
    assert [(one.size_bytes, one.operations, one.equivalent, one.sizes) for one in found.weights] == [
        (4096, 15, 15.0, 1), (1 << 20, 7, 7.0, 1),
    ]  # fmt: skip
    assert (found.collective, found.dtype, found.rank, found.steps) == ("all_reduce", "bfloat16", "a:1[0]", 9)
    assert (found.left_out, found.covered) == ((), 1.0)


def test_the_collective_that_carries_most_is_taken_and_the_others_are_told():
    document = profile(message(1 << 20, 10), message(1 << 20, 30, "all_gather"), message(8, 1, "gather"))
    found = workload_of(document, "log", None)
    assert found.collective == "all_gather"
    whole = 40 * estimated_us(1 << 20) + estimated_us(8)
    assert [(part.what, part.operations) for part in found.left_out] == [("all_reduce", 10), ("gather", 1)]
    assert math.isclose(found.left_out[0].share, 10 * estimated_us(1 << 20) / whole)
    assert workload_of(document, "log", "all_reduce").collective == "all_reduce"


@pytest.mark.parametrize("collective", ["broadcast", None])
def test_a_collective_that_is_not_there_is_refused(collective):
    messages = [] if collective is None else [message(8, 1)]
    with pytest.raises(UsageError, match="has no"):
        workload_of(profile(*messages, message(8, 1, "gather")), "log", collective)


def test_doubts_of_the_counts_go_along():
    doubts = (warning("replays-unknown", "log", "a", "b"), info("ranks-differ", "log", "a", "b"))
    assert [one.code for one in workload_of(profile(message(8, 1), findings=doubts), "log", None).doubts] == [
        "replays-unknown"
    ]


sizes = st.dictionaries(st.integers(1, 1 << 30), st.integers(1, 10**6), min_size=1, max_size=80).map(
    lambda counts: [Sized(size=size, count=count) for size, count in counts.items()]
)


@given(sizes)
def test_thinning_loses_nothing_unsaid(sized):
    weights, rest = thinned(sized)
    assert 1 <= len(weights) <= MOST_SIZES
    assert sum(one.operations for one in weights) + sum(one.count for one in rest) == sum(one.count for one in sized)
    assert sum(one.sizes for one in weights) + len(rest) == len(sized)
    whole = sum(one.load_us for one in sized)
    kept = sum(one.equivalent * estimated_us(one.size_bytes) for one in weights)
    assert math.isclose(kept + sum(one.load_us for one in rest), whole, rel_tol=1e-9)
    assert [one.size_bytes for one in weights] == sorted({one.size_bytes for one in weights})


def test_many_near_sizes_are_measured_by_a_few():
    sized = [Sized(size=1000 + 10 * i, count=10) for i in range(100)]
    weights, rest = thinned(sized)
    assert len(weights) <= MOST_SIZES
    assert sum(one.load_us for one in rest) <= 0.05 * sum(one.load_us for one in sized)


def test_rare_sizes_are_left_out():
    weights, rest = thinned([Sized(size=8192, count=100000), Sized(size=8, count=1), Sized(size=1 << 20, count=1)])
    assert ([one.size_bytes for one in weights], len(rest)) == ([8192], 2)


@given(sizes, st.sampled_from([(), (8, 64, 512, 4096, 1 << 15, 1 << 18)]), st.sampled_from([1, 4, 64]))
def test_placing_keeps_the_shares_whole(sized, offered, unit):
    document = profile(*(message(one.size, one.count) for one in sized))
    before = workload_of(document, "log", None)
    after = placed(before, offered, unit)
    assert all(one.size_bytes in offered if offered else one.size_bytes % unit == 0 for one in after.weights)
    whole = sum(one.count for one in sized)
    assert sum(one.operations for one in after.weights) + sum(part.operations for part in after.left_out) == whole
    if not offered:
        assert math.isclose(after.covered, before.covered, abs_tol=1e-9)
    assert 0 <= after.covered <= 1


def test_sizes_that_a_fabric_lacks_are_left_out_with_their_share():
    before = workload_of(profile(message(4096, 10000), message(1 << 30, 10)), "log", None)
    after = placed(before, (4096,), 1)
    assert [one.size_bytes for one in after.weights] == [4096]
    assert [(part.what, part.operations) for part in after.left_out] == [(OTHER_SIZES, 10)]
    assert math.isclose(after.covered, 1000 * estimated_us(4096) / (1000 * estimated_us(4096) + estimated_us(1 << 30)))
