"""The plugin reads tables as ncclprobe.tuner.table does, or refuses them whole."""

from __future__ import annotations

import os
import pathlib
import shutil

import pytest
from fake_nccl import FakeNccl, Ran
from hypothesis import given, settings
from hypothesis import strategies as st

from ncclprobe.errors import ParseError
from ncclprobe.names import DEFAULT, Algo, Collective, Proto
from ncclprobe.records.inspect import TunerRow
from ncclprobe.records.sweep import Cell
from ncclprobe.records.tuner import TUNED_COLLECTIVES, AnswerSource
from ncclprobe.tuner.live import LiveTuner
from ncclprobe.tuner.table import nvidia_text, parse_table, table_text

COSTS = {(algo, proto): 10.0 + (5 * algo.number + 3 * proto.number) % 19 for algo in Algo for proto in Proto}
"""Every entry can run; the cheapest depends on what is given."""
OWN = min(COSTS, key=lambda entry: COSTS[entry])
ROW = "allreduce,0,65536,tree,ll128,8,1,8,-1,-1"
SIZES = (0, 1, 4095, 4096, 65536, 2**20, 2**40)
SHAPES = ((8, 1), (16, 2))


def expected(rows: tuple[TunerRow, ...], collective: Collective, size: int, nranks: int, nnodes: int) -> Ran:
    """Return what a table says, by the rules of docs/tuner-plugin.md."""
    for row in rows:
        fits = row.collective == collective and row.min_bytes <= size <= row.max_bytes
        if fits and row.nranks in (None, nranks) and row.nnodes in (None, nnodes):
            algo, proto = (Algo.parse(row.algo), Proto.parse(row.proto))
            allowed = {entry: cost for entry, cost in COSTS.items() if algo in (None, entry[0])}
            entry = min((e for e in allowed if proto in (None, e[1])), key=lambda e: allowed[e])
            unchecked = entry[0] in (Algo.COLLNET_DIRECT, Algo.COLLNET_CHAIN) or (entry[0] is Algo.NVLS and nnodes > 1)
            if row.nchannels and unchecked:
                break
            return Ran(*entry, row.nchannels or 0)
    return Ran(*OWN, 0)


@pytest.fixture
def tuner(plugin: pathlib.Path) -> LiveTuner:
    return LiveTuner(plugin)


@pytest.fixture(scope="module")
def shared(built_plugin: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> LiveTuner:
    """Return one for many examples."""
    return LiveTuner(shutil.copy(built_plugin, tmp_path_factory.mktemp("shared") / "plugin.so"))


def decisions(tuner: LiveTuner) -> dict[tuple[Collective, int, int, int], Ran]:
    found = {}
    for nranks, nnodes in SHAPES:
        nccl = FakeNccl(tuner.path, 5, nranks=nranks, nnodes=nnodes)
        for collective in TUNED_COLLECTIVES:
            for size in SIZES:
                found[collective, size, nranks, nnodes] = nccl.ask(collective, size, COSTS)
        nccl.close()
    return found


def assert_same(tuner: LiveTuner, rows: tuple[TunerRow, ...]) -> None:
    for question, ran in decisions(tuner).items():
        assert ran == expected(rows, *question), question


ROWS = st.builds(
    lambda low, more, **rest: TunerRow(min_bytes=low, max_bytes=low + more, **rest),
    low=st.sampled_from((0, 1, 4096, 65536)),
    more=st.sampled_from((0, 1, 4095, 2**20, 2**40)),
    collective=st.sampled_from([name.value for name in Collective]),
    algo=st.sampled_from([*(name.value for name in Algo), DEFAULT]),
    proto=st.sampled_from([*(name.value for name in Proto), DEFAULT]),
    nchannels=st.none() | st.integers(0, 64),
    nnodes=st.none() | st.integers(1, 2),
    nranks=st.none() | st.sampled_from((8, 16)),
)


def test_a_table_for_nvidias_plugin_says_the_same_to_this_one(tuner: LiveTuner, tmp_path: pathlib.Path) -> None:
    rows = (
        TunerRow(collective="all_reduce", min_bytes=1, max_bytes=4095, algo="Tree", proto="LL", nranks=8, nnodes=1),
        TunerRow(collective="all_reduce", min_bytes=4096, max_bytes=65536, algo="Ring", proto="LL128", nchannels=8),
    )
    path = tmp_path / "table.csv"
    path.write_text(nvidia_text(rows))
    assert tuner.load_table(path) == 2
    assert_same(tuner, rows)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(ROWS, max_size=12))
def test_a_table_that_ncclprobe_wrote_is_applied_as_ncclprobe_reads_it(shared, tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "written.csv"
    path.write_text(table_text(rows, ["from a sweep, in µs"]), encoding="utf-8")
    assert shared.load_table(path) == len(rows)
    assert_same(shared, tuple(rows))


FIELDS = st.sampled_from([
    "allreduce", "all_reduce", "All-Reduce", "a l l r e d u c e!", "alltoall", "gossip", "", "-1", "0", "1", "-0", "+1",
    "64", "65", "0064", "9999999999999999999", "18446744073709551616", "1e3", "4K", "tree", "TREE", "Nvls_Tree",
    "nvls-tree", "ring", "ll", "LL128", "l_l", "simple", "recursive_doubling", "\t8 ", "８", "µ", "\x0b", "#",
])  # fmt: skip
LINES = st.one_of(
    st.lists(FIELDS, min_size=6, max_size=12).map(",".join),
    st.builds(
        lambda row, at, field: ",".join([*row.split(",")[:at], field, *row.split(",")[at + 1 :]]),
        st.just(ROW), st.integers(0, 9), FIELDS,
    ),
    st.sampled_from([ROW, f"  {ROW}\t", "", "   ", "# µ"]),
    st.sampled_from(["#\x0c" + ROW, "# \u2028" + ROW, "#\x85" + ROW, "\ufeff# x", f" # {ROW}"]),
    st.text(max_size=20),
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(lines=st.lists(LINES, min_size=1, max_size=4), end=st.sampled_from(["\n", "\r\n", "\r"]))
def test_whatever_the_plugin_accepts_ncclprobe_reads_alike(shared, tmp_path_factory, lines, end):
    text = end.join(lines)
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    before = shared.state
    try:
        count = shared.load_table(path)
    except ParseError:
        assert shared.state == before
        return
    rows = parse_table(text, "any.csv")
    assert count == len(rows)
    assert_same(shared, rows)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("allreduce,0,65536,tree,ll128,8,1", "8 to 10 fields"),
        (ROW + ",-1", "8 to 10 fields"),
        ("gossip,0,65536,tree,ll128,8,1,8", "no collective"),
        ("collective_type,min_bytes,max_bytes,algorithm,protocol,channels,nNodes,nRanks", "no collective"),
        ("allreduce,0,64K,tree,ll128,8,1,8", "a size is no number"),
        ("allreduce,-1,65536,tree,ll128,8,1,8", "min_bytes is 0 to max_bytes"),
        ("allreduce,0,-1,tree,ll128,8,1,8", "min_bytes is 0 to max_bytes"),
        ("allreduce,65537,65536,tree,ll128,8,1,8", "min_bytes is 0 to max_bytes"),
        ("allreduce,0,18446744073709551616,tree,ll128,8,1,8", "a size is no number"),
        ("allreduce,0,65536,recursive_doubling,ll128,8,1,8", "no such algorithm"),
        ("allreduce,0,65536,,ll128,8,1,8", "no such algorithm"),
        ("allreduce,0,65536,tree,ll256,8,1,8", "no such protocol"),
        ("allreduce,0,65536,tree,ll128,65,1,8", "channels are -1 or 0 to 64"),
        ("allreduce,0,65536,tree,ll128,8,one,8", "nNodes is no number"),
        ("allreduce,0,65536,tree,ll128,8,1,", "nRanks is no number"),
        ("allreduce,0,65536,tree,ll128,8,1,8,2,-1", "numPipeOps and regBuff must be -1"),
        ("allreduce,0,65536,tree,ll128,8,1,8,-1,1", "numPipeOps and regBuff must be -1"),
        ("allreduce,0,65536,trée,ll128,8,1,8", "more than ASCII"),
        ("allreduce,0,65536,tree,ll128,8,1,8\0", "control character"),
        ("# a comment\0", "control character"),
        ("x" * 10**6, "8 to 10 fields"),
        ("," * 10**6, "8 to 10 fields"),
    ],
)
def test_one_bad_line_and_none_of_the_table_counts(tuner, tmp_path, line, words):
    (tmp_path / "t.csv").write_text(f"# first\n{ROW}\n\r\n{line}\n{ROW}\n")
    with pytest.raises(ParseError, match=rf"t\.csv: line 4: .*{words}"):
        tuner.load_table(tmp_path / "t.csv")
    assert (tuner.state.table_rows, tuner.state.generation) == (None, 0)


def test_a_table_that_cannot_be_read_leaves_the_earlier_one(tuner, tmp_path):
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text(ROW)
    bad.write_text("nonsense")
    assert tuner.load_table(good) == 1
    with pytest.raises(ParseError, match="line 1: a row has 8 to 10 fields"):
        tuner.load_table(bad)
    assert tuner.state.table_rows == 1
    assert FakeNccl(tuner.path, 5).ask(size=100) == Ran(Algo.TREE, Proto.LL128, 8)


def test_files_that_are_none_are_refused_and_never_waited_for(tuner, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    for name, words in (
        ("fifo", "no regular file"), (".", "Is a directory"), ("absent", "No such file"), ("loop", "symbolic links"),
        ("x" * 5000, "too long"), ("a\0b", "NUL"), ("/dev/zero", "no regular file"),
    ):  # fmt: skip
        with pytest.raises(ParseError, match=words):
            tuner.load_table(tmp_path / name)


def test_size_is_bounded_and_a_long_comment_is_fine(tuner, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(f"# {'µ' * 500_000}\n{ROW}\n")
    assert tuner.load_table(path) == 1
    path.write_text(f"{ROW}\n" * 100_000)
    assert tuner.load_table(path) == 100_000
    with path.open("ab") as file:
        file.truncate(1 << 40)
    with pytest.raises(ParseError, match="over 4194304 bytes"):
        tuner.load_table(path)


def test_an_empty_table_is_one(tuner, tmp_path):
    (tmp_path / "t.csv").write_text("# No row: the library chooses at every size.")
    (tmp_path / "empty.csv").write_text("")
    assert tuner.load_table(tmp_path / "t.csv") == 0
    assert tuner.load_table(tmp_path / "empty.csv") == 0
    assert tuner.state.table_rows == 0


def test_the_first_row_that_matches_wins_even_if_it_says_nothing(tuner, tmp_path):
    (tmp_path / "t.csv").write_text(f"allreduce,0,4096,-1,-1,-1,-1,-1\n{ROW}\n")
    tuner.load_table(tmp_path / "t.csv")
    nccl = FakeNccl(tuner.path, 5)
    assert nccl.ask(size=4096) == Ran(Algo.TREE, Proto.LL, 0)
    assert (tuner.last().source, tuner.last().refused) == (AnswerSource.TABLE, None)
    assert nccl.left_costs == nccl.asked_costs
    assert nccl.ask(size=4097) == Ran(Algo.TREE, Proto.LL128, 8)
    assert nccl.ask(size=65537) == Ran(Algo.TREE, Proto.LL, 0)
    assert tuner.last().source is AnswerSource.LEFT_ALONE


@pytest.mark.parametrize("api", (2, 3, 4, 5, 6))
def test_rows_of_other_communicators_do_not_count(tuner, tmp_path, api):
    (tmp_path / "t.csv").write_text("allreduce,0,65536,ring,simple,8,2,16\n")
    tuner.load_table(tmp_path / "t.csv")
    inside, outside = FakeNccl(tuner.path, api, nranks=16, nnodes=2), FakeNccl(tuner.path, api, nranks=16, nnodes=4)
    assert inside.ask(size=64) == Ran(Algo.RING, Proto.SIMPLE, 8)
    assert outside.ask(size=64).nchannels == 0
    assert tuner.last().source is AnswerSource.LEFT_ALONE


def test_a_forced_cell_comes_before_a_table(tuner, tmp_path):
    (tmp_path / "t.csv").write_text(ROW)
    tuner.load_table(tmp_path / "t.csv")
    again = LiveTuner(tuner.path)
    again.force(Cell(algo="Ring", proto="LL"))
    nccl = FakeNccl(tuner.path, 6)
    assert nccl.ask(size=64) == Ran(Algo.RING, Proto.LL, 0)
    again.release()
    assert nccl.ask(size=64) == Ran(Algo.TREE, Proto.LL128, 8)
