"""Read this machine: HCAs through ibv_devinfo and sysfs, GPUs through NVML, affinity, limits and environment."""

from __future__ import annotations

import os
import pathlib
import platform
from collections.abc import Mapping, Sequence

from ncclprobe import processes
from ncclprobe.errors import LaunchError, MissingDependencyError, ParseError
from ncclprobe.findings import Finding, info, warning
from ncclprobe.records.scan import Gpu, Host
from ncclprobe.scan.affinity import Place, nearest
from ncclprobe.scan.gpus import read_gpus
from ncclprobe.scan.limits import read_facts
from ncclprobe.scan.parsers import read_captured
from ncclprobe.scan.parsers.merge import merge_hcas
from ncclprobe.scan.source import Source
from ncclprobe.scan.subjects import listed
from ncclprobe.scan.sysfs import ROOT, hca_device, numa_node, pci_device, pcie_path, read_hcas

IBV_DEVINFO = ("ibv_devinfo", "-v")


def collect(
    *,
    timeout_s: float = 15.0,
    root: pathlib.Path = ROOT,
    environment: Mapping[str, str] = os.environ,
    command: Sequence[str] = IBV_DEVINFO,
) -> Source:
    """Return this machine as one host, with findings on what could not be read.

    Args:
        timeout_s: After which ibv_devinfo is ended and sysfs alone is read, and NVML is waited for no longer.
        root: Where ``sys`` and ``proc`` lie; another one reads a copy of a machine's trees.
        environment: This process's variables.
        command: ibv_devinfo's tokens.
    """
    name = platform.node()
    seen, findings = _ibv_devinfo(name, command, timeout_s)
    opened = [hca for host in seen or () for hca in host.hcas]
    known = merge_hcas([*opened, *read_hcas(root)])
    hcas = known if seen is None else tuple(hca for hca in known if hca.name in {one.name for one in opened})
    closed = [hca.name for hca in known if hca not in hcas]
    gpus = read_gpus(name, root, timeout_s)
    devices = {hca.name: hca_device(root, hca.name) for hca in hcas}
    slots = {f"GPU{gpu.index}": pci_device(root, gpu.pci_bus_id) for gpu in gpus.gpus if gpu.pci_bus_id}
    host = Host(
        host=name,
        hcas=hcas,
        gpus=_with_nearest(gpus.gpus, slots, devices, root),
        facts=read_facts(devices | slots, gpus.driver, environment, root),
    )
    return Source(
        (host,), (*findings, *_inaccessible(name, closed), *gpus.findings, *_absent(host, gpus.findings, closed))
    )


def glanced(root: pathlib.Path = ROOT) -> Host:
    """Return this machine's HCAs and GPUs from sysfs and NVML alone, in a moment; what fails is left out."""
    name = platform.node()
    return Host(host=name, hcas=read_hcas(root), gpus=read_gpus(name, root).gpus)


def _ibv_devinfo(
    name: str, command: Sequence[str], timeout_s: float
) -> tuple[tuple[Host, ...] | None, tuple[Finding, ...]]:
    """Return what ibv_devinfo says, None where it is absent or fails, and a finding where it fails."""
    if processes.which(command[0]) is None:
        return None, ()
    try:
        ended = processes.run(command, timeout_s=timeout_s)
    except (MissingDependencyError, LaunchError) as problem:
        return None, (_failed(name, command, str(problem)),)
    if ended.timed_out:
        return None, (_failed(name, command, f"no end within {timeout_s:g} s; it was ended"),)
    if "no ib devices found" in ended.stderr.lower():
        return (), ()
    if ended.returncode < 0 or (ended.returncode != 0 and "hca_id" not in ended.stdout):
        return None, (_failed(name, command, ended.stderr.strip() or f"exit status {ended.returncode}"),)
    try:
        return tuple(read_captured(ended.stdout, " ".join(command))), ()
    except ParseError as problem:
        return None, (_failed(name, command, str(problem)),)


def _inaccessible(name: str, closed: Sequence[str]) -> tuple[Finding, ...]:
    """Return a finding on HCAs that sysfs shows and verbs cannot open, and so NCCL neither.

    Source: rdma-core 58, libibverbs/device.c: sysfs of a container shows all, its /dev/infiniband those it was given.
    """
    if not closed:
        return ()
    message = f"in /sys/class/infiniband, but ibv_devinfo cannot open {listed(closed)}, so NCCL cannot either"
    hint = "fine where a container was given some of the HCAs; else pass /dev/infiniband in, install its verbs library"
    return (warning("hca-inaccessible", name, message, hint),)


def _failed(name: str, command: Sequence[str], said: str) -> Finding:
    message = f"{' '.join(command)}: {said}; sysfs was read instead"
    hint = "run it by hand and look at dmesg: an HCA or its driver may hang, or a library for it be missing"
    return warning("ibv-devinfo-failed", name, message, hint)


def _with_nearest(
    gpus: Sequence[Gpu], slots: Mapping[str, pathlib.Path], devices: Mapping[str, pathlib.Path], root: pathlib.Path
) -> tuple[Gpu, ...]:
    hcas = {name: _place(root, folder) for name, folder in devices.items()}
    places = {name: _place(root, folder) for name, folder in slots.items()}
    nowhere = Place((), None)
    return tuple(gpu.with_(nearest_hcas=nearest(places.get(f"GPU{gpu.index}", nowhere), hcas)) for gpu in gpus)


def _place(root: pathlib.Path, folder: pathlib.Path) -> Place:
    return Place(pcie_path(root, folder), numa_node(folder))


def _absent(host: Host, failures: Sequence[Finding], closed: Sequence[str]) -> tuple[Finding, ...]:
    """Return findings on a machine without HCAs or GPUs: no fault, but good to know."""
    name = host.host or "node"
    found = []
    if not host.hcas and not closed:
        hint = (
            "fine for a single node or a network of sockets; else load the driver (mlx5_ib) or expose /dev/infiniband"
        )
        found.append(info("no-hca", name, "no HCA: /sys/class/infiniband is empty, ibv_devinfo shows none", hint))
    if not host.gpus and not failures:
        hint = "collectives are measured with the backend mpi here (ncclprobe sweep)"
        found.append(info("no-gpu", name, "no NVIDIA GPU: NVML finds neither driver nor device", hint))
    return tuple(found)
