"""Read what else NCCL depends on here: kernel, driver, locked memory, GPUDirect RDMA, IOMMU, ACS, PCIe links.

Source: NVIDIA GPUDirect RDMA documentation 12.9 (nvidia_peermem; DMA-BUF: Linux 5.12, open kernel modules 515);
PCI Express Base Specification 5.0, 7.7.8 (ACS extended capability); NCCL 2.28 user guide, Troubleshooting.
"""

from __future__ import annotations

import pathlib
import platform
import re
import resource
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ncclprobe.nodesets import natural_key
from ncclprobe.scan import facts
from ncclprobe.scan.sysfs import ROOT, pcie_path, read_text
from ncclprobe.store import relevant_environment

_DMABUF_KERNEL, _DMABUF_DRIVER = (5, 12), (515,)
_PEERMEM = ("nvidia_peermem", "nv_peer_mem")
_ACS_CAPABILITY = 0x000D
_ACS_REDIRECT = 0b1100
"""P2P Request Redirect and P2P Completion Redirect of the ACS control register."""


def read_facts(
    devices: Mapping[str, pathlib.Path],
    driver: str | None,
    environment: Mapping[str, str],
    root: pathlib.Path = ROOT,
) -> tuple[tuple[str, str], ...]:
    """Return what is known of this machine beyond HCAs and GPUs; what cannot be read is left out.

    Args:
        devices: Name -> PCI folder of the HCAs and GPUs.
        driver: NVIDIA's driver version, from NVML.
        environment: This process's variables.
        root: Where ``sys`` and ``proc`` lie.
    """
    kernel = read_text(root / "proc/sys/kernel/osrelease") or platform.release()
    version_text = read_text(root / "proc/driver/nvidia/version")
    driver = driver or _version_in(version_text)
    flavour = _flavour(version_text)
    known = {
        facts.KERNEL: kernel,
        facts.DRIVER: driver,
        facts.DRIVER_FLAVOUR: flavour,
        facts.MEMLOCK_KIB: memlock_kib(),
        facts.GPUDIRECT_RDMA: gpudirect(_modules(root), kernel, driver, flavour) if driver else None,
        facts.IOMMU: _iommu(devices.values()),
        facts.ACS: _acs(root, devices.values()),
        **{f"{facts.PCIE_WIDTH}{name}": _narrow(folder) for name, folder in devices.items()},
        **relevant_environment(dict(environment)),
    }
    return tuple((name, value) for name, value in known.items() if value is not None)


def memlock_kib() -> str:
    """Return this process's soft limit on locked memory in KiB, or ``unlimited``."""
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return "unlimited" if soft == resource.RLIM_INFINITY else str(soft // 1024)


def gpudirect(modules: Iterable[str], kernel: str, driver: str, flavour: str | None) -> str | None:
    """Return the ways in which an HCA can reach GPU memory, ``none``, or None where that cannot be told.

    Args:
        modules: Kernel modules that are loaded.
        kernel: ``6.8.0-60-generic``.
        driver: ``570.133.20``.
        flavour: ``open`` or ``proprietary``; None where it is not known.
    """
    recent = _version(kernel) >= _DMABUF_KERNEL and _version(driver) >= _DMABUF_DRIVER
    ways = [name for name in ("nvidia_peermem",) if set(modules) & set(_PEERMEM)]
    if recent and flavour == "open":
        ways.append("dma-buf")
    if not ways and recent and flavour is None:
        return None
    return ",".join(ways) or "none"


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])


def _version_in(text: str) -> str | None:
    match = re.search(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b", text)
    return match[1] if match else None


def _flavour(text: str) -> str | None:
    if not text:
        return None
    return "open" if "open kernel module" in text.lower() else "proprietary"


def _modules(root: pathlib.Path) -> set[str]:
    loaded = {line.split()[0] for line in read_text(root / "proc/modules").splitlines() if line}
    return loaded | {name for name in _PEERMEM if (root / "sys/module" / name).is_dir()}


# ---- PCIe


def _iommu(devices: Iterable[pathlib.Path]) -> str | None:
    """Return the kinds of the devices' IOMMU domains, ``off`` where they are in none, None without devices."""
    folders = list(devices)
    kinds = {kind for folder in folders if (kind := read_text(folder / "iommu_group/type"))}
    return ",".join(sorted(kinds)) or "off" if folders else None


def _narrow(device: pathlib.Path) -> str | None:
    """Return ``8 of 16`` where a device's link has fewer lanes than both its ends can have."""
    now, mine = read_text(device / "current_link_width"), read_text(device / "max_link_width")
    slot = read_text(device.resolve().parent / "max_link_width") or mine
    if not (now.isdigit() and mine.isdigit() and slot.isdigit()):
        return None
    could = min(int(mine), int(slot))
    return f"{now} of {could}" if 0 < int(now) < could else None


def _acs(root: pathlib.Path, devices: Iterable[pathlib.Path]) -> str | None:
    """Return ``3 of 12`` bridges above the devices that redirect; None where the registers cannot be read."""
    controls = [control for bridge in _bridges(root, devices) if (control := acs_control(_config(bridge))) is not None]
    if not controls:
        return None
    return f"{sum(bool(control & _ACS_REDIRECT) for control in controls)} of {len(controls)}"


def _bridges(root: pathlib.Path, devices: Iterable[pathlib.Path]) -> Iterator[pathlib.Path]:
    """Yield the folders of the bridges above some devices, each once."""
    paths = {path[:depth] for device in devices if (path := pcie_path(root, device)) for depth in range(2, len(path))}
    for path in sorted(paths, key=_by_name):
        yield root.joinpath("sys/devices", *path)


def _by_name(path: Sequence[str]) -> tuple[tuple[int, str], ...]:
    return natural_key(path[-1])


def _config(bridge: pathlib.Path) -> bytes:
    """Return a device's configuration space: 4096 bytes for root, 64 for others."""
    try:
        return (bridge / "config").read_bytes()
    except OSError:
        return b""


def acs_control(config: bytes) -> int | None:
    """Return the ACS control register in a configuration space, None where there is none to be read."""
    offset = 0x100
    for _ in range(48):  # more extended capabilities than fit would be a loop
        header = int.from_bytes(config[offset : offset + 4], "little") if offset + 8 <= len(config) else 0
        if header & 0xFFFF == _ACS_CAPABILITY:
            return int.from_bytes(config[offset + 6 : offset + 8], "little")
        offset = header >> 20
        if offset < 0x100:
            return None
    return None
