"""What links carry: NVLink by GPU model, PCIe by generation and width.

GB/s in one direction, at the data rate; what protocols take of it is not deducted.

Sources: NVIDIA's datasheets of P100, V100, A100, A30, A40, H100, H200, GH200, B200 and GB200 (NVLink of both
directions, halved and divided by the links: 160/4, 300/6, 600/12, 200/4, 112.5/4, 900/18, 1800/18 GB/s); PCI Express
Base Specification 6.0, 4.2 (8b/10b, 128b/130b from 8 GT/s on, flits of 256 bytes with 14 of overhead at 64 GT/s).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ncclprobe.units import GBps


class Model(NamedTuple):
    """A kind of GPU."""

    name: str
    """Ours: ``H100 SXM``."""
    nvlink_gbps: GBps
    """Of one link."""
    nvls: bool = False
    """Whether it comes with switches that reduce (NVLink SHARP, from the third NVSwitch on)."""
    beyond_host: bool = False
    """Whether NVLink may join GPUs of several hosts."""


_LINK_1, _LINK_3, _LINK_5, _BRIDGE = GBps(20), GBps(25), GBps(50), GBps(14.0625)

MODELS: tuple[tuple[str, Model], ...] = (
    (r"GB300", Model("GB300", _LINK_5, nvls=True, beyond_host=True)),
    (r"GB200", Model("GB200", _LINK_5, nvls=True, beyond_host=True)),
    (r"GH200", Model("GH200", _LINK_3, nvls=True, beyond_host=True)),
    (r"B300", Model("B300", _LINK_5, nvls=True)),
    (r"B200", Model("B200", _LINK_5, nvls=True)),
    (r"H200 NVL", Model("H200 NVL", _LINK_3)),
    (r"H200", Model("H200", _LINK_3, nvls=True)),
    (r"H100 NVL", Model("H100 NVL", _LINK_3)),
    (r"H100 PCIe", Model("H100 PCIe", _LINK_3)),
    (r"H100 80GB HBM3", Model("H100 SXM", _LINK_3, nvls=True)),
    (r"H800 PCIe", Model("H800 PCIe", _LINK_3)),
    (r"H800", Model("H800", _LINK_3, nvls=True)),
    (r"H20", Model("H20", _LINK_3, nvls=True)),
    (r"A100-SXM\d", Model("A100 SXM", _LINK_3)),
    (r"A100[- ].*PCI[eE]", Model("A100 PCIe", _LINK_3)),
    (r"A800-SXM\d", Model("A800 SXM", _LINK_3)),
    (r"A800[- ].*PCI[eE]", Model("A800 PCIe", _LINK_3)),
    (r"A30", Model("A30", _LINK_3)),
    (r"A40", Model("A40", _BRIDGE)),
    (r"RTX A6000", Model("RTX A6000", _BRIDGE)),
    (r"V100-SXM\d", Model("V100 SXM", _LINK_3)),
    (r"P100-SXM\d", Model("P100 SXM", _LINK_1)),
)
"""What NVML's name holds -> the model; the first hit counts."""

_PCIE_LANE_GBPS = {
    2.5: 2.5 * 8 / 10 / 8,
    5.0: 5.0 * 8 / 10 / 8,
    8.0: 8.0 * 128 / 130 / 8,
    16.0: 16.0 * 128 / 130 / 8,
    32.0: 32.0 * 128 / 130 / 8,
    64.0: 64.0 * 242 / 256 / 8,
}
"""GT/s -> GB/s of a lane."""


def gpu_model(name: str | None) -> Model | None:
    """Return the model that NVML's name tells of, None for one that is not in the table."""
    if name is None:
        return None
    return next((model for pattern, model in MODELS if re.search(rf"\b{pattern}\b", name)), None)


def pcie_gbps(gigatransfers: float, width: int) -> GBps | None:
    """Return what a PCIe link carries in one direction, None for a rate that PCIe does not have.

    Args:
        gigatransfers: Of a lane: 2.5, 5, 8, 16, 32 or 64.
        width: Lanes.
    """
    lane = _PCIE_LANE_GBPS.get(gigatransfers)
    return GBps(lane * width) if lane else None
