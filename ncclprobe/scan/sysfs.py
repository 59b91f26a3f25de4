"""Read HCAs and the PCIe tree from sysfs, where the kernel shows them without any tool.

Source: Linux 6.8, Documentation/ABI/stable/sysfs-class-infiniband, Documentation/ABI/testing/sysfs-bus-pci; rdma-core
50, libibverbs/device.c (``node_type`` -> transport).
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterator

from ncclprobe.hardware import pcie_gbps
from ncclprobe.names import LinkLayer
from ncclprobe.nodesets import natural_key
from ncclprobe.records.scan import Gid, Hca, Port
from ncclprobe.scan.parsers import values

ROOT = pathlib.Path("/")

_TRANSPORTS = {"1": "InfiniBand", "4": "iWARP", "5": "usNIC", "6": "usNIC UDP", "7": "unspecified"}
"""``node_type``'s number -> what ibv_devinfo prints as transport."""


def read_hcas(root: pathlib.Path = ROOT) -> tuple[Hca, ...]:
    """Return the HCAs that sysfs shows, in natural order of names.

    Args:
        root: Where ``sys`` lies; another one reads a copy of a machine's tree.
    """
    return tuple(_hca(root, folder) for folder in _entries(root / "sys/class/infiniband"))


def read_text(path: pathlib.Path) -> str:
    """Return a file's stripped text, nothing where it cannot be read: sysfs has many that refuse."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def pcie_path(root: pathlib.Path, device: pathlib.Path) -> tuple[str, ...]:
    """Return the bridges above a PCI device and itself, from the root: ``pci0000:15``, ``0000:15:01.0``, ….

    Args:
        root: Where ``sys`` lies.
        device: The device's folder, or a link to it.

    Returns:
        Nothing for a device that isn't there.
    """
    real = device.resolve()
    base = (root / "sys/devices").resolve()
    return real.relative_to(base).parts if real.exists() and real.is_relative_to(base) else ()


def pci_device(root: pathlib.Path, pci_bus_id: str) -> pathlib.Path:
    """Return a PCI device's folder."""
    return root / "sys/bus/pci/devices" / pci_bus_id


def numa_node(device: pathlib.Path) -> int | None:
    """Return a device's NUMA node, None where the firmware names none (-1)."""
    number = read_text(device / "numa_node")
    return int(number) if number.isdigit() else None


def pcie_rate(device: pathlib.Path) -> float | None:
    """Return what a device's PCIe link carries in GB/s, one direction, None where sysfs does not say.

    The lanes are those in use; the rate is the highest that the device has, as idle ones lower theirs.
    """
    speed = re.match(r"[\d.]+(?= GT/s)", read_text(device / "max_link_speed"))
    width = read_text(device / "current_link_width")
    return pcie_gbps(float(speed[0]), int(width)) if speed and width.isdigit() and int(width) else None


def hca_device(root: pathlib.Path, name: str) -> pathlib.Path:
    """Return the folder of an HCA's PCI device."""
    return root / "sys/class/infiniband" / name / "device"


def _entries(folder: pathlib.Path) -> list[pathlib.Path]:
    try:
        return sorted(folder.iterdir(), key=lambda path: natural_key(path.name))
    except OSError:
        return []


def _hca(root: pathlib.Path, folder: pathlib.Path) -> Hca:
    device = folder / "device"
    path = pcie_path(root, device)
    ports = tuple(_port(folder / "ports" / entry.name, device) for entry in _entries(folder / "ports"))
    return Hca(
        name=folder.name,
        ports=ports,
        fw_version=read_text(folder / "fw_ver") or None,
        board_id=read_text(folder / "board_id") or None,
        node_guid=read_text(folder / "node_guid") or None,
        vendor_part_id=values.integer(read_text(device / "device")),
        pci_bus_id=path[-1] if path and re.fullmatch(r"[0-9a-f]{4,}:[0-9a-f:.]+", path[-1]) else None,
        numa_node=numa_node(device),
        pcie_gbps=pcie_rate(device),
        transport=_TRANSPORTS.get(read_text(folder / "node_type").partition(":")[0]),
        bond=values.is_bond(folder.name) or any(_is_bond(root, port.netdev) for port in ports),
    )


def _is_bond(root: pathlib.Path, netdev: str | None) -> bool:
    return bool(netdev) and (root / "sys/class/net" / str(netdev) / "bonding").is_dir()


def _port(folder: pathlib.Path, device: pathlib.Path) -> Port:
    layer = values.link_layer(read_text(folder / "link_layer"))
    gids = tuple(_gids(folder, layer))
    return Port(
        port=int(folder.name),
        state=values.state(read_text(folder / "state")),
        phys_state=values.word(read_text(folder / "phys_state")),
        link_layer=layer,
        rate_gbps=values.gbps(read_text(folder / "rate")),
        lid=values.integer(read_text(folder / "lid")),
        sm_lid=values.integer(read_text(folder / "sm_lid")),
        netdev=next((gid.netdev for gid in gids if gid.netdev), None) or _netdev(device, int(folder.name)),
        gids=gids,
    )


def _gids(folder: pathlib.Path, layer: LinkLayer | None) -> Iterator[Gid]:
    """Yield the GID table's entries that are in use."""
    for entry in _entries(folder / "gids"):
        gid = read_text(entry)
        if gid and _in_use(gid):
            yield Gid(
                index=int(entry.name),
                gid=gid,
                type=_gid_type(read_text(folder / "gid_attrs/types" / entry.name), layer),
                netdev=read_text(folder / "gid_attrs/ndevs" / entry.name) or None,
            )


def _in_use(gid: str) -> bool:
    """Return whether an entry is more than zeros behind the prefix that every empty one has."""
    address = values.address(gid)
    return address is not None and int(address) & (2**64 - 1) != 0


def _gid_type(text: str, layer: LinkLayer | None) -> str | None:
    """Return ``IB`` on an InfiniBand port, where the kernel says ``IB/RoCE v1``."""
    return "IB" if layer is LinkLayer.INFINIBAND else values.gid_type(text)


def _netdev(device: pathlib.Path, port: int) -> str | None:
    """Return the device's network interface of a port (IPoIB's, where there is one)."""
    for entry in _entries(device / "net"):
        if values.integer(read_text(entry / "dev_port")) == port - 1:
            return entry.name
    return None
