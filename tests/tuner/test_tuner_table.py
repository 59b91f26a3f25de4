import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncclprobe.errors import ParseError, UsageError
from ncclprobe.names import Algo, Collective, Proto
from ncclprobe.records.inspect import TunerRow
from ncclprobe.records.sweep import Choice, Cost, Ratio, SweepDocument, TableRow, Verdict
from ncclprobe.tuner.check import overlaps
from ncclprobe.tuner.table import COLUMNS, LONGEST_LINE, nvidia_text, parse_table, sweep_rows, table_text

ROW = TunerRow(
    collective="all_reduce",
    min_bytes=0,
    max_bytes=65536,
    algo="Tree",
    proto="LL128",
    nchannels=None,
    nnodes=2,
    nranks=16,
)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "allreduce,0,65536,tree,ll128,-1,2,16,-1,-1"),
        ({"algo": "NVLSTree", "proto": "Simple", "nchannels": 8}, "allreduce,0,65536,nvls_tree,simple,8,2,16,-1,-1"),
        ({"collective": "reduce_scatter", "nnodes": None}, "reducescatter,0,65536,tree,ll128,-1,-1,16,-1,-1"),
        ({"algo": "recursive_doubling", "proto": "default"}, "allreduce,0,65536,recursive_doubling,-1,-1,2,16,-1,-1"),
    ],
)
def test_a_row_is_written_as_the_example_plugin_reads_it(changes, line):
    assert table_text([ROW.with_(**changes)]) == f"# {COLUMNS}\n{line}\n"


@pytest.mark.parametrize(("nchannels", "written"), [(None, 0), (8, 8)])
def test_nvidias_plugin_is_told_a_number_of_channels_in_every_row(nchannels, written):
    text = nvidia_text([ROW.with_(nchannels=nchannels)], ["from a sweep"])
    assert text == f"# from a sweep\n# {COLUMNS}\nallreduce,0,65536,tree,ll128,{written},2,16,-1,-1\n"


@pytest.mark.parametrize("changes", [{"algo": "recursive_doubling"}, {"algo": "default"}, {"proto": "default"}])
def test_what_nvidias_plugin_would_take_for_ring_or_simple_is_refused(changes):
    with pytest.raises(UsageError, match="would run ring or simple"):
        nvidia_text([ROW.with_(**changes)])


@pytest.mark.parametrize("changes", [{"collective": "gossip"}, {"algo": "tree,evil"}, {"algo": "tree\nallreduce"}])
def test_what_no_table_can_say_is_refused(changes):
    with pytest.raises(UsageError):
        table_text([ROW.with_(**changes)])


def test_comments_never_reach_into_a_second_line():
    text = table_text([ROW], ["µ" * 400])
    assert max(len(line.encode()) for line in text.splitlines()) <= LONGEST_LINE
    assert parse_table(text, "t") == (ROW,)


ROWS = st.builds(
    lambda low, more, **rest: TunerRow(min_bytes=low, max_bytes=low + more, **rest),
    low=st.integers(0, 2**40),
    more=st.integers(0, 2**40),
    collective=st.sampled_from([name.value for name in Collective]),
    algo=st.sampled_from([*(name.value for name in Algo), "default", "recursive_doubling", "reduce_scatter_allgather"]),
    proto=st.sampled_from([*(name.value for name in Proto), "default"]),
    nchannels=st.none() | st.integers(0, 64),
    nnodes=st.none() | st.integers(1, 4096),
    nranks=st.none() | st.integers(1, 32768),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(ROWS, max_size=8))
def test_a_table_reads_back_as_it_was_written(rows):
    assert parse_table(table_text(rows, ["from a sweep"]), "table.csv") == tuple(rows)


def test_short_rows_and_spaces_of_other_tools_are_read():
    text = "# hand-made\r\n\r\n  allgather , 0 , 4294967295 , ring , simple , 4 , 2 , -1 \r\n"
    (row,) = parse_table(text, "t")
    assert (row.collective, row.max_bytes, row.nchannels, row.nnodes, row.nranks) == (
        "all_gather",
        4294967295,
        4,
        2,
        None,
    )


@pytest.mark.parametrize(
    "line",
    [
        "allreduce,0,65536,tree,ll128,-1,2",
        "allreduce,0,65536,tree,ll128,-1,2,16,-1,-1,-1",
        "gossip,0,65536,tree,ll128,-1,2,16",
        "allreduce,0,64K,tree,ll128,-1,2,16",
        "allreduce,65537,65536,tree,ll128,-1,2,16",
        "allreduce,-1,65536,tree,ll128,-1,2,16",
        "allreduce,0,65536,tree;rm,ll128,-1,2,16",
        "allreduce,0,65536,tree,ll128,-1,2,16,4,-1",
        "allreduce,0,65536,tree,ll128,-1,2,16,-1,1",
    ],
)
def test_a_bad_row_names_its_line(line):
    with pytest.raises(ParseError) as caught:
        parse_table(f"# comment\n{line}\n", "table.csv")
    assert str(caught.value).startswith("table.csv:2: ")


UPPER = ROW.with_(min_bytes=32768, max_bytes=1 << 20, algo="Ring", proto="Simple")


@pytest.mark.parametrize(
    ("first", "later", "taken"),
    [
        (ROW, UPPER, (32768, 65536)),
        (ROW.with_(nnodes=None), UPPER, (32768, 65536)),
        (ROW, UPPER.with_(nnodes=None), None),  # the special case above the general one
        (ROW, UPPER.with_(nranks=8), None),
        (ROW, UPPER.with_(min_bytes=65537), None),
        (ROW, UPPER.with_(collective="all_gather"), None),
    ],
)
def test_a_row_takes_sizes_from_a_later_one(first, later, taken):
    assert first.contested(later) == taken


def test_rows_that_overlap_are_told_and_never_emitted():
    (found,) = overlaps([ROW, UPPER])
    assert (found.code, found.subject) == ("tuner-rows-overlap", "all_reduce 32K to 1M Ring/Simple")
    assert found.message == "32K to 64K an earlier row takes, all_reduce 0 to 64K Tree/LL128."
    table = [TableRow(collective=row.collective, min_bytes=row.min_bytes, max_bytes=row.max_bytes, algo=row.algo,
                      proto=row.proto, nchannels=None) for row in (ROW, UPPER)]  # fmt: skip
    with pytest.raises(UsageError, match="two rows of the choice have sizes 32768 to 65536; was the document edited"):
        sweep_rows(sweep_document(table))
    assert len(sweep_rows(sweep_document(table[:1]))) == 1


def sweep_document(table):
    one = Ratio(ratio=1.05, low=1.02, high=1.08)
    return SweepDocument(
        backend="sim", library="simulated", nranks=16, nnodes=2, launches=1, seed=1, cells=(),
        choice=Choice(verdict=Verdict.CHANGE, env={}, table=tuple(table), gain=one),
        cost=Cost(measured_s=1.0, exhaustive_s=1.0),
    )  # fmt: skip
