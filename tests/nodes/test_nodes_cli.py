import json
import pathlib

import jsonschema
import pytest
from click.testing import CliRunner

from ncclprobe.cli.nodes import command
from ncclprobe.cli.schema import document_schema
from ncclprobe.errors import ParseError, UsageError
from ncclprobe.records.nodes import GroupValue, NodesDocument
from ncclprobe.store import read_document, read_journal, read_manifest

EXAMPLE = pathlib.Path(__file__).parents[2] / "data/nodes_example/pairs.csv"
FABRIC = """
name = "eight"
nodes = 8
gpus_per_node = 8
[noise]
cv = 0.03
[slow_nodes]
dgx002 = 0.85
"""


def invoke(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments], standalone_mode=False)


@pytest.fixture
def fabric(tmp_path):
    path = tmp_path / "fabric.toml"
    path.write_text(FABRIC)
    return path


def document_of(*arguments):
    done = invoke(*arguments, "--json")
    document = json.loads(done.stdout)
    jsonschema.validate(document, document_schema("nodes"))
    return done.return_value, document


def test_the_example_names_the_slow_node_and_exits_3():
    status, document = document_of("--from", EXAMPLE)
    assert status == 3
    assert {node["node"]: node["status"] for node in document["nodes"]} == {
        "dgx001": "ok",
        "dgx002": "slow",
        "dgx003": "ok",
        "dgx004": "ok",
        "dgx005": "ok",
        "dgx006": "ok",
    }
    assert [(finding["severity"], finding["code"], finding["subject"]) for finding in document["findings"]] == [
        ("error", "slow-node", "dgx002")
    ]


def test_people_read_names_figures_and_what_to_do():
    text = invoke("--from", EXAMPLE).stdout
    assert "slow: 1 of 6 nodes: dgx002" in text
    assert "14 % below healthy nodes in 5 of 5 pairs with 5 different partners" in text
    assert "--exclude=dgx002" in text
    assert max(map(len, text.splitlines()[:-1])) <= 80


def test_times_are_turned_round(tmp_path):
    text = "nodes,value\n"
    for row in EXAMPLE.read_text().splitlines()[2:]:
        names, value = row.split(",tok/s")[0].rsplit(",", 1)
        text += f"{names},{1e6 / float(value)}\n"
    path = tmp_path / "times.csv"
    path.write_text(text)
    slow = {n["node"] for n in document_of("--from", path, "--lower-is-better")[1]["nodes"] if n["status"] == "slow"}
    assert slow == {"dgx002"}


def test_few_rows_with_a_wide_spread_say_nothing_wrong(tmp_path):
    path = tmp_path / "few.csv"
    path.write_text("nodes,value\na b,1.0\nc d,1.1\na c,1.15\nb d,1.02\na d,1.2\nb c,1.05\n")
    status, document = document_of("--from", path)
    assert status == 0
    assert {node["status"] for node in document["nodes"]} <= {"ok", "suspect"}
    assert all(node["slowdown"]["high"] - node["slowdown"]["low"] > 0.2 for node in document["nodes"])


def test_what_limits_the_verdicts_is_told(tmp_path):
    path = tmp_path / "mixed.csv"
    path.write_text(
        "nodes,value,unit,time\na b,100,GB/s,1\nc d,101,GB/s,2\nc e,99,GB/s,x\nd e,100,GB/s,4\nc d,9,tok/s,5\n"
    )
    codes = {finding["code"] for finding in document_of("--from", path)[1]["findings"]}
    assert codes == {"mixed-units", "too-few-values", "nothing-bounded", "not-separable", "time-not-used"}


def test_rows_that_repeat_another_are_told(tmp_path):
    path = tmp_path / "twice.csv"
    path.write_text("nodes,value,time\n" + "a b,10,1\nb c,11,2\n" * 2)
    said = {found["code"]: found["message"] for found in document_of("--from", path)[1]["findings"]}
    assert said["repeated-rows"].startswith("2 rows repeat the nodes, value and time of another")


def test_where_slow_nodes_pass_for_healthy_the_faster_ones_are_told(tmp_path):
    path = tmp_path / "generations.csv"
    pairs = [(a, b) for a in "abcdefgh" for b in "abcdefgh" if a < b]
    path.write_text("nodes,value\n" + "".join(f"{a} {b},{100 if b < 'e' else 60}\n" for a, b in pairs))
    (finding,) = document_of("--from", path)[1]["findings"]
    assert (finding["code"], finding["subject"]) == ("faster-nodes", "a,b,c,d")
    assert finding["message"].startswith("4 of 8 nodes are at least 66 % faster than what passes for healthy")
    assert "Next: compare the values with what the hardware allows" in invoke("--from", path).stdout


def test_names_that_may_be_one_hosts_are_told(tmp_path):
    path = tmp_path / "alike.csv"
    path.write_text("nodes,value\nn1 N2,10\nn1.site n2.site,10\nr1.a r1.b,10\n")
    (finding,) = [found for found in document_of("--from", path)[1]["findings"] if found["code"] == "names-alike"]
    assert sorted(finding["subject"].split("; ")) == ["N2, n2.site", "n1, n1.site"]


def test_nodes_whose_slowdown_nothing_bounds_are_told_and_nobody_is_sent_on(tmp_path):
    path = tmp_path / "together.csv"
    path.write_text("nodes,value,time\n" + "".join(f"a b,{100 + number},{number}\n" for number in range(4)))
    _, document = document_of("--from", path)
    assert [node["slowdown"]["high"] for node in document["nodes"]] == [1.0, 1.0]
    (finding,) = [finding for finding in document["findings"] if finding["code"] == "nothing-bounded"]
    assert finding["message"] == "2 of 2 nodes are ok for want of evidence: their values bound no slowdown"
    assert finding["hint"].endswith("leave the column time away")
    assert "Next: add more results of these nodes in other groups" in invoke("--from", path).stdout


def test_values_without_a_unit_are_called_so_and_no_slowdown_is_below_zero_by_nothing(tmp_path):
    path = tmp_path / "few.csv"
    path.write_text("nodes,value\na,10\nb,10.1\n")
    said = {finding["subject"]: finding["message"] for finding in document_of("--from", path)[1]["findings"]}
    assert said["no unit"] == "fewer than 3 values without a unit: nothing can be said from them"
    path.write_text("nodes,value\na,10\nb,10.1\nc,10.2\nd,8\n")
    text = invoke("--from", path).stdout
    assert "b   ok        0.0 %       0.0 to 100.0 %" in text.splitlines()


def test_a_fabric_is_measured_journalled_and_kept(fabric, tmp_path):
    out = tmp_path / "run"
    status, document = document_of("--fabric", fabric, "--seed", 4, "--out", out)
    assert status == 3
    assert {node["node"] for node in document["nodes"] if node["status"] == "slow"} == {"dgx002"}
    values = list(read_journal(out, {"group-value": GroupValue}))
    assert sum(len(value.nodes) for value in values) / 8 == document["cost"]["measurements_per_node"]
    assert max(value.round for value in values) + 1 == document["cost"]["rounds"]
    kept = read_document(out, [NodesDocument])
    assert [node.node for node in kept.nodes] == [node["node"] for node in document["nodes"]]
    assert read_manifest(out).seed == document["seed"] == 4


def test_the_seed_binds_the_document(fabric, tmp_path):
    runs = [
        document_of("--fabric", fabric, "--seed", seed, "--out", tmp_path / str(i))[1]
        for i, seed in enumerate((7, 7, 8))
    ]
    for run in runs:
        run.pop("created")
    assert runs[0] == runs[1] != runs[2]


def test_passive_runs_keep_a_directory_only_if_asked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    invoke("--from", EXAMPLE)
    assert list(tmp_path.iterdir()) == []
    invoke("--from", EXAMPLE, "--out", tmp_path / "kept")
    assert read_document(tmp_path / "kept", [NodesDocument]).nodes[1].node == "dgx002"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--from CSV"),
        (("--from", "x.csv", "--fabric", "y.toml"), "--from, --fabric exclude each other"),
        (("--from", "x.csv", "--rounds", "3"), "leave --rounds"),
        (("--fabric", "y.toml", "--lower-is-better"), "--lower-is-better"),
        (("--from", "nowhere.csv"), "cannot read"),
        (("--fabric", "nowhere.toml"), "nowhere.toml"),
    ],
)
def test_contradictions_are_refused(arguments, message):
    caught = invoke(*arguments).exception
    assert isinstance(caught, UsageError)
    assert message in str(caught)


def test_a_fabric_of_one_node_and_a_bad_csv_are_refused(tmp_path):
    (tmp_path / "one.toml").write_text("nodes = 1\n")
    (tmp_path / "bad.csv").write_text("nodes,value\na b,much\n")
    assert isinstance(invoke("--fabric", tmp_path / "one.toml").exception, UsageError)
    assert isinstance(invoke("--from", tmp_path / "bad.csv").exception, ParseError)
