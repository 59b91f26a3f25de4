"""What the nodes' hardware allows, and what others measured on the same: beside a sweep's own bandwidths."""

from __future__ import annotations

import enum

from ncclprobe.records.base import Interval, Record


class Hardware(Record, frozen=True, kw_only=True):
    """What bounds collectives on a node; of several nodes, what is the same on all."""

    nodes: int
    """How many were looked at; all are alike."""
    gpu: str | None
    """NVML's name, ``NVIDIA H200``; None where it is unknown or a node has several kinds."""
    gpus: int
    """Of a node."""
    nvlinks: int | None
    """Active links of each GPU; None where that is unknown or differs."""
    pcie_gbps: float | None
    """A GPU's PCIe link in GB/s, one direction; None where that is unknown or differs."""
    rails: int
    """Ports of a node that NCCL's InfiniBand transport can use."""
    rails_gbps: float | None
    """All of them in GB/s, one direction, none above its PCIe link; None without rails, or where a rate is unknown."""


class Limit(Record, frozen=True, kw_only=True):
    """A bus bandwidth that no algorithm can exceed on this hardware."""

    busbw_gbps: float
    """In GB/s."""
    basis: str
    """What it follows from, for people: ``18 NVLinks of 25 GB/s``."""


class FigureKind(enum.StrEnum):
    """What a published figure is."""

    MEASURED = "measured"
    """Somebody's result."""
    THRESHOLD = "threshold"
    """An operator's health check fails nodes that do less."""


class Nvls(enum.StrEnum):
    """Whether the switches reduced (NVLink SHARP)."""

    ON = "on"
    OFF = "off"
    UNKNOWN = "unknown"


class PublishedFigure(Record, frozen=True, kw_only=True):
    """A row of the table of published bus bandwidths."""

    platform: str
    """``Azure ND H200 v5``."""
    kind: FigureKind
    """A result or a threshold."""
    gpu: str
    """A model of ``ncclprobe.hardware``: ``H100 SXM``."""
    gpus: int
    """In all."""
    nodes: int
    """Hosts."""
    network: str
    """Between them, as the source says; empty within one host."""
    collective: str
    """In ncclprobe's spelling."""
    dtype: str
    """``float32``."""
    size_bytes: int
    """nccl-tests' size."""
    busbw_gbps: float
    """In GB/s."""
    nvls: Nvls
    """Whether the switches reduced."""
    software: str
    """Versions, as far as the source states them."""
    source: str
    """Address."""
    published: str
    """Date, or empty where the source has none."""
    read: str
    """Date on which the figure was taken from the source."""


class SizeNormality(Record, frozen=True, kw_only=True):
    """The default's bus bandwidth at a size, and what stands beside it."""

    collective: str
    """In ncclprobe's spelling."""
    dtype: str
    """``float32``."""
    size_bytes: int
    """nccl-tests' size."""
    busbw_gbps: Interval
    """At the median time and at the ends of its interval."""
    share: float | None
    """Of the limit; None where no limit is known."""
    published: PublishedFigure | None
    """The lowest that sources tell of the same platform, at this size or the next below; None without any."""


class Normality(Record, frozen=True, kw_only=True):
    """What a sweep's bus bandwidths are to be compared with."""

    hardware: Hardware
    """What the nodes have."""
    limit: Limit | None
    """None where the hardware is not known well enough."""
    sizes: tuple[SizeNormality, ...]
    """Where the default was timed, ascending."""
