"""Descriptions of simulated fabrics: what they mean, and what each mistake says."""

from __future__ import annotations

import pathlib
import re
import textwrap

import pytest

from ncclprobe.backends.fabric import EnvEffect, Fabric, Fault, Noise, SlowLink, SlowRail, parse_times, read_fabric
from ncclprobe.errors import ParseError, ProbeError, UsageError
from ncclprobe.names import Collective
from ncclprobe.records.sweep import DEFAULT_CELL, Cell, Point

DATA = pathlib.Path(__file__).parents[2] / "data"
HEADER = "collective,dtype,size_bytes,algo,proto,nchannels,time_us"
ROWS = """\
all_reduce,float32,8,default,,,10
all_reduce,float32,8,Tree,LL,,9
all_reduce,float32,8,Ring,Simple,16,12.5
all_reduce,float32,64,default,default,,11
all_reduce,float32,64,Tree,LL,,9.5
all_gather,bfloat16,64,default,,,20
all_gather,bfloat16,64,PAT,Simple,,18
"""
TREE, RING = Cell(algo="Tree", proto="LL"), Cell(algo="Ring", proto="Simple", nchannels=16)
MINIMAL = '[times]\ntable = "times.csv"\n'


def point(size: int, collective: str = "all_reduce", dtype: str = "float32") -> Point:
    return Point(collective=collective, dtype=dtype, size_bytes=size)


def written(folder: pathlib.Path, toml: str, rows: str = ROWS) -> pathlib.Path:
    (folder / "times.csv").write_text(f"{HEADER}\n{rows}")
    path = folder / "fabric.toml"
    path.write_text(textwrap.dedent(toml))
    return path


@pytest.fixture
def read(tmp_path):
    def reader(toml: str, rows: str = ROWS) -> Fabric:
        return read_fabric(written(tmp_path, toml, rows))

    return reader


# ---- what a description means


def test_everything_that_a_description_can_say(read):
    fabric = read(
        """\
        name = "four nodes"
        nodes = ["a", "b", "c", "d"]
        gpus_per_node = 8
        rails = ["mlx5_0", "mlx5_1"]
        [times]
        table = "times.csv"
        [noise]
        cv = 0.03
        drift = 0.1
        outlier_rate = 0.05
        outlier_factor = 4
        launch_cv = 0.01
        launch_outlier_rate = 0.02
        launch_outlier_factor = 1.3
        [slow_nodes]
        b = 0.85
        [[slow_links]]
        nodes = ["c", "d"]
        factor = 0.6
        [[slow_rails]]
        rail = "mlx5_1"
        factor = 0.7
        [[faults]]
        kind = "wrong"
        algo = "Tree"
        proto = "LL"
        rate = 0.2
        [[faults]]
        kind = "hang"
        algo = "Ring"
        """
    )
    assert (fabric.name, fabric.nodes, fabric.gpus_per_node, fabric.nranks) == ("four nodes", tuple("abcd"), 8, 32)
    assert fabric.rails == ("mlx5_0", "mlx5_1")
    assert fabric.noise == Noise(
        cv=0.03,
        drift=0.1,
        outlier_rate=0.05,
        outlier_factor=4.0,
        launch_cv=0.01,
        launch_outlier_rate=0.02,
        launch_outlier_factor=1.3,
    )
    assert fabric.slow_nodes == {"b": 0.85}
    assert fabric.slow_links == (SlowLink(nodes=("c", "d"), factor=0.6),)
    assert fabric.slow_rails == (SlowRail(rail="mlx5_1", factor=0.7),)
    assert fabric.faults == (
        Fault(kind="wrong", algo="Tree", proto="LL", rate=0.2),
        Fault(kind="hang", algo="Ring", proto=None, nchannels=None, rate=1.0),
    )


def test_what_is_absent_is_nothing(read):
    fabric = read(MINIMAL)
    assert fabric.nodes == ("node001",)
    assert (fabric.gpus_per_node, fabric.rails, fabric.slow_nodes, fabric.faults) == (1, (), {}, ())
    assert fabric.noise == Noise()
    assert {fabric.noise.cv, fabric.noise.drift, fabric.noise.outlier_rate, fabric.noise.launch_cv} == {0.0}
    assert fabric.speed == 1.0


@pytest.mark.parametrize(
    ("toml", "first", "last"),
    [
        ("nodes = 12\n", "node001", "node012"),
        ("nodes = 12\n[slow_nodes]\ndgx003 = 0.9\n", "dgx001", "dgx012"),
        ("nodes = 3\n[slow_nodes]\ngpu2 = 0.9\n", "gpu1", "gpu3"),
        ('nodes = 3\n[[slow_links]]\nnodes = ["h-01", "h-03"]\nfactor = 0.5\n', "h-01", "h-03"),
        ("nodes = 1200\n[slow_nodes]\nn1150 = 0.9\n", "n0001", "n1200"),
    ],
)
def test_a_number_of_nodes_takes_the_pattern_of_the_slow_ones(read, toml, first, last):
    fabric = read(toml)
    assert (fabric.nodes[0], fabric.nodes[-1]) == (first, last)
    assert set(fabric.slow_nodes) <= set(fabric.nodes)


def test_a_number_of_rails_names_them(read):
    assert read("rails = 3\n").rails == ("rail0", "rail1", "rail2")


def test_a_tables_path_is_relative_to_its_description(read, monkeypatch, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert read(MINIMAL).times[point(8)][TREE] == 9.0


def test_the_collapse_of_a_fabric_to_its_slowest_part(read):
    slow = '[slow_nodes]\nb = 0.85\n[[slow_links]]\nnodes = ["a", "b"]\nfactor = 0.5\n'
    fabric = read('nodes = ["a", "b"]\n' + MINIMAL + slow)
    assert fabric.speed == 0.5
    assert fabric.median_times(point(8)) == {DEFAULT_CELL: 20.0, TREE: 18.0, RING: 25.0}


def test_a_slow_rail_slows_a_collective_over_all_nodes(read):
    fabric = read('rails = 2\n[[slow_rails]]\nrail = "rail1"\nfactor = 0.8\n')
    assert fabric.speed == 0.8


def test_cells_of_a_collective_are_those_of_all_its_sizes(read):
    fabric = read(MINIMAL)
    assert fabric.cells(Collective.ALL_REDUCE) == (TREE, RING)
    assert fabric.cells(Collective.ALL_GATHER) == (Cell(algo="PAT", proto="Simple"),)
    assert fabric.cells(Collective.BROADCAST) == ()


def test_a_model_is_latency_and_bus_bandwidth(read):
    fabric = read(
        """\
        nodes = 2
        gpus_per_node = 2
        [model.Tree]
        LL = { latency_us = 5, bandwidth_gbps = 50 }
        [model.Ring]
        Simple = { latency_us = 20.0, bandwidth_gbps = 300 }
        """
    )
    ring, tree = Cell(algo="Ring", proto="Simple"), Cell(algo="Tree", proto="LL")
    assert fabric.cells(Collective.ALL_REDUCE) == (ring, tree)
    times = fabric.median_times(point(1_000_000))
    # All-reduce over 4 ranks moves 2 * 3 / 4 of the size: 1.5 MB at 50 and at 300 GB/s.
    assert times[tree] == pytest.approx(5 + 30)
    assert times[ring] == pytest.approx(20 + 5)
    assert times[DEFAULT_CELL] == times[ring]
    gathered = fabric.median_times(point(1_000_000, "all_gather"))
    assert gathered[ring] == pytest.approx(20 + 2.5)


def test_a_model_may_say_what_the_default_is(read):
    fabric = read(
        """\
        gpus_per_node = 2
        [model.default]
        default = { latency_us = 30, bandwidth_gbps = 100 }
        [model.Ring]
        Simple = { latency_us = 20, bandwidth_gbps = 100 }
        """
    )
    times = fabric.median_times(point(1_000_000))
    assert times[DEFAULT_CELL] == pytest.approx(40)
    assert fabric.cells(Collective.ALL_REDUCE) == (Cell(algo="Ring", proto="Simple"),)


@pytest.mark.parametrize(
    ("fault", "concerned"),
    [
        ({"algo": "Tree"}, {"Tree/LL", "Tree/Simple", "Tree/LL/4ch"}),
        ({"algo": "Tree", "proto": "LL"}, {"Tree/LL", "Tree/LL/4ch"}),
        ({"algo": "Tree", "nchannels": 4}, {"Tree/LL/4ch"}),
        ({"algo": "Ring", "proto": "LL"}, {"Ring/LL"}),
        ({"algo": "default"}, {"default"}),
    ],
)
def test_whom_a_fault_concerns(fault, concerned):
    cells = [
        DEFAULT_CELL,
        Cell(algo="Tree", proto="LL"),
        Cell(algo="Tree", proto="Simple"),
        Cell(algo="Tree", proto="LL", nchannels=4),
        Cell(algo="Ring", proto="LL"),
    ]
    found = Fault(kind="hang", **fault)
    assert {cell.label for cell in cells if found.concerns(cell)} == concerned


@pytest.mark.parametrize("path", sorted(DATA.glob("fabric_*/fabric.toml")), ids=lambda path: path.parent.name)
def test_the_shipped_fabrics_are_fabrics(path):
    fabric = read_fabric(path)
    assert fabric.cells(Collective.ALL_REDUCE)
    assert fabric.nranks >= 2


# ---- tables


def test_a_table_of_times():
    times = parse_times(f"{HEADER}\n{ROWS}", "t")
    assert list(times) == [point(8), point(64), point(64, "all_gather", "bfloat16")]
    assert times[point(8)] == {DEFAULT_CELL: 10.0, TREE: 9.0, RING: 12.5}
    assert times[point(64)] == {DEFAULT_CELL: 11.0, TREE: 9.5}


@pytest.mark.parametrize(
    "text",
    [
        HEADER + "\r\nall_reduce,float32,8,default,,,10\r\n",
        "time_us,nchannels,proto,algo,size_bytes,dtype,collective\n10,,,default,8,float32,all_reduce\n",
        HEADER.replace(",", ", ") + "\nall_reduce, float32, 8, default, , , 10\n",
        HEADER + ",note\nAllReduce,float32,8,default,,,10,as nccl-tests spells it\n",
        HEADER + "\n\nallreduce,float32,8,default,-,-1,10\n",
    ],
    ids=["CRLF", "other order", "blanks", "another column and spelling", "an empty line, no channels as -1"],
)
def test_tables_that_differ_in_form_alone(text):
    assert parse_times(text, "t") == {point(8): {DEFAULT_CELL: 10.0}}


def test_a_byte_order_mark_is_none_of_the_content(tmp_path):
    path = written(tmp_path, MINIMAL)
    for file in (path, tmp_path / "times.csv"):
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert read_fabric(path).times[point(8)][DEFAULT_CELL] == 10.0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("all_reduce,float32,8,Tree,LL,,9\n", "t: no row with algo default for all_reduce of 8 bytes"),
        ("all_reduce,float32,8,default,,,0\n", "t:2: an unknown collective, no algorithm, or a size or time"),
        ("all_reduce,float32,8,default,,,nan\n", "t:2: an unknown collective"),
        ("all_reduce,float32,8,default,,,inf\n", "t:2: an unknown collective"),
        ("all_reduce,float32,0,default,,,9\n", "t:2: an unknown collective"),
        ("all_reduce,float32,8,,,,9\n", "t:2: an unknown collective"),
        ("allredux,float32,8,default,,,9\n", "t:2: an unknown collective"),
        ("all_reduce,float32,8M,default,,,9\n", "t:2: not a row of times"),
        ("all_reduce,float32,8,default,,,fast\n", "t:2: not a row of times"),
        ("all_reduce,float32,8,default\n", "t:2: not a row of times"),
        ("all_reduce,float32,8,Tree,LL,-5,9\n", "t:2: not a row of times"),
        ("all_reduce,float32,8,Tree,LL,many,9\n", "t:2: not a row of times"),
        ("all_reduce,float32,8,default,,,9\nall_reduce,float32,8,default,,,8\n", "t:3: a second row for default"),
    ],
)
def test_mistakes_in_a_table(rows, message):
    with pytest.raises(ParseError) as caught:
        parse_times(f"{HEADER}\n{rows}", "t")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("column", HEADER.split(","))
def test_a_missing_column_is_named(column):
    with pytest.raises(ParseError, match=f"t:1: the table lacks the column '{column}'"):
        parse_times(",".join(name for name in HEADER.split(",") if name != column) + "\n", "t")


# ---- what each mistake in a description says


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("nodes = [\n", "not TOML"),
        ("[slow_nodes]\ndgx9 = 0.5\n", "slow 'dgx9' is not one of the fabric's nodes"),
        ('nodes = ["a"]\n[slow_nodes]\nb = 0.5\n', "slow 'b' is not one of the fabric's nodes"),
        (
            'nodes = ["a", "b"]\n[[slow_links]]\nnodes = ["a", "z"]\nfactor = 0.5\n',
            "slow 'z' is not one of the fabric's nodes",
        ),
        ('rails = 2\n[[slow_rails]]\nrail = "rail7"\nfactor = 0.5\n', "slow 'rail7' is not one"),
        ('nodes = ["a", "a"]\n', "nodes must be named once each"),
        ("nodes = []\n", "nodes must be named once each"),
        ("nodes = 0\n", "nodes = 0; there must be 1 to 100000"),
        ("nodes = 100001\n", "nodes = 100001; there must be 1 to 100000"),
        ("nodes = true\n", "not a fabric's description: Expected `array`, got `bool` - at `$.nodes`"),
        ("nodes = 2.5\n", "not a fabric's description: Expected `array`, got `float` - at `$.nodes`"),
        ("gpus_per_node = 0\n", "gpus_per_node be 1 or more"),
        ("rails = -1\n", "rails = -1; there must be 0 to 1000"),
        ("name = 5\n", "not a fabric's description: Expected `str`, got `int` - at `$.name`"),
        ("[noise]\ncv = -0.1\n", "[noise] cv = -0.1; it must be 0 or more"),
        ("[noise]\nlaunch_cv = nan\n", "[noise] launch_cv = nan; it must be 0 or more"),
        ("[noise]\ndrift = inf\n", "[noise] drift = inf; it must be 0 or more"),
        ("[noise]\noutlier_rate = 1.5\n", "a rate from 0 to 1"),
        ("[noise]\noutlier_rate = 0.1\noutlier_factor = 0\n", "[noise] outlier_factor must be over 0"),
        ("[noise]\nlaunch_outlier_rate = 0.1\nlaunch_outlier_factor = 0\n", "[noise] launch_outlier_factor must be"),
        ("[noise]\nsigma = 0.1\n", "Object contains unknown field `sigma` - at `$.noise`"),
        ('[noise]\ncv = "3 %"\n', "Expected `float`, got `str` - at `$.noise.cv`"),
        ("noise = 0.03\n", "Expected `object`, got `float` - at `$.noise`"),
        ("nodes = 2\n[slow_nodes]\nnode001 = 1.2\n", "a factor must be over 0 and at most 1"),
        ("nodes = 2\n[slow_nodes]\nnode001 = 0\n", "a factor must be over 0 and at most 1"),
        ("nodes = 2\n[slow_nodes]\nnode001 = nan\n", "a factor must be over 0 and at most 1"),
        ('nodes = 2\nslow_nodes = ["node001"]\n', "'slow_nodes' is no table; write [slow_nodes]"),
        ("nodes = 2\nslow_links = 5\n", "Expected `array`, got `int` - at `$.slow_links`"),
        ('nodes = 2\nslow_links = "a-b"\n', "Expected `array`, got `str` - at `$.slow_links`"),
        ("nodes = 2\n[[slow_links]]\nnodes = 5\nfactor = 0.5\n", "got `int` - at `$.slow_links[0].nodes`"),
        ("nodes = 2\n[[slow_links]]\nfactor = 0.5\n", "missing required field `nodes` - at `$.slow_links[0]`"),
        ('[[faults]]\nkind = "hung"\nalgo = "Tree"\n', "Invalid enum value 'hung' - at `$.faults[0].kind`"),
        ('[[faults]]\nkind = "hang"\n', "missing required field `algo` - at `$.faults[0]`"),
        ('[[faults]]\nkind = "hang"\nalgo = "Tree"\nrate = -0.1\n', "a rate from 0 to 1"),
        ('[[faults]]\nkind = "hang"\nalgo = "Tree"\nprotocol = "LL"\n', "unknown field `protocol`"),
        ("times = 5\n", "'times' is no table; write [times]"),
        ("model = 5\n", "'model' is no table; write [model]"),
        ("[model]\nTree = 5\n", "[model] Tree is no table; write [model.Tree.<proto>]"),
        ("[model.Tree]\nlatency_us = 5\n", "[model.Tree.latency_us] needs latency_us and bandwidth_gbps"),
        ("[model.Tree.LL]\nlatency_us = 5\n", "[model.Tree.LL] needs latency_us and bandwidth_gbps"),
        ('[model.Tree.LL]\nlatency_us = 5\nbandwidth_gbps = "x"\n', "[model.Tree.LL] needs latency_us and"),
        ("[model.Tree.LL]\nlatency_us = 5\nbandwidth_gbps = 0\n", "a bandwidth_gbps over 0"),
        ("[model.Tree.LL]\nlatency_us = -5\nbandwidth_gbps = 9\n", "a latency_us of 0 or more"),
    ],
)
def test_mistakes_in_a_description(read, tmp_path, toml, message):
    with pytest.raises(ParseError) as caught:
        read(toml)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "fabric.toml"))


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read .*nowhere\.toml"):
        read_fabric(tmp_path / "nowhere.toml")
    (tmp_path / "fabric.toml").write_text('[times]\ntable = "gone.csv"\n')
    with pytest.raises(UsageError, match=r"cannot read .*gone\.csv"):
        read_fabric(tmp_path / "fabric.toml")


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "fabric.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ProbeError, match="cannot read"):
        read_fabric(tmp_path / "fabric.toml")


# ---- the page


def test_the_pages_examples_are_fabrics(tmp_path):
    page = (DATA.parent / "docs" / "simulated-fabrics.md").read_text()
    example, faults, variables = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    shipped = read_fabric(DATA / "fabric_two_nodes" / "fabric.toml")
    assert read_fabric(written(tmp_path, example)) == shipped
    broken = read_fabric(written(tmp_path, example + faults))
    assert broken.slow_nodes == {"dgx002": 0.85}
    assert broken.slow_links[0].factor == 0.6
    assert broken.faults == (Fault(kind="wrong", algo="Tree", proto="LL", rate=0.2),)
    effects = read_fabric(written(tmp_path, example + variables)).env
    assert [(one.name, one.factor, one.to_bytes, one.algo, one.together) for one in effects] == [
        ("NCCL_NTHREADS", 0.93, None, None, {}),
        ("NCCL_NTHREADS", 1.12, 512, "Tree", {}),
        ("NCCL_BUFFSIZE", 0.95, None, None, {"NCCL_NTHREADS": "512"}),
    ]
    (table,) = re.findall(r"```csv\n(.*?)```", page, re.DOTALL)
    assert [len(cells) for cells in parse_times(table, "page").values()] == [3]


@pytest.mark.parametrize("section", [Noise, SlowLink, SlowRail, Fault, EnvEffect])
def test_the_page_names_every_key(section):
    page = (DATA.parent / "docs" / "simulated-fabrics.md").read_text()
    assert [name for name in section.__struct_encode_fields__ if f"`{name}`" not in page] == []


# ---- what variables do


def with_env(folder, extra: str):
    cells = "LL = { latency_us = 10, bandwidth_gbps = 1e9 }\nSimple = { latency_us = 20, bandwidth_gbps = 1e9 }"
    return read_fabric(written(folder, f"nodes = 2\n[model.Tree]\n{cells}\n{extra}"))


EFFECT = '[[env]]\nname = "NCCL_A"\nvalue = "1"\nfactor = 0.5\n'


@pytest.mark.parametrize(
    ("extra", "env", "factors"),
    [
        ("", {}, (1, 1, 1)),
        ("", {"NCCL_A": "1"}, (0.5, 0.5, 0.5)),
        ("", {"NCCL_A": "2"}, (1, 1, 1)),
        ('proto = "LL"', {"NCCL_A": "1"}, (0.5, 0.5, 1)),
        ('proto = "Simple"', {"NCCL_A": "1"}, (1, 1, 0.5)),
        ("from_bytes = 1025", {"NCCL_A": "1"}, (1, 1, 1)),
        ("from_bytes = 1024\nto_bytes = 1024", {"NCCL_A": "1"}, (0.5, 0.5, 0.5)),
        ("to_bytes = 1023", {"NCCL_A": "1"}, (1, 1, 1)),
        ('with = { NCCL_B = "2" }', {"NCCL_A": "1"}, (1, 1, 1)),
        ('with = { NCCL_B = "2" }', {"NCCL_A": "1", "NCCL_B": "2"}, (0.5, 0.5, 0.5)),
        ('with = { NCCL_B = "" }', {"NCCL_A": "1"}, (0.5, 0.5, 0.5)),
        ('with = { NCCL_B = "" }', {"NCCL_A": "1", "NCCL_B": "2"}, (1, 1, 1)),
        (EFFECT, {"NCCL_A": "1"}, (0.25, 0.25, 0.25)),
    ],
)
def test_variables_change_times_where_they_are_said_to(tmp_path, extra, env, factors):
    fabric = with_env(tmp_path, f"{EFFECT}{extra}")
    at = Point(collective="all_reduce", dtype="float32", size_bytes=1024)
    cells = (Cell(), Cell(algo="Tree", proto="LL"), Cell(algo="Tree", proto="Simple"))
    plain, found = fabric.median_times(at), fabric.median_times(at, tuple(sorted(env.items())))
    assert [found[cell] / plain[cell] for cell in cells] == pytest.approx(list(factors)), "the default is Tree/LL"


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ('[[env]]\nname = "A"\nvalue = ""\nfactor = 0.5', "needs a name, a value and a factor over 0"),
        ('[[env]]\nname = "A"\nvalue = "1"\nfactor = 0', "needs a name, a value and a factor over 0"),
        ('[[env]]\nname = "A"\nvalue = 1\nfactor = 0.5', "Expected `str`, got `int`"),
        ('[[env]]\nname = "A"\nvalue = "1"\nfactor = 0.5\nsize = 1', "unknown field `size`"),
    ],
)
def test_variables_that_cannot_be(tmp_path, extra, message):
    with pytest.raises(ParseError) as caught:
        with_env(tmp_path, extra)
    assert message in str(caught.value)
