"""Which HCAs are nearest to a GPU, by their places in the PCIe tree; nvidia-smi isn't needed.

The classes are those of ``nvidia-smi topo -m``: PIX (one switch between them), PXB (several), PHB (through the CPU's
host bridge), NODE (between host bridges of a NUMA node) and SYS (between NUMA nodes), the nearest first.

Source: nvidia-smi 570, legend of ``topo -m``; NCCL 2.28.9, src/graph/topo.h (``PATH_PIX`` to ``PATH_SYS``).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import NamedTuple


class Distance(enum.IntEnum):
    """How far two PCIe devices are apart."""

    PIX = 1
    PXB = 2
    PHB = 3
    NODE = 4
    SYS = 5


class Place(NamedTuple):
    """Where a device is."""

    path: tuple[str, ...]
    """From the root: ``pci0000:15``, the bridges, the device."""
    numa_node: int | None


def distance(one: Place, other: Place) -> Distance:
    """Return how far two devices are apart; SYS where their places are unknown."""
    shared = _shared(one.path, other.path)
    if shared == 0:
        same_node = one.numa_node is not None and one.numa_node == other.numa_node
        return Distance.NODE if same_node else Distance.SYS
    # The first part is the host bridge and the second its root port: below a root port, peers meet without the CPU.
    if shared == 1:
        return Distance.PHB
    # Behind one switch each device has at most its own downstream port between itself and the shared upstream port.
    beyond = max(len(one.path), len(other.path)) - shared
    return Distance.PIX if beyond <= 2 else Distance.PXB


def nearest(gpu: Place, hcas: Mapping[str, Place]) -> tuple[str, ...]:
    """Return the names of the HCAs at the smallest distance, none where all are at SYS."""
    distances = {name: distance(gpu, place) for name, place in hcas.items()}
    least = min(distances.values(), default=Distance.SYS)
    return () if least is Distance.SYS else tuple(name for name in hcas if distances[name] is least)


def _shared(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """Return how many leading parts two paths share."""
    shared = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        shared += 1
    return shared
