"""From a scan's hosts to what bounds collectives."""

from __future__ import annotations

import pathlib

import pytest
from fake_machine import Machine
from scan_records import ETH, gpu, hca, host

from ncclprobe.names import PortState
from ncclprobe.records.normal import Hardware
from ncclprobe.scan.hardware import hardware_of
from ncclprobe.scan.sysfs import read_hcas

GEN5 = 63.0


def gpus(count: int = 8, **given: object):
    fields = {"name": "NVIDIA H200", "nvlinks": 18, "pcie_gbps": GEN5} | given
    return [gpu(index, **fields) for index in range(count)]


def rails(count: int = 8, **given: object):
    return [hca(f"mlx5_{number}", **({"rate_gbps": 400.0} | given)) for number in range(count)]


def test_a_node_of_eight_gpus_and_eight_rails():
    assert hardware_of([host(*rails(), gpus=gpus())], {}) == Hardware(
        nodes=1, gpu="NVIDIA H200", gpus=8, nvlinks=18, pcie_gbps=GEN5, rails=8, rails_gbps=400.0
    )


def test_nodes_that_are_alike_count_together():
    found = hardware_of([host(*rails(), gpus=gpus(), name=name) for name in ("dgx001", "dgx002")], {})
    assert found is not None
    assert (found.nodes, found.rails_gbps) == (2, 400.0)


@pytest.mark.parametrize(
    "other",
    [
        host(*rails(7), gpus=gpus()),
        host(*rails(rate_gbps=200.0), gpus=gpus()),
        host(*rails(), gpus=gpus(7)),
        host(*rails(), gpus=gpus(nvlinks=17)),
        host(*rails(), gpus=gpus(name="NVIDIA H100 80GB HBM3")),
    ],
)
def test_nodes_that_differ_tell_nothing(other):
    assert hardware_of([host(*rails(), gpus=gpus()), other], {}) is None


def test_a_node_without_gpus_tells_nothing():
    assert hardware_of([host(*rails())], {}) is None


def test_gpus_of_a_node_that_differ_leave_that_open():
    found = hardware_of([host(gpus=[*gpus(7), gpu(7, name="NVIDIA H200", nvlinks=17, pcie_gbps=GEN5)])], {})
    assert found is not None
    assert (found.gpu, found.nvlinks, found.pcie_gbps) == ("NVIDIA H200", None, GEN5)


def test_what_a_scan_leaves_out_is_no_rail():
    other = [
        hca("mlx5_8", link_layer=ETH, rate_gbps=100.0),
        hca("mlx5_9", state=PortState.DOWN, rate_gbps=400.0),
        hca("efa_0", rate_gbps=100.0),
    ]
    found = hardware_of([host(*rails(), *other, gpus=gpus())], {})
    assert found is not None
    assert (found.rails, found.rails_gbps) == (8, 400.0)


def test_nccl_ib_hca_selects():
    found = hardware_of([host(*rails(), gpus=gpus())], {"NCCL_IB_HCA": "=mlx5_0,mlx5_1"})
    assert found is not None
    assert (found.rails, found.rails_gbps) == (2, 100.0)


def test_an_hca_carries_no_more_than_its_pcie_link():
    found = hardware_of([host(*rails(2, pcie_gbps=31.5), gpus=gpus())], {})
    assert found is not None
    assert found.rails_gbps == 63.0


@pytest.mark.parametrize("hcas", [[], rails(rate_gbps=None)])
def test_without_rates_nothing_is_said(hcas):
    found = hardware_of([host(*hcas, gpus=gpus())], {})
    assert found is not None
    assert found.rails_gbps is None


def test_pcie_links_as_sysfs_shows_them(tmp_path: pathlib.Path):
    machine = Machine(tmp_path)
    shown = {"max_link_speed": "32.0 GT/s PCIe", "current_link_width": "16"}
    unknown = {"max_link_speed": "Unknown", "current_link_width": "0"}
    for number, files in enumerate((shown, unknown, {})):
        machine.hca(f"mlx5_{number}", machine.pci("pci0000:10", f"0000:1{number}:00.0", **files))
    assert [one.pcie_gbps for one in read_hcas(tmp_path)] == [pytest.approx(63.015, abs=0.001), None, None]
