"""What was sampled while trials ran, for people: a line an arm of what matters of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from tabulate import tabulate

from ncclprobe.records.e2e import Arm, Trial, TrialStatus
from ncclprobe.records.telemetry import CpuTelemetry, GpuTelemetry, Spread

POWER_CAP = "sw-power-cap"


class Quantity(NamedTuple):
    """Something that is known of a trial, over all its GPUs or hosts."""

    name: str
    """What people read."""
    unit: str
    """After the number."""
    of: Callable[[Trial], Spread | None]
    """Mean, least and most in a trial; None where unknown."""
    shown: str = ".0f"
    """How a number is written."""


def _per_gpu(value: Callable[[GpuTelemetry], Spread | None]) -> Callable[[Trial], Spread | None]:
    return lambda trial: _together(value(gpu) for host in trial.telemetry for gpu in host.gpus)


def _per_cpu(value: Callable[[CpuTelemetry], Spread | None]) -> Callable[[Trial], Spread | None]:
    return lambda trial: _together(value(host.cpu) for host in trial.telemetry if host.cpu and not host.gpus)


def _together(spreads: Iterable[Spread | None]) -> Spread | None:
    known = [one for one in spreads if one is not None]
    if not known:
        return None
    mean = sum(one.mean for one in known) / len(known)
    return Spread(mean=mean, min=min(one.min for one in known), max=max(one.max for one in known))


def _times(spread: Spread | None, factor: float) -> Spread | None:
    if spread is None:
        return None
    return Spread(mean=spread.mean * factor, min=spread.min * factor, max=spread.max * factor)


def _just(value: float | None, factor: float = 1.0) -> Spread | None:
    return None if value is None else Spread(mean=value * factor, min=value * factor, max=value * factor)


def _capped(gpu: GpuTelemetry) -> Spread | None:
    return None if gpu.reasons is None else _just(gpu.reasons.get(POWER_CAP, 0.0), 100)


def _slowed(trial: Trial) -> Spread | None:
    """Return the share of the node that was slowed down the most."""
    known = [host.throttled for host in trial.telemetry if host.throttled is not None]
    return _just(max(known), 100) if known else None


def _sum(values: Iterable[int | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    return _just(sum(known), 1e-9) if known else None


def _nvlink(trial: Trial) -> Spread | None:
    return _sum(gpu.nvlink_tx_bytes for host in trial.telemetry for gpu in host.gpus)


def _hca(trial: Trial) -> Spread | None:
    return _sum(port.tx_bytes for host in trial.telemetry for port in host.ports)


QUANTITIES: tuple[Quantity, ...] = (
    Quantity("GPU busy", "%", _per_gpu(lambda gpu: gpu.utilisation_percent)),
    Quantity("power", "W", _per_gpu(lambda gpu: gpu.power_w)),
    Quantity("SM clock", "MHz", _per_gpu(lambda gpu: gpu.sm_mhz)),
    Quantity("GPU heat", "°C", _per_gpu(lambda gpu: gpu.temperature_c)),
    Quantity("memory", "GB", _per_gpu(lambda gpu: _times(gpu.memory_bytes, 1e-9)), ".1f"),
    Quantity("capped", "%", _per_gpu(_capped)),
    Quantity("CPU busy", "%", _per_cpu(lambda cpu: _just(cpu.busy_share, 100))),
    Quantity("load", "", _per_cpu(lambda cpu: cpu.load), ".1f"),
    Quantity("CPU clock", "MHz", _per_cpu(lambda cpu: cpu.mhz)),
    Quantity("throttled", "%", _slowed, ".1f"),
    Quantity("NVLink", "GB", _nvlink, ".1f"),
    Quantity("HCA", "GB", _hca, ".1f"),
)
"""In the order in which they are shown; of CPUs only where a host has no GPU. ``capped`` is the time at the power
limit."""
LEFT_OUT = ("GPU heat", "memory")
"""Of the table, which is to fit into 80 columns."""


def known_quantities(trials: Sequence[Trial]) -> list[Quantity]:
    """Return what is known of some trial."""
    return [quantity for quantity in QUANTITIES if any(quantity.of(trial) is not None for trial in trials)]


def telemetry_text(trials: Sequence[Trial]) -> str:
    """Return a table of what was sampled in the good trials, an arm a line; empty where nothing was."""
    good = [trial for trial in trials if trial.status is TrialStatus.OK]
    quantities = [quantity for quantity in known_quantities(good) if quantity.name not in LEFT_OUT]
    if not quantities:
        return ""
    arms = sorted(dict.fromkeys(trial.arm for trial in good), key=lambda arm: arm != Arm.BASELINE)
    rows = [[arm, *(_mean(one, [trial for trial in good if trial.arm == arm]) for one in quantities)] for arm in arms]
    columns = ["arm", *(one.name for one in quantities)]
    return f"While it ran, {_cost(good)}\n" + tabulate(rows, columns, tablefmt="simple", disable_numparse=True)


def _mean(quantity: Quantity, trials: Sequence[Trial]) -> str:
    known = [found.mean for trial in trials if (found := quantity.of(trial)) is not None]
    return written(quantity, sum(known) / len(known)) if known else "-"


def written(quantity: Quantity, value: float) -> str:
    """Return a number with its unit."""
    return f"{value:{quantity.shown}} {quantity.unit}".rstrip()


def _cost(trials: Sequence[Trial]) -> str:
    """Return how much was sampled and what that took."""
    hosts = [host for trial in trials for host in trial.telemetry]
    samples, seconds = sum(host.samples for host in hosts), sum(host.seconds for host in hosts)
    share = sum(host.cost_s for host in hosts) / seconds if seconds else 0.0
    return f"means of the trials ({samples} samples, which took {share:.2%} of a CPU)"
