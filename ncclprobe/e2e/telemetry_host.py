"""Sample a host's HCAs and CPUs from sysfs and /proc.

Source: Linux 6.8, Documentation/ABI/stable/sysfs-class-infiniband (data counters in words of 4 bytes),
Documentation/ABI/testing/sysfs-devices-system-cpu (cpufreq in kHz, thermal_throttle); proc_stat(5), proc_loadavg(5).
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Sequence

from ncclprobe.records.telemetry import CpuSample, PortSample

ROOT = pathlib.Path("/")
WORD_BYTES = 4
ERRORS = (
    "symbol_error", "link_error_recovery", "link_downed", "port_rcv_errors", "port_xmit_discards",
    "local_link_integrity_errors", "excessive_buffer_overrun_errors",
)  # fmt: skip
IDLE_TICKS = slice(3, 5)
"""``idle`` and ``iowait``."""
MOST_CLOCKS = 16
"""CPUs whose clock is read: the kernel may have to ask each of them."""


def read_ports(root: pathlib.Path = ROOT, *, thorough: bool) -> tuple[PortSample, ...]:
    """Return the HCAs' ports at this moment.

    Args:
        root: Where ``sys`` lies.
        thorough: Whether the error counters are read, too.
    """
    folders = sorted((root / "sys/class/infiniband").glob("*/ports/*"))
    return tuple(_port(folder, thorough=thorough) for folder in folders if folder.name.isdecimal())


def _port(folder: pathlib.Path, *, thorough: bool) -> PortSample:
    counters = folder / "counters"
    errors = {name: _number(counters / name) for name in ERRORS} if thorough else {}
    return PortSample(
        hca=folder.parents[1].name,
        port=int(folder.name),
        tx_bytes=_bytes(counters / "port_xmit_data"),
        rx_bytes=_bytes(counters / "port_rcv_data"),
        errors={name: count for name, count in errors.items() if count is not None},
    )


def _bytes(path: pathlib.Path) -> int | None:
    words = _number(path)
    return None if words is None else words * WORD_BYTES


class Cpus:
    """The host's CPUs; which of them there are is looked up once."""

    def __init__(self, root: pathlib.Path = ROOT) -> None:
        self._root = root
        folder = root / "sys/devices/system/cpu"
        self._clocks = _some(sorted(folder.glob("cpu[0-9]*/cpufreq/scaling_cur_freq")))
        self._throttles = sorted(folder.glob("cpu[0-9]*/thermal_throttle"))

    def read(self, *, thorough: bool) -> CpuSample:
        """Return the CPUs at this moment.

        Args:
            thorough: Whether the counters of heat are read, too.
        """
        ticks = list(_ticks(self._root / "proc/stat"))
        clocks = [clock for clock in map(_number, self._clocks) if clock is not None]
        hot = self._throttles if thorough else []
        times = [_number(folder / "core_throttle_total_time_ms") for folder in hot]
        events = [_number(folder / "core_throttle_count") for folder in hot]
        return CpuSample(
            load=_load(self._root / "proc/loadavg"),
            busy_ticks=sum(ticks) - sum(ticks[IDLE_TICKS]) if ticks else None,
            ticks=sum(ticks) if ticks else None,
            mhz=sum(clocks) / len(clocks) / 1e3 if clocks else None,
            throttled_ms=max((time for time in times if time is not None), default=None),
            throttle_events=sum(known) if (known := [count for count in events if count is not None]) else None,
        )


def _some(paths: Sequence[pathlib.Path]) -> Sequence[pathlib.Path]:
    """Return at most MOST_CLOCKS of them, evenly spread."""
    return paths[:: -(-len(paths) // MOST_CLOCKS) or 1]


def _ticks(path: pathlib.Path) -> Iterator[int]:
    """Yield the clock ticks of all CPUs by state; those of guests are in ``user`` and ``nice`` already."""
    for word in _text(path).partition("\n")[0].split()[1:9]:
        yield int(word)


def _load(path: pathlib.Path) -> float | None:
    words = _text(path).split()
    return float(words[0]) if words else None


def _number(path: pathlib.Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None


def _text(path: pathlib.Path) -> str:
    """Return a file's text, nothing where it cannot be read: sysfs has many that refuse."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
