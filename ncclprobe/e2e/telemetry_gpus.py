"""Sample GPUs through NVML.

Source: NVML API reference 13.0, field value enums (throughput in KiB, a link of UINT_MAX sums all of them) and
nvmlClocksEventReasons.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import pynvml

from ncclprobe.e2e.telemetry import IDLE, is_visible
from ncclprobe.records.telemetry import GpuSample

REASONS = {
    0x001: IDLE,
    0x002: "applications-clocks-setting",
    0x004: "sw-power-cap",
    0x008: "hw-slowdown",
    0x010: "sync-boost",
    0x020: "sw-thermal-slowdown",
    0x040: "hw-thermal-slowdown",
    0x080: "hw-power-brake-slowdown",
    0x100: "display-clock-setting",
    0x200: "board-limit",
    0x400: "reliability",
}
"""Bit -> NVML's name for it."""
ALL_LINKS = 0xFFFF_FFFF
LINKS = range(18)
NVLINK_TX, NVLINK_RX = "nvlink_tx_bytes", "nvlink_rx_bytes"
PCI = pathlib.Path("/sys/bus/pci/devices")
_Value = TypeVar("_Value")


class Counter(NamedTuple):
    """A counter that NVML has as one field, or as one for each link."""

    fields: tuple[tuple[int, int], ...]
    """Numbers of the field and the link."""
    unit: int
    """In bytes."""


COUNTERS: dict[str, tuple[Counter, ...]] = {
    NVLINK_TX: (Counter(((138, ALL_LINKS),), 1024), Counter(tuple((202, link) for link in LINKS), 1)),
    NVLINK_RX: (Counter(((139, ALL_LINKS),), 1024), Counter(tuple((204, link) for link in LINKS), 1)),
    "pcie_tx_bytes": (Counter(((197, 0),), 1),),
    "pcie_rx_bytes": (Counter(((198, 0),), 1),),
}
"""Field of a sample -> how it may be read, the first that a GPU knows counts: NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX
and _RX, NVML_FI_DEV_NVLINK_COUNT_XMIT_BYTES and _RCV_BYTES, NVML_FI_DEV_PCIE_COUNT_TX_BYTES and _RX_BYTES."""


class _Known(NamedTuple):
    handle: Any
    uuid: str | None
    counters: dict[str, Counter]


class Gpus:
    """The GPUs that a workload may use; NVML stays open, as opening it takes long."""

    def __init__(self) -> None:
        self._count: int | None = None
        self._absent = False
        self._known: dict[int, _Known] = {}

    def read(self, visible: str | None) -> tuple[tuple[GpuSample, ...] | None, tuple[str, ...]]:
        """Return the GPUs at this moment, and what could not be read; None without NVML.

        Args:
            visible: CUDA_VISIBLE_DEVICES; None where it is not set.
        """
        if self._absent:
            return None, ()
        try:
            count = self._opened_all()
        except pynvml.NVMLError as problem:
            self._absent = not _is_unexpected(problem)
            return None, () if self._absent else (f"NVML failed: {problem}",)
        found, problems = [], []
        for index in range(count):
            try:
                known = self._opened(index)
                if is_visible(index, known.uuid, visible):
                    found.append(_gpu(index, known))
            except pynvml.NVMLError as problem:
                problems.append(f"NVML cannot read GPU {index}: {problem}")
        return tuple(found), tuple(problems)

    def _opened_all(self) -> int:
        """Return how many GPUs there are, with NVML open; one that failed is opened anew."""
        if self._count is None:
            pynvml.nvmlInit()
            self._count = int(pynvml.nvmlDeviceGetCount())
        return self._count

    def _opened(self, index: int) -> _Known:
        if index not in self._known:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            uuid = _stated(pynvml.nvmlDeviceGetUUID, handle)
            text = uuid.decode() if isinstance(uuid, bytes) else uuid
            self._known[index] = _Known(handle, text, _known_counters(handle))
        return self._known[index]


def _gpu(index: int, known: _Known) -> GpuSample:
    handle = known.handle
    used = _stated(pynvml.nvmlDeviceGetUtilizationRates, handle)
    memory = _stated(pynvml.nvmlDeviceGetMemoryInfo, handle)
    power_mw = _stated(pynvml.nvmlDeviceGetPowerUsage, handle)
    return GpuSample(
        index=index,
        uuid=known.uuid,
        utilisation_percent=None if used is None else int(used.gpu),
        memory_bytes=None if memory is None else int(memory.used),
        power_w=None if power_mw is None else power_mw / 1e3,
        sm_mhz=_stated(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_SM),
        memory_mhz=_stated(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_MEM),
        temperature_c=_stated(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU),
        reasons=_reasons(_stated(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle)),
        **_counts(handle, known.counters),
    )


def _is_unexpected(problem: pynvml.NVMLError) -> bool:
    """Return whether NVML should have worked: not where a machine has neither a driver nor a GPU of NVIDIA's."""
    absent = isinstance(problem, pynvml.NVMLError_LibraryNotFound | pynvml.NVMLError_DriverNotLoaded)
    return not absent or any(_is_gpu(device) for device in PCI.glob("*"))


def _is_gpu(device: pathlib.Path) -> bool:
    """Return whether a PCI device is a display or 3D controller (class 0x03…) of NVIDIA's (vendor 0x10de)."""
    try:
        return (device / "vendor").read_text().strip() == "0x10de" and (device / "class").read_text().startswith("0x03")
    except OSError:
        return False


def _reasons(mask: int | None) -> tuple[str, ...] | None:
    return None if mask is None else tuple(name for bit, name in REASONS.items() if mask & bit)


def _known_counters(handle: Any) -> dict[str, Counter]:
    """Return how this GPU's counters are read, those that it has."""
    found = {}
    for name, ways in COUNTERS.items():
        known = next((way for way in ways if _count(way, _fields(handle, way.fields)) is not None), None)
        if known is not None:
            found[name] = known
    return found


def _counts(handle: Any, counters: dict[str, Counter]) -> dict[str, int | None]:
    """Return all counters of a GPU, asked for in one call."""
    values = _fields(handle, [field for counter in counters.values() for field in counter.fields])
    counts, at = {}, 0
    for name, counter in counters.items():
        counts[name] = _count(counter, values[at : at + len(counter.fields)])
        at += len(counter.fields)
    return counts


def _count(counter: Counter, values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) * counter.unit if known else None


def _fields(handle: Any, fields: Sequence[tuple[int, int]]) -> list[int | None]:
    """Return fields' values, None for those that a GPU or driver does not have."""
    answers = _stated(pynvml.nvmlDeviceGetFieldValues, handle, list(fields)) if fields else None
    if answers is None:
        return [None] * len(fields)
    return [int(answer.value.ullVal) if answer.nvmlReturn == pynvml.NVML_SUCCESS else None for answer in answers]


def _stated(question: Callable[..., _Value], *arguments: Any) -> _Value | None:
    """Return NVML's answer, None where this GPU or driver has none."""
    try:
        return question(*arguments)
    except (
        pynvml.NVMLError_NotSupported,
        pynvml.NVMLError_NoPermission,
        pynvml.NVMLError_FunctionNotFound,
        pynvml.NVMLError_InvalidArgument,
    ):
        return None
