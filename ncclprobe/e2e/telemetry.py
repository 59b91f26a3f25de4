"""From the samples of a trial to what its record keeps of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from ncclprobe.records.telemetry import (
    CpuTelemetry,
    GpuSample,
    GpuTelemetry,
    HostTelemetry,
    PortSample,
    PortTelemetry,
    Sample,
    Spread,
)

IDLE = "gpu-idle"
SLOWDOWNS = frozenset({"hw-slowdown", "sw-thermal-slowdown", "hw-thermal-slowdown", "hw-power-brake-slowdown"})
"""Reasons that are nobody's intention; a power limit, set clocks and idleness are. Source: NVML API reference 13.0,
nvmlClocksEventReasons."""
_Key = TypeVar("_Key")
_Item = TypeVar("_Item")


def is_visible(index: int, uuid: str | None, visible: str | None) -> bool:
    """Return whether a workload may use a GPU.

    Args:
        index: NVML's, taken for CUDA's: they agree where a machine's GPUs are alike, or CUDA counts by PCI bus.
        uuid: NVML's.
        visible: CUDA_VISIBLE_DEVICES; None where it is not set. What follows a number of no GPU (``-1``) is hidden.

    Source: CUDA C++ Programming Guide 13.0, CUDA environment variables (CUDA_VISIBLE_DEVICES)
    """
    if visible is None:
        return True
    names = [name.strip() for name in visible.split(",")]
    shown = itertools.takewhile(lambda name: name.isdecimal() or name.startswith(("GPU-", "MIG-")), names)
    return any(_names(name, index, uuid) for name in shown)


def _names(name: str, index: int, uuid: str | None) -> bool:
    """Return whether a word of CUDA_VISIBLE_DEVICES may be a GPU; a slice's name (MIG-…) does not say whose it is."""
    if name.isdecimal():
        return int(name) == index
    return name.startswith("MIG-") or (uuid or "").startswith(name)


def summarised(samples: Iterable[Sample]) -> tuple[HostTelemetry, ...]:
    """Return what is kept of a trial's samples, a record a host, in the order of names."""
    hosts = _grouped(samples, lambda sample: sample.host)
    return tuple(_host(name, sorted(hosts[name], key=lambda sample: sample.time)) for name in sorted(hosts))


def _host(name: str, samples: Sequence[Sample]) -> HostTelemetry:
    seconds = samples[-1].time - samples[0].time
    cpu = _cpu(samples, seconds)
    with_gpus, hot = any(sample.gpus for sample in samples), None if cpu is None else cpu.throttled_share
    return HostTelemetry(
        host=name,
        samples=len(samples),
        seconds=round(seconds, 3),
        cost_s=max(sample.cost_s for sample in samples),
        throttled=_throttled(samples) if with_gpus else hot,
        gpus=tuple(_gpus(samples)),
        ports=tuple(_ports(samples)),
        cpu=cpu,
        problems=tuple(dict.fromkeys(problem for sample in samples for problem in sample.problems)),
    )


def _throttled(samples: Sequence[Sample]) -> float | None:
    """Return the share of samples with a GPU slowed down among those with one that works; None where unknown."""
    known = [[gpu for gpu in sample.gpus or () if gpu.reasons is not None and is_busy(gpu)] for sample in samples]
    at_work = [gpus for gpus in known if gpus]
    if not at_work:
        unknown = not any(gpu.reasons is not None for sample in samples for gpu in sample.gpus or ())
        return None if unknown else 0.0
    slowed = sum(any(SLOWDOWNS.intersection(gpu.reasons or ()) for gpu in gpus) for gpus in at_work)
    return round(slowed / len(at_work), 4)


def is_busy(gpu: GpuSample) -> bool:
    """Return whether a GPU works: by its utilisation, and where that is unknown (slices) by what its clocks say."""
    if gpu.utilisation_percent is not None:
        return gpu.utilisation_percent > 0
    return IDLE not in (gpu.reasons or ())


def _gpus(samples: Sequence[Sample]) -> Iterator[GpuTelemetry]:
    by_index = _grouped((gpu for sample in samples for gpu in sample.gpus or ()), lambda gpu: gpu.index)
    for index in sorted(by_index):
        yield _gpu(by_index[index])


def _gpu(samples: Sequence[GpuSample]) -> GpuTelemetry:
    busy = [sample for sample in samples if is_busy(sample)]
    at_work = busy or samples
    return GpuTelemetry(
        index=samples[0].index,
        uuid=samples[0].uuid,
        samples=len(samples),
        busy=len(busy),
        utilisation_percent=spread(sample.utilisation_percent for sample in samples),
        memory_bytes=spread(sample.memory_bytes for sample in samples),
        power_w=spread(sample.power_w for sample in at_work),
        sm_mhz=spread(sample.sm_mhz for sample in at_work),
        memory_mhz=spread(sample.memory_mhz for sample in at_work),
        temperature_c=spread(sample.temperature_c for sample in samples),
        reasons=_shares([sample.reasons for sample in busy if sample.reasons is not None]),
        nvlink_tx_bytes=_risen(sample.nvlink_tx_bytes for sample in samples),
        nvlink_rx_bytes=_risen(sample.nvlink_rx_bytes for sample in samples),
        pcie_tx_bytes=_risen(sample.pcie_tx_bytes for sample in samples),
        pcie_rx_bytes=_risen(sample.pcie_rx_bytes for sample in samples),
    )


def spread(values: Iterable[float | None]) -> Spread | None:
    """Return mean and extremes of what is known, None where nothing is."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Spread(mean=round(sum(known) / len(known), 3), min=min(known), max=max(known))


def _shares(reasons: Sequence[tuple[str, ...]]) -> dict[str, float] | None:
    if not reasons:
        return None
    names = sorted({name for one in reasons for name in one})
    return {name: round(sum(name in one for one in reasons) / len(reasons), 4) for name in names}


def _risen(counts: Iterable[int | None]) -> int | None:
    """Return by how much a counter rose, None where it was not read twice or began anew."""
    known = [count for count in counts if count is not None]
    falls = any(later < earlier for earlier, later in itertools.pairwise(known))
    return None if len(known) < 2 or falls else known[-1] - known[0]


def _ports(samples: Sequence[Sample]) -> Iterator[PortTelemetry]:
    ports = _grouped((port for sample in samples for port in sample.ports or ()), lambda port: (port.hca, port.port))
    for (hca, number), found in ports.items():
        yield PortTelemetry(
            hca=hca,
            port=number,
            tx_bytes=_risen(port.tx_bytes for port in found),
            rx_bytes=_risen(port.rx_bytes for port in found),
            errors=_errors(found),
        )


def _errors(ports: Sequence[PortSample]) -> dict[str, int]:
    names = dict.fromkeys(name for port in ports for name in port.errors)
    rises = {name: _risen(port.errors.get(name) for port in ports) for name in names}
    return {name: rise for name, rise in rises.items() if rise}


def _cpu(samples: Sequence[Sample], seconds: float) -> CpuTelemetry | None:
    known = [sample.cpu for sample in samples if sample.cpu is not None]
    if not known:
        return None
    ticks, hot_ms = _risen(one.ticks for one in known), _risen(one.throttled_ms for one in known)
    busy = _risen(one.busy_ticks for one in known)
    return CpuTelemetry(
        load=spread(one.load for one in known),
        busy_share=round(busy / ticks, 4) if ticks and busy is not None else None,
        mhz=spread(one.mhz for one in known),
        throttled_share=None if hot_ms is None or seconds <= 0 else round(min(1.0, hot_ms / 1e3 / seconds), 4),
        throttle_events=_risen(one.throttle_events for one in known),
    )


def _grouped(items: Iterable[_Item], key: Callable[[_Item], _Key]) -> Mapping[_Key, list[_Item]]:
    found: dict[_Key, list[_Item]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found
