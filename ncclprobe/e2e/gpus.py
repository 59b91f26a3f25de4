"""What is looked up of this machine's GPUs before a workload is run."""

from __future__ import annotations

import pynvml


def gpu_bytes() -> int | None:
    """Return the memory of this machine's smallest GPU, None where NVML shows none."""
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
