"""Read GPUs through NVML, in a process of its own: a driver that is stuck holds up whoever asks it, for ever.

``python -m ncclprobe.scan.gpus SUBJECT ROOT`` prints what was read as JSON.

Source: NVML API reference 12.9 (nvidia-ml-py is NVIDIA's binding to it).
"""

from __future__ import annotations

import ctypes
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import msgspec
import pynvml

from ncclprobe import processes
from ncclprobe.findings import Finding, warning
from ncclprobe.records.scan import Gpu
from ncclprobe.scan.sysfs import ROOT, numa_node, pci_device, pcie_rate, read_text

Value = TypeVar("Value")
ASK_S = 15.0
"""What NVML may take for all GPUs of a host."""


class Gpus(NamedTuple):
    """What NVML tells of a machine."""

    gpus: tuple[Gpu, ...]
    driver: str | None
    findings: tuple[Finding, ...]


def read_gpus(subject: str, root: pathlib.Path = ROOT, timeout_s: float = ASK_S) -> Gpus:
    """Return the machine's GPUs; where NVML fails, crashes or hangs, none and a finding.

    A machine without a driver has none.

    Args:
        subject: What findings call this machine.
        root: Where ``sys`` lies.
        timeout_s: After which NVML is waited for no longer.
    """
    if not _has_library():
        return asked_here(subject, root)  # it says so at once
    ended = processes.run([sys.executable, "-m", "ncclprobe.scan.gpus", subject, str(root)], timeout_s=timeout_s)
    try:
        return msgspec.json.decode(ended.stdout, type=Gpus)
    except msgspec.DecodeError:
        how = f"gave no answer within {timeout_s:g} s" if ended.timed_out else _end(ended)
        return Gpus((), None, (_unavailable(subject, f"NVML {how}"),))


def _has_library() -> bool:
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return False
    return True


def _end(ended: processes.Completed) -> str:
    said = ended.stderr.strip().splitlines() or [""]
    how = f"crashed with signal {-ended.returncode}" if ended.returncode < 0 else f"ended with {ended.returncode}"
    return f"{how} {said[-1]}".strip()


def asked_here(subject: str, root: pathlib.Path) -> Gpus:
    """Return the machine's GPUs as NVML says in this process; it may never return."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as problem:
        return Gpus((), None, _failed(subject, problem, root))
    try:
        driver = _stated(pynvml.nvmlSystemGetDriverVersion)
        indices = range(pynvml.nvmlDeviceGetCount())
        read = [_gpu_or_finding(index, subject, root) for index in indices]
    except pynvml.NVMLError as problem:
        return Gpus((), None, _failed(subject, problem, root))
    finally:
        pynvml.nvmlShutdown()
    gpus = tuple(gpu for gpu in read if isinstance(gpu, Gpu))
    return Gpus(gpus, driver, tuple(finding for finding in read if isinstance(finding, Finding)))


def _failed(subject: str, problem: pynvml.NVMLError, root: pathlib.Path) -> tuple[Finding, ...]:
    """Return a finding, but none where nothing speaks of an NVIDIA GPU."""
    absent = isinstance(problem, pynvml.NVMLError_LibraryNotFound | pynvml.NVMLError_DriverNotLoaded)
    if absent and not any(_nvidia_gpus(root)):
        return ()
    return (_unavailable(subject, f"NVML failed ({problem})"),)


def _unavailable(subject: str, what: str) -> Finding:
    hint = "check that nvidia-smi works here; in a container, that the driver's libraries are mounted"
    return warning("nvml-unavailable", subject, f"{what}, so nothing is known of the GPUs", hint)


def _nvidia_gpus(root: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yield the PCI devices that are display or 3D controllers of NVIDIA (vendor 0x10de, class 0x03….)."""
    for device in (root / "sys/bus/pci/devices").glob("*"):
        if read_text(device / "vendor") == "0x10de" and read_text(device / "class").startswith("0x03"):
            yield device


def _gpu_or_finding(index: int, subject: str, root: pathlib.Path) -> Gpu | Finding:
    try:
        return _gpu(index, pynvml.nvmlDeviceGetHandleByIndex(index), root)
    except pynvml.NVMLError as problem:
        message = f"NVML cannot read this GPU ({problem})"
        hint = "look for Xid messages in dmesg; drain the node if the GPU fell off the bus"
        return warning("gpu-unreadable", f"{subject}/GPU{index}", message, hint)


def _gpu(index: int, handle: Any, root: pathlib.Path) -> Gpu:
    bus_id = _stated(pynvml.nvmlDeviceGetPciInfo, handle)
    pci_bus_id = None if bus_id is None else normal_bus_id(_text(bus_id.busId))
    return Gpu(
        index=index,
        name=_optional_text(_stated(pynvml.nvmlDeviceGetName, handle)),
        uuid=_optional_text(_stated(pynvml.nvmlDeviceGetUUID, handle)),
        pci_bus_id=pci_bus_id,
        numa_node=_numa_node(handle, pci_bus_id, root),
        nvlinks=_nvlinks(handle),
        pcie_gbps=None if pci_bus_id is None else pcie_rate(pci_device(root, pci_bus_id)),
    )


def _numa_node(handle: Any, pci_bus_id: str | None, root: pathlib.Path) -> int | None:
    """Return sysfs's NUMA node, else the only one that NVML says is near (virtual machines have no node in sysfs)."""
    node = None if pci_bus_id is None else numa_node(pci_device(root, pci_bus_id))
    if node is not None:
        return node
    masks = _stated(pynvml.nvmlDeviceGetMemoryAffinity, handle, 1, pynvml.NVML_AFFINITY_SCOPE_NODE)
    return only_bit(int(masks[0])) if masks else None


def only_bit(mask: int) -> int | None:
    """Return the number of the bit in a mask that has just one."""
    return mask.bit_length() - 1 if mask.bit_count() == 1 else None


def normal_bus_id(text: str) -> str:
    """Return ``0000:1b:00.0``, as sysfs writes it, of NVML's ``00000000:1B:00.0``."""
    domain, _, rest = text.strip().lower().partition(":")
    return f"{int(domain, 16):04x}:{rest}"


def _nvlinks(handle: Any) -> int | None:
    """Return how many NVLinks are active; 0 where the GPU has none, None where NVML doesn't say."""
    states = [_link_state(handle, link) for link in range(pynvml.NVML_NVLINK_MAX_LINKS)]
    return None if all(state is None for state in states) else sum(bool(state) for state in states)


def _link_state(handle: Any, link: int) -> int | None:
    try:
        return int(pynvml.nvmlDeviceGetNvLinkState(handle, link))
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_InvalidArgument):
        return 0
    except pynvml.NVMLError:
        return None


def _stated(question: Callable[..., Value], *arguments: Any) -> Value | None:
    """Return NVML's answer, None where this GPU or driver has none."""
    try:
        return question(*arguments)
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_NoPermission, pynvml.NVMLError_FunctionNotFound):
        return None


def _optional_text(value: Any) -> str | None:
    return None if value is None else _text(value)


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(asked_here(sys.argv[1], pathlib.Path(sys.argv[2]))))
