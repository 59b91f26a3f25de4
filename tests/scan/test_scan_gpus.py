"""Reading GPUs through NVML: against a small library of NVML's own interface, compiled here."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest
from fake_machine import Machine

COMPILER = shutil.which("cc")
CODE = """
import sys, json, pathlib, msgspec
from ncclprobe.scan.collect import collect
read = collect(root=pathlib.Path(sys.argv[1]), environment={}, command=("ncclprobe-has-no-such-tool",))
print(json.dumps(msgspec.to_builtins({"host": read.hosts[0], "findings": read.findings})))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    if COMPILER is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("nvml")
    source = pathlib.Path(__file__).with_name("fake_nvml.c")
    command = [COMPILER, "-shared", "-fPIC", "-Wall", "-Werror", "-o", str(folder / "libnvidia-ml.so.1"), str(source)]
    subprocess.run(command, check=True, timeout=60)
    return folder


def collected(library: pathlib.Path, root: pathlib.Path, **env: str) -> dict[str, object]:
    path = str(pathlib.Path(__file__).parents[2])
    environment = os.environ | {"LD_LIBRARY_PATH": str(library), "PYTHONPATH": path} | env
    command = [sys.executable, "-c", CODE, str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=60)
    document: dict[str, object] = json.loads(done.stdout)
    return document


@pytest.fixture
def machine(tmp_path: pathlib.Path) -> Machine:
    """Return a machine with two GPUs, each beside an HCA on a PCIe switch of its own."""
    machine = Machine(tmp_path / "root")
    for number in (1, 2):
        switch = (f"pci0000:{number}0", f"0000:{number}0:01.0", f"0000:{number}1:00.0")
        files = {"vendor": "0x10de", "class": "0x030200"}
        files |= {"max_link_speed": "32.0 GT/s PCIe", "current_link_width": "16"} if number == 1 else {}
        machine.pci(*switch, f"0000:{number}2:00.0", f"0000:{number}b:00.0", numa=-1 if number == 1 else 0, **files)
        device = machine.pci(*switch, f"0000:{number}2:01.0", f"0000:{number}c:00.0", numa=number - 1)
        machine.port(machine.hca(f"mlx5_{number}", device))
    return machine


def test_gpus_with_their_links_and_nearest_hcas(library: pathlib.Path, machine: Machine) -> None:
    read = collected(library, machine.root)
    common = {"name": "NVIDIA H200"}
    assert read["host"]["gpus"] == [  # type: ignore[index]
        common
        | {
            "index": 0,
            "uuid": "GPU-0",
            "pci_bus_id": "0000:1b:00.0",
            "numa_node": 1,
            "nvlinks": 18,
            "pcie_gbps": 32 * 128 / 130 / 8 * 16,
            "nearest_hcas": ["mlx5_1"],
        },
        common
        | {
            "index": 1,
            "uuid": "GPU-1",
            "pci_bus_id": "0000:2b:00.0",
            "numa_node": 0,
            "nvlinks": 0,
            "pcie_gbps": None,
            "nearest_hcas": ["mlx5_2"],
        },
    ]
    assert ["driver", "570.133.20"] in read["host"]["facts"]  # type: ignore[index]
    (lost,) = read["findings"]  # type: ignore[misc]
    assert (lost["code"], lost["subject"].partition("/")[2]) == ("gpu-unreadable", "GPU2")
    assert "GPU is lost" in lost["message"]


def test_a_glance_sees_gpus_and_hcas(library: pathlib.Path, machine: Machine) -> None:
    code = (
        "import sys, pathlib; from ncclprobe.scan.collect import glanced; host = glanced(pathlib.Path(sys.argv[1]));"
        "print([(gpu.index, gpu.nvlinks) for gpu in host.gpus], [(hca.name, len(hca.ports)) for hca in host.hcas])"
    )
    environment = os.environ | {"LD_LIBRARY_PATH": str(library), "PYTHONPATH": str(pathlib.Path(__file__).parents[2])}
    command = [sys.executable, "-c", code, str(machine.root)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=60)
    assert done.stdout == "[(0, 18), (1, 0)] [('mlx5_1', 1), ('mlx5_2', 1)]\n"


@pytest.mark.parametrize("fault", ["init", "driver"])
def test_a_failing_nvml_is_a_finding(library: pathlib.Path, machine: Machine, fault: str) -> None:
    read = collected(library, machine.root, NVML_FAULT=fault)
    assert read["host"]["gpus"] == []  # type: ignore[index]
    assert [one["code"] for one in read["findings"]] == ["nvml-unavailable"]  # type: ignore[attr-defined]


def test_a_machine_without_gpus_is_no_failure(library: pathlib.Path, tmp_path: pathlib.Path) -> None:
    read = collected(library, tmp_path, NVML_FAULT="driver")
    assert [one["code"] for one in read["findings"]] == ["no-hca", "no-gpu"]  # type: ignore[attr-defined]
