import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncclprobe.errors import ParseError, UsageError
from ncclprobe.names import Algo, Collective, Proto
from ncclprobe.records.inspect import TunerRow
from ncclprobe.tuner.table import COLUMNS, LONGEST_LINE, nvidia_text, parse_table, table_text

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
