"""What links carry, by NVIDIA's and PCI-SIG's figures."""

from __future__ import annotations

import pytest

from ncclprobe.hardware import gpu_model, pcie_gbps


@pytest.mark.parametrize(
    ("name", "model", "links", "gbps", "nvls"),
    [
        ("NVIDIA H200", "H200", 18, 450, True),
        ("NVIDIA H200 NVL", "H200 NVL", 18, 450, False),
        ("NVIDIA H100 80GB HBM3", "H100 SXM", 18, 450, True),
        ("NVIDIA H100 PCIe", "H100 PCIe", 12, 300, False),
        ("NVIDIA H20-3e", "H20", 18, 450, True),
        ("NVIDIA H800", "H800", 8, 200, True),
        ("NVIDIA GH200 480GB", "GH200", 18, 450, True),
        ("NVIDIA B200", "B200", 18, 900, True),
        ("NVIDIA GB200", "GB200", 18, 900, True),
        ("NVIDIA A100-SXM4-80GB", "A100 SXM", 12, 300, False),
        ("NVIDIA A100 80GB PCIe", "A100 PCIe", 12, 300, False),
        ("NVIDIA A100-PCIE-40GB", "A100 PCIe", 12, 300, False),
        ("NVIDIA A40", "A40", 4, 56.25, False),
        ("Tesla V100-SXM2-32GB", "V100 SXM", 6, 150, False),
        ("Tesla P100-SXM2-16GB", "P100 SXM", 4, 80, False),
        ("NVIDIA L40S", None, 0, 0, False),
        ("NVIDIA Graphics Device", None, 0, 0, False),
        (None, None, 0, 0, False),
    ],
)
def test_models_by_nvmls_names(name, model, links, gbps, nvls):
    found = gpu_model(name)
    assert (found.name if found else None) == model
    assert found is None or (found.nvlink_gbps * links, found.nvls) == (gbps, nvls)


@pytest.mark.parametrize(
    ("gigatransfers", "width", "gbps"),
    [(2.5, 16, 4.0), (8, 16, 15.754), (16, 16, 31.508), (32, 16, 63.015), (32, 8, 31.508), (64, 16, 121.0)],
)
def test_pcie_links(gigatransfers, width, gbps):
    assert pcie_gbps(gigatransfers, width) == pytest.approx(gbps, abs=0.001)


def test_a_rate_that_pcie_does_not_have():
    assert pcie_gbps(7, 16) is None
