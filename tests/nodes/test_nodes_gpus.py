"""GPUs as nodes, from the command line to the document; CuPy and NCCL are those of ``fake_gpu``, which has a clock."""

import itertools
import json
import pathlib
import platform

import jsonschema
import msgspec
import pytest
from click.testing import CliRunner

from ncclprobe.cli.nodes import command
from ncclprobe.cli.schema import document_schema
from ncclprobe.errors import UsageError
from ncclprobe.nodes import worker
from ncclprobe.nodes.gpus import measurable
from ncclprobe.nodes.hosts import FleetOptions
from ncclprobe.records.nodes import CheckValue, GroupValue, NodesDocument
from ncclprobe.report.text.nodes import nodes_text
from ncclprobe.store import read_journal
from ncclprobe.tuner.build import plugin_path

TESTS = pathlib.Path(__file__).parents[1]
GPUS = ["gpu0", "gpu1", "gpu2", "gpu3"]
LINKS = list(itertools.combinations(GPUS, 2))


@pytest.fixture
def four_gpus(tmp_path, monkeypatch):
    fake = TESTS / "backends" / "fake_gpu"
    monkeypatch.syspath_prepend(str(fake))
    monkeypatch.setenv("PYTHONPATH", str(fake))
    monkeypatch.setenv("FAKE_NCCL_HELPERS", str(TESTS / "tuner"))
    monkeypatch.setenv("FAKE_GPU_FOLDER", str(tmp_path))
    monkeypatch.setenv("FAKE_GPUS", "4")
    monkeypatch.setenv("FAKE_SLOW_GPUS", "")
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    monkeypatch.setenv("NCCL_TUNER_PLUGIN", str(plugin_path()))
    monkeypatch.setattr(worker, "gpu_count", lambda: 4)


def invoke(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments], standalone_mode=False)


def document_of(out, *arguments):
    done = invoke("--each", "gpu", "--size", "64K", "--seed", "1", "--out", out, *arguments, "--json")
    assert done.exception is None, done.stderr
    document = json.loads(done.stdout)
    jsonschema.validate(document, document_schema("nodes"))
    return done.return_value, document


def statuses(document):
    return {node["node"]: node["status"] for node in document["nodes"]}


@pytest.mark.usefixtures("four_gpus")
def test_alike_gpus_meet_in_all_pairs_and_none_is_named(tmp_path):
    out = tmp_path / "run"
    status, document = document_of(out)
    assert status == 0
    assert statuses(document) == dict.fromkeys(GPUS, "ok")
    assert {tuple(link["nodes"]): link["status"] for link in document["links"]} == dict.fromkeys(LINKS, "ok")
    assert (document["each"], document["exclude"]) == ("gpu", [])
    assert [finding for finding in document["findings"] if finding["severity"] != "info"] == []
    assert document["source"] == f"nccl all-reduce of 64K between the 4 GPUs of {platform.node()}"
    text = nodes_text(msgspec.convert(document, NodesDocument))
    assert text.startswith("ok: 4 of 4 GPUs: gpu[0-3]\n")
    assert "GPU-minutes a GPU, seed 1" in " ".join(text.split())
    lines = list(read_journal(out, {"group-value": GroupValue, "check-value": CheckValue}))
    values = [line for line in lines if isinstance(line, GroupValue)]
    first = [tuple(sorted(value.nodes)) for value in values if value.round in (0, 1, 2)]
    assert sorted(first) == LINKS
    checks = {(line.node, line.check.value, line.gpu) for line in lines if isinstance(line, CheckValue)}
    assert checks == {(gpu, check, None) for gpu in GPUS for check in ("gpu-memory", "gpu-compute")}


@pytest.mark.usefixtures("four_gpus")
def test_a_slow_gpu_is_named_with_what_helps_there(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_SLOW_GPUS", "2")
    out = tmp_path / "run"
    status, document = document_of(out)
    assert status == 3
    assert statuses(document) == dict.fromkeys(GPUS, "ok") | {"gpu2": "slow"}
    assert {link["status"] for link in document["links"]} == {"ok"}
    (slow,) = (node for node in document["nodes"] if node["node"] == "gpu2")
    assert slow["cause"] == "gpu"
    assert slow["evidence"].endswith("below the fleet's: the GPU, not its links")
    found = {
        (finding["code"], finding["subject"]) for finding in document["findings"] if finding["severity"] == "error"
    }
    assert found == {("slow-node", "gpu2"), ("slow-gpu", "gpu2")}
    hint = next(finding["hint"] for finding in document["findings"] if finding["code"] == "slow-node")
    assert hint.startswith("leave it out of CUDA_VISIBLE_DEVICES")
    assert document["exclude"] == []
    assert sorted(path.name for path in out.iterdir() if path.name.startswith(("exclude", "hostfile"))) == []


@pytest.mark.usefixtures("four_gpus")
@pytest.mark.parametrize(
    ("number", "message"),
    [
        (0, f"{platform.node()} has no GPU that NCCL can be run on"),
        (1, f"{platform.node()} has one GPU, which can be compared with nothing"),
    ],
)
def test_fewer_than_two_gpus_are_refused(monkeypatch, number, message):
    monkeypatch.setattr(worker, "gpu_count", lambda: number)
    done = invoke("--each", "gpu")
    assert isinstance(done.exception, UsageError)
    assert str(done.exception).startswith(message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--backend", "mpi"), "leave --backend mpi away"),
        (("--nranks-per-node", "2"), "leave --nranks-per-node away"),
        (("--launcher", "local", "--hosts", "dgx[1-2]"), "the launcher `local` measures the GPUs of this host"),
        (("--fabric", "fabric.toml"), "--fabric, --each exclude each other"),
    ],
)
def test_what_does_not_go_with_gpus_is_refused(arguments, message):
    done = invoke("--each", "gpu", *arguments)
    assert isinstance(done.exception, UsageError)
    assert message in str(done.exception)


def test_gpus_of_several_hosts_are_named_with_their_host():
    options = FleetOptions(
        backend="nccl", launcher="srun", hosts=("a", "b"), ranks_per_node=2, size_bytes=8, timeout_s=1.0, gpus=2
    )
    assert options.nodes == ("a/gpu0", "a/gpu1", "b/gpu0", "b/gpu1")
    assert options.nodes_of("b") == ("b/gpu0", "b/gpu1")
    assert options.on_one_host(("b/gpu1", "b/gpu0"))
    assert not options.on_one_host(("a/gpu1", "b/gpu0"))
    by_place = {"a/gpu0": (2,), "a/gpu1": (3,), "b/gpu0": (0,), "b/gpu1": (1,)}
    assert options.ranks_of_nodes({"a": (2, 3), "b": (0, 1)}) == by_place
    assert options.ranks_of_nodes({"b": (0, 1)}) == {"b/gpu0": (0,), "b/gpu1": (1,)}, "a is gone"


def test_as_many_gpus_are_measured_as_all_hosts_have():
    assert measurable(("a", "b", "c"), {"a": 8, "b": 4}) == 4
    assert measurable(("a", "b"), {"a": 1, "b": 1}) == 1
    with pytest.raises(UsageError, match="none of a, b answers"):
        measurable(("a", "b"), {})
