"""What was sampled of a machine while a trial ran: raw samples, a line each, and what is kept of them in a document."""

from __future__ import annotations

from ncclprobe.records.base import Record


class GpuSample(Record, frozen=True, kw_only=True):
    """One GPU at one moment; None where NVML does not say."""

    index: int
    """NVML's."""
    uuid: str | None = None
    """Such as ``GPU-5a1f…``."""
    utilisation_percent: int | None = None
    """Share of the driver's last sampling period (1/6 to 1 s) in which a kernel ran."""
    memory_bytes: int | None = None
    """In use, by all processes."""
    power_w: float | None = None
    """Drawn."""
    sm_mhz: int | None = None
    """Clock of the multiprocessors."""
    memory_mhz: int | None = None
    """Clock of the memory."""
    temperature_c: int | None = None
    """Of the die."""
    reasons: tuple[str, ...] | None = None
    """Why the clocks are not higher: ``sw-power-cap``, ``hw-thermal-slowdown``; empty for nothing."""
    nvlink_tx_bytes: int | None = None
    """Counter: sent over all NVLinks."""
    nvlink_rx_bytes: int | None = None
    """Counter: received over all NVLinks."""
    pcie_tx_bytes: int | None = None
    """Counter: sent over PCIe."""
    pcie_rx_bytes: int | None = None
    """Counter: received over PCIe."""


class PortSample(Record, frozen=True, kw_only=True):
    """One port of an HCA at one moment; None where sysfs does not say."""

    hca: str
    """``mlx5_0``."""
    port: int
    """From 1."""
    tx_bytes: int | None
    """Counter: sent."""
    rx_bytes: int | None
    """Counter: received."""
    errors: dict[str, int] = {}
    """Counters by sysfs's names; looked at only as a trial begins and ends."""


class CpuSample(Record, frozen=True, kw_only=True):
    """The host's CPUs at one moment; None where the system does not say."""

    load: float | None
    """Runnable and blocked tasks, averaged over a minute."""
    busy_ticks: int | None
    """Counter: clock ticks of all CPUs that were not idle."""
    ticks: int | None
    """Counter: all clock ticks of all CPUs."""
    mhz: float | None
    """Mean clock of some CPUs."""
    throttled_ms: int | None = None
    """Counter: the CPU that was too hot for longest; looked at only as a trial begins and ends."""
    throttle_events: int | None = None
    """Counter: how often CPUs were too hot; looked at only as a trial begins and ends."""


class Sample(Record, frozen=True, kw_only=True):
    """All of one host at one moment: a line of ``telemetry.jsonl``."""

    host: str
    """Its name."""
    time: float
    """Unix time in seconds."""
    cost_s: float
    """CPU time that sampling has taken since the trial began."""
    gpus: tuple[GpuSample, ...] | None = None
    """None where nothing was read this time."""
    ports: tuple[PortSample, ...] | None = None
    """Likewise."""
    cpu: CpuSample | None = None
    """Likewise."""
    problems: tuple[str, ...] = ()
    """Why something could not be read."""


class Spread(Record, frozen=True, kw_only=True):
    """A quantity over the samples of a trial."""

    mean: float
    """Arithmetic."""
    min: float
    """The least."""
    max: float
    """The most."""


class GpuTelemetry(Record, frozen=True, kw_only=True):
    """One GPU over a trial; None where unknown."""

    index: int
    """NVML's."""
    uuid: str | None
    """Such as ``GPU-5a1f…``."""
    samples: int
    """In which it was read."""
    busy: int
    """Those of them in which it worked: the clocks, the power and the reasons are of these, if there are any."""
    utilisation_percent: Spread | None
    """Of all samples, as is the memory."""
    memory_bytes: Spread | None
    """In use, by all processes."""
    power_w: Spread | None
    """Drawn."""
    sm_mhz: Spread | None
    """Clock of the multiprocessors."""
    memory_mhz: Spread | None
    """Clock of the memory."""
    temperature_c: Spread | None
    """Of the die."""
    reasons: dict[str, float] | None
    """Share of the busy samples in which something held the clocks down, by what it was."""
    nvlink_tx_bytes: int | None
    """Sent over all NVLinks in the trial."""
    nvlink_rx_bytes: int | None
    """Received."""
    pcie_tx_bytes: int | None
    """Sent over PCIe."""
    pcie_rx_bytes: int | None
    """Received."""


class PortTelemetry(Record, frozen=True, kw_only=True):
    """One port of an HCA over a trial; None where unknown."""

    hca: str
    """``mlx5_0``."""
    port: int
    """From 1."""
    tx_bytes: int | None
    """Sent in the trial."""
    rx_bytes: int | None
    """Received."""
    errors: dict[str, int] = {}
    """By how much error counters rose, those that did."""


class CpuTelemetry(Record, frozen=True, kw_only=True):
    """A host's CPUs over a trial; None where unknown."""

    load: Spread | None
    """Runnable and blocked tasks, averaged over a minute."""
    busy_share: float | None
    """Of all CPUs' time."""
    mhz: Spread | None
    """Mean clock of some CPUs."""
    throttled_share: float | None
    """Of the time, for the CPU that was too hot for longest."""
    throttle_events: int | None
    """How often CPUs were too hot."""


class HostTelemetry(Record, frozen=True, kw_only=True):
    """One host over a trial."""

    host: str
    """Its name."""
    samples: int
    """How many."""
    seconds: float
    """From the first to the last."""
    cost_s: float
    """CPU time that sampling took."""
    throttled: float | None
    """Share of the time in which some GPU that worked was slowed down by heat, the board or the power supply (without
    GPUs: in which a CPU was too hot); the power limit, which is normal under load, does not count."""
    gpus: tuple[GpuTelemetry, ...] = ()
    """Those that the workload may use."""
    ports: tuple[PortTelemetry, ...] = ()
    """Of its HCAs."""
    cpu: CpuTelemetry | None = None
    """Of the host."""
    problems: tuple[str, ...] = ()
    """What could not be sampled, and why."""
