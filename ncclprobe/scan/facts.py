"""The names of what a scan knows of a host beyond HCAs and GPUs.

Variables of the environment stand among the facts under their own names, in capitals.
"""

from __future__ import annotations

from collections.abc import Iterator

from ncclprobe.records.scan import Host

KERNEL = "kernel"
"""``6.8.0-60-generic``."""
DRIVER = "driver"
"""NVIDIA's, ``570.133.20``."""
DRIVER_FLAVOUR = "driver_flavour"
"""``open`` or ``proprietary`` kernel modules."""
GPUDIRECT_RDMA = "gpudirect_rdma"
"""``nvidia_peermem``, ``dma-buf``, both with a comma, or ``none``."""
MEMLOCK_KIB = "memlock_kib"
"""This process's limit on locked memory: KiB, or ``unlimited``."""
IOMMU = "iommu"
"""The IOMMU domains of GPUs and HCAs: ``off``, ``identity``, ``DMA``, ``DMA-FQ``, several with a comma."""
ACS = "acs_redirecting_bridges"
"""``3 of 12``: PCIe bridges above GPUs and HCAs whose ACS sends peer traffic up to the root."""
PCIE_WIDTH = "pcie_width:"
"""With a device behind it, where the link has fewer lanes than both ends allow: ``8 of 16``."""
UNNAMED_PORTS = "unnamed_ports"
"""In words, ports of a captured text that doesn't name their device."""

COLLECTED = frozenset(
    {"ibv-devinfo-failed", "hca-inaccessible", "nvml-unavailable", "gpu-unreadable", "no-hca", "no-gpu"}
)
"""Codes of findings that tell how reading a machine went; all others can be found again from its record."""


def fact(host: Host, name: str) -> str | None:
    """Return a fact of a host, None where it is not known."""
    return dict(host.facts).get(name)


def environment(host: Host) -> dict[str, str]:
    """Return the variables that were seen."""
    return {name: value for name, value in host.facts if name.isupper() and name[0].isalpha()}


def narrow_links(host: Host) -> Iterator[tuple[str, str]]:
    """Yield devices whose PCIe link is narrower than it could be, with ``8 of 16``."""
    for name, value in host.facts:
        if name.startswith(PCIE_WIDTH):
            yield name.removeprefix(PCIE_WIDTH), value
