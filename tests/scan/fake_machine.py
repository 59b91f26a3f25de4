"""Write a machine's ``sys`` and ``proc`` trees under a folder: real files and links, as Linux 6.8 lays them out."""

from __future__ import annotations

import pathlib


def write(path: pathlib.Path, text: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


class Machine:
    """A tree that grows with every call."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root

    def pci(self, *path: str, numa: int = 0, **files: str) -> pathlib.Path:
        """Add a device below its bridges: ``pci("pci0000:15", "0000:15:01.0", "0000:16:00.0")``."""
        folder = self.root.joinpath("sys/devices", *path)
        write(folder / "numa_node", f"{numa}\n")
        for name, text in files.items():
            write(folder / name, text + "\n")
        link = self.root / "sys/bus/pci/devices" / path[-1]
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(folder)
        return folder

    def hca(self, name: str, device: pathlib.Path, *, node_type: str = "1: CA", **files: str) -> pathlib.Path:
        """Add an HCA on a PCI device."""
        folder = device / "infiniband" / name
        defaults = {"fw_ver": "28.39.3004", "board_id": "MT_0000000838", "node_guid": "946d:ae03:0001:1c00"}
        for file, text in (defaults | {"node_type": node_type} | files).items():
            write(folder / file, text + "\n")
        (folder / "device").symlink_to(device)
        link = self.root / "sys/class/infiniband" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(folder)
        return folder

    def port(self, hca: pathlib.Path, number: int = 1, **files: str) -> pathlib.Path:
        """Add a port, an ACTIVE InfiniBand one by default."""
        defaults = {
            "state": "4: ACTIVE",
            "phys_state": "5: LinkUp",
            "link_layer": "InfiniBand",
            "rate": "400 Gb/sec (4X NDR)",
            "lid": "0x65",
            "sm_lid": "0x1",
        }
        folder = hca / "ports" / str(number)
        for file, text in (defaults | files).items():
            write(folder / file, text + "\n")
        return folder

    def gid(self, port: pathlib.Path, index: int, gid: str, kind: str = "IB/RoCE v1", netdev: str = "") -> None:
        """Add an entry of the GID table."""
        write(port / "gids" / str(index), gid + "\n")
        write(port / "gid_attrs/types" / str(index), kind + "\n")
        if netdev:
            write(port / "gid_attrs/ndevs" / str(index), netdev + "\n")
