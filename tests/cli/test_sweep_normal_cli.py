"""``ncclprobe sweep`` and what it knows of the hardware: from a scan, from this machine, or not at all."""

from __future__ import annotations

import json
import os
import pathlib

import msgspec
import pytest

from ncclprobe.backends import nccl as backend_module
from ncclprobe.backends.mpi_names import Choices
from ncclprobe.cli import main
from ncclprobe.cli.normal import seen_hardware, with_normality
from ncclprobe.errors import RunDirectoryError, UsageError
from ncclprobe.findings import info
from ncclprobe.records.normal import Hardware
from ncclprobe.records.scan import Gpu, Host, ScanDocument
from ncclprobe.records.sweep import SweepDocument
from ncclprobe.store import Manifest
from ncclprobe.sweep.plan import SweepOptions

ROOT = pathlib.Path(__file__).parents[2]
TESTS = ROOT / "tests"
TWO_NODES = ROOT / "data" / "fabric_two_nodes" / "fabric.toml"
H200S = Hardware(nodes=1, gpu="NVIDIA H200", gpus=2, nvlinks=18, pcie_gbps=None, rails=0, rails_gbps=None)


def host(name: str, nvlinks: int = 18) -> Host:
    gpus = tuple(Gpu(index=index, name="NVIDIA H200", nvlinks=nvlinks) for index in range(2))
    return Host(host=name, gpus=gpus)


@pytest.fixture
def scan(tmp_path: pathlib.Path) -> pathlib.Path:
    """Return a scan's run of three nodes, of which one lacks links."""
    path = tmp_path / "scan"
    path.mkdir()
    document = ScanDocument(hosts=(host("dgx1"), host("dgx2"), host("dgx3", nvlinks=17)))
    (path / "document.json").write_bytes(msgspec.json.encode(document))
    return path


def options(**given: object) -> SweepOptions:
    return SweepOptions(**({"backend": "nccl", "seed": 1, "launcher": "srun"} | given))


def test_the_nodes_that_take_part_are_looked_up_in_the_scan(scan: pathlib.Path) -> None:
    assert seen_hardware(options(hosts=("dgx1", "dgx2")), scan) == H200S.with_(nodes=2)
    assert seen_hardware(options(hosts=("dgx3",)), scan) == H200S.with_(nvlinks=17)
    assert seen_hardware(options(hosts=("dgx1", "dgx3")), scan) is None
    assert seen_hardware(options(), scan) is None


def test_a_node_that_the_scan_lacks(scan: pathlib.Path) -> None:
    with pytest.raises(UsageError, match=r"does not have dgx7, dgx8; scan these nodes, too"):
        seen_hardware(options(hosts=("dgx1", "dgx7", "dgx8")), scan)


def test_a_path_without_a_scan(tmp_path: pathlib.Path) -> None:
    with pytest.raises(RunDirectoryError, match="is no run directory"):
        seen_hardware(options(), tmp_path)


def test_without_a_scan_other_nodes_are_not_guessed() -> None:
    assert seen_hardware(options(), None) is None
    assert seen_hardware(options(launcher="local", hosts=("elsewhere",)), None) is None
    assert seen_hardware(options(backend="mpi", launcher="local"), None) is None


def test_a_scan_says_nothing_of_other_backends(scan: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["sweep", "--fabric", str(TWO_NODES), "--scan", str(scan)])
    assert exit_.value.code == 2
    assert "leave it away with --backend sim" in capsys.readouterr().err


# ---- what becomes of it


def measured() -> SweepDocument:
    text = (ROOT / "data/h200x2_202611/sweep/document.json").read_bytes()
    return msgspec.json.decode(text, type=SweepDocument)


def manifest(hardware: Hardware | None) -> Manifest:
    return Manifest(command="sweep", argv=(), seed=1, environment={"NCCL_NVLS_ENABLE": "0"}, hardware=hardware)


def test_the_document_says_what_is_odd() -> None:
    judged = with_normality(measured(), manifest(H200S.with_(nvlinks=12)))
    assert judged.normal is not None
    assert [finding.code for finding in judged.findings] == ["table-only", "above-limit"]
    assert with_normality(measured(), manifest(H200S)).findings == measured().findings


@pytest.mark.parametrize("code", ["functional-only", "pretended-nodes"])
def test_ranks_that_do_not_use_the_links_are_not_judged(code: str) -> None:
    document = measured().with_(findings=(info(code, "", "", ""),))
    assert with_normality(document, manifest(H200S.with_(nvlinks=12))) == document


def test_nothing_is_known_where_nothing_was_looked_at() -> None:
    assert with_normality(measured(), manifest(None)) == measured()


def test_a_sweep_keeps_the_hardware_for_resume(
    scan: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (scan / "document.json").write_bytes(msgspec.json.encode(ScanDocument(hosts=(host("here"),))))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS / "backends/fake_gpu"), str(TESTS / "gpu")]))
    monkeypatch.setenv("FAKE_NCCL_HELPERS", str(TESTS / "tuner"))
    monkeypatch.setenv("FAKE_GPU_FOLDER", str(tmp_path))
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    monkeypatch.setattr(backend_module, "gpu_count", lambda: 2)
    choices = Choices(library="NCCL 2.28.9", algorithms={}, ngpus=2)
    monkeypatch.setattr(backend_module.NcclBackend, "_describe", lambda _: choices)
    run = tmp_path / "run"
    arguments = [
        "sweep",
        "--backend",
        "nccl",
        "--nranks",
        "2",
        "--algo",
        "Ring",
        "--proto",
        "Simple",
        "--sizes",
        "64,4K",
    ]
    with pytest.raises(SystemExit) as exit_:
        main([*arguments, "--budget", "3", "--seed", "1", "--scan", str(scan), "--out", str(run), "--json"])
    assert exit_.value.code == 0
    normal = json.loads(capsys.readouterr().out)["normal"]
    assert normal["hardware"] == msgspec.to_builtins(H200S)
    assert normal["limit"] == {"busbw_gbps": 450.0, "basis": "18 NVLinks of 25 GB/s"}
    assert [size["size_bytes"] for size in normal["sizes"]] == [64, 4096]
    assert all(0 < size["share"] < 1 and size["published"] is None for size in normal["sizes"])
    assert json.loads((run / "manifest.json").read_text())["hardware"] == msgspec.to_builtins(H200S)
    with pytest.raises(SystemExit):
        main(["sweep", "--resume", str(run), "--json"])
    assert json.loads(capsys.readouterr().out)["normal"] == normal
