"""The rows of a tuner table that stand in front of others, held against a look at each pair."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ncclprobe.records.inspect import TunerRow
from ncclprobe.records.precedence import MOST_ALIKE, Precedence

KEY = st.sampled_from([None, 1, 2])
ROWS = st.builds(
    TunerRow,
    collective=st.sampled_from(["all_reduce", "broadcast"]),
    min_bytes=st.integers(0, 6),
    max_bytes=st.integers(0, 6),
    algo=st.just("Ring"),
    proto=st.just("LL"),
    nnodes=KEY,
    nranks=KEY,
    reg_buff=st.sampled_from([None, True, False]),
)


def hides(first, later):
    keys = ("nnodes", "nranks", "num_pipe_ops", "reg_buff")
    covers = first.min_bytes <= later.min_bytes <= later.max_bytes <= first.max_bytes
    return covers and first.collective == later.collective and all(
        getattr(first, key) in (None, getattr(later, key)) for key in keys
    )  # fmt: skip


@settings(max_examples=200, deadline=None, derandomize=True)
@given(rows=st.lists(ROWS, max_size=8))
def test_the_first_row_that_counts_is_found(rows):
    before = Precedence()
    for number, row in enumerate(rows):
        hiding = [at for at, earlier in enumerate(rows[:number]) if hides(earlier, row)]
        contesting = [at for at, earlier in enumerate(rows[:number]) if earlier.contested(row)]
        assert (before.hiding(row), before.contesting(row)) == (
            min(hiding, default=None),
            min(contesting, default=None),
        )
        before.add(row)


def test_later_rows_are_compared_with_so_many_of_the_same_cases_alone():
    before = Precedence()
    rows = [
        TunerRow(collective="all_reduce", min_bytes=size, max_bytes=size, algo="Ring", proto="LL")
        for size in range(MOST_ALIKE + 1)
    ]
    for row in rows:
        before.add(row)
    assert before.hiding(rows[MOST_ALIKE - 1]) == MOST_ALIKE - 1
    assert before.hiding(rows[MOST_ALIKE]) is None
