"""What ``scan`` reads and says. Every value that the source does not state is None, never guessed."""

from __future__ import annotations

from ncclprobe.names import LinkLayer, PortState
from ncclprobe.records.base import Document, EnvVariable, Record


class Gid(Record, frozen=True, kw_only=True):
    """One entry of a port's GID table."""

    index: int | None = None
    """As ``NCCL_IB_GID_INDEX`` takes it."""
    gid: str
    """IPv6 notation, as printed."""
    type: str | None = None
    """``RoCE v1``, ``RoCE v2`` or ``IB``."""
    netdev: str | None = None
    """The network interface it belongs to."""


class Port(Record, frozen=True, kw_only=True):
    """One port of an HCA."""

    port: int
    """Counted from 1."""
    state: PortState | None = None
    """Logical state."""
    phys_state: str | None = None
    """Physical state as printed: ``LINK_UP``, ``Polling``."""
    link_layer: LinkLayer | None = None
    """As reported."""
    rate_gbps: float | None = None
    """Of the whole port in Gbit/s: width × lane speed where only those are given."""
    active_mtu: int | None = None
    """In bytes."""
    lid: int | None = None
    """As reported; 65535 while the port is in INIT."""
    sm_lid: int | None = None
    """LID of the subnet manager."""
    netdev: str | None = None
    """The port's network interface."""
    gids: tuple[Gid, ...] = ()
    """The GID table's entries that the source shows."""


class Hca(Record, frozen=True, kw_only=True):
    """One host channel adapter."""

    name: str
    """``mlx5_0``."""
    ports: tuple[Port, ...] = ()
    """In ascending order."""
    fw_version: str | None = None
    """Firmware."""
    board_id: str | None = None
    """PSID."""
    node_guid: str | None = None
    """As printed."""
    vendor_part_id: int | None = None
    """PCI device id as ibv_devinfo prints it: 4129."""
    pci_bus_id: str | None = None
    """``0000:1a:00.0``."""
    numa_node: int | None = None
    """None where unknown; never -1."""
    pcie_gbps: float | None = None
    """Its PCIe link in GB/s, one direction; None where the source doesn't show it."""
    transport: str | None = None
    """As reported (``InfiniBand`` on RoCE, too); Omni-Path and EFA say otherwise."""
    bond: bool = False
    """Whether it bonds several ports (a name or a network interface that says so)."""


class Gpu(Record, frozen=True, kw_only=True):
    """One GPU."""

    index: int
    """NVML's and nvidia-smi's."""
    name: str | None = None
    """``NVIDIA H200``."""
    uuid: str | None = None
    """``GPU-…``."""
    pci_bus_id: str | None = None
    """``0000:1b:00.0``."""
    numa_node: int | None = None
    """None where unknown."""
    nvlinks: int | None = None
    """Links of this GPU in total; None where the source does not show them."""
    pcie_gbps: float | None = None
    """Its PCIe link in GB/s, one direction, at the highest rate it can have; None where the source doesn't show it."""
    nearest_hcas: tuple[str, ...] = ()
    """Names of the HCAs at the smallest distance, PIX or PXB before PHB and NODE; empty where only SYS."""


class Host(Record, frozen=True, kw_only=True):
    """One node as the sources describe it."""

    host: str | None
    """Its name, None where no source says."""
    hcas: tuple[Hca, ...] = ()
    """In natural order of names."""
    gpus: tuple[Gpu, ...] = ()
    """In order of index."""
    facts: tuple[tuple[str, str], ...] = ()
    """Other things found: ``memlock_kib``, ``gpudirect_rdma``, ``driver``, ``kernel``, NCCL's environment."""


class ScanDocument(Document, frozen=True, kw_only=True):
    """``ncclprobe.scan/1``."""

    schema: str = "ncclprobe.scan/1"
    hosts: tuple[Host, ...] = ()
    """One a node."""
    env: tuple[EnvVariable, ...] = ()
    """The variables that there are grounds for, each once."""
