"""What is looked up of this machine's GPUs before a workload is run."""

from __future__ import annotations

import sys

import pynvml

from ncclprobe import processes

ASK_S = 15.0
"""What NVML may take; a driver that is stuck never answers."""


def gpu_bytes() -> int | None:
    """Return the memory of this machine's smallest GPU, None where NVML shows none, crashes or hangs."""
    said = processes.run([sys.executable, "-m", "ncclprobe.e2e.gpus"], timeout_s=ASK_S).stdout.strip()
    return int(said) if said.isdecimal() else None


def _asked() -> int | None:
    """Return it as NVML says; it may never return."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        handles = (pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount()))
        return min((int(pynvml.nvmlDeviceGetMemoryInfo(handle).total) for handle in handles), default=None)
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


if __name__ == "__main__":
    sys.stdout.write(f"{_asked() or ''}\n")
