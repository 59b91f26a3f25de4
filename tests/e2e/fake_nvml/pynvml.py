"""Stands in for nvidia-ml-py where there is no GPU: two GPUs that work, and what goes wrong with them.

FAKE_NVML names what goes wrong: ``hang`` (a call that never returns, from GPU 1's fourth answer on), ``lost`` (GPU 1
falls off the bus at the fourth), ``hot`` (GPU 1 is slowed down by heat in every other sample), ``closed`` (NVML cannot
be opened), ``absent`` (no library), ``crash`` (the process ends); ``slice`` has what MIG leaves of the answers. While
the file that FAKE_NVML_HOT names is there, GPU 1 is slowed down by heat.
"""

from __future__ import annotations

import os
import pathlib
import time
from types import SimpleNamespace

MODE = os.environ.get("FAKE_NVML", "")
NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU, NVML_SUCCESS = 1, 2, 0, 0
GPUS = 2
_asked = [0] * GPUS


class NVMLError(Exception):
    pass


class NVMLError_LibraryNotFound(NVMLError):
    pass


class NVMLError_DriverNotLoaded(NVMLError):
    pass


class NVMLError_NotSupported(NVMLError):
    pass


class NVMLError_NoPermission(NVMLError):
    pass


class NVMLError_FunctionNotFound(NVMLError):
    pass


class NVMLError_InvalidArgument(NVMLError):
    pass


class NVMLError_GpuIsLost(NVMLError):
    def __str__(self) -> str:
        return "GPU is lost"


def nvmlInit() -> None:
    if MODE == "absent":
        raise NVMLError_LibraryNotFound("NVML Shared Library Not Found")
    if MODE == "closed":
        raise NVMLError("Driver/library version mismatch")


def nvmlDeviceGetCount() -> int:
    return GPUS


def nvmlDeviceGetHandleByIndex(index: int) -> int:
    return index


def nvmlDeviceGetUUID(gpu: int) -> str:
    return f"GPU-{gpu}{gpu}{gpu}"


def nvmlDeviceGetUtilizationRates(gpu: int) -> SimpleNamespace:
    if MODE == "slice":
        raise NVMLError_NotSupported
    return SimpleNamespace(gpu=90 + gpu, memory=10)


def nvmlDeviceGetMemoryInfo(gpu: int) -> SimpleNamespace:
    return SimpleNamespace(total=80 << 30, used=(gpu + 1) << 30)


def nvmlDeviceGetPowerUsage(gpu: int) -> int:
    _asked[gpu] += 1
    if gpu == 1 and _asked[gpu] >= 4:
        _go_wrong()
    return 500_000 + gpu


def _go_wrong() -> None:
    if MODE == "crash":
        os._exit(1)
    if MODE == "lost":
        raise NVMLError_GpuIsLost
    while MODE == "hang":
        time.sleep(60)


def nvmlDeviceGetClockInfo(gpu: int, clock: int) -> int:
    return {NVML_CLOCK_SM: 1980 - gpu, NVML_CLOCK_MEM: 3201}[clock]


def nvmlDeviceGetTemperature(gpu: int, _sensor: int) -> int:
    return 60 + gpu


def nvmlDeviceGetCurrentClocksThrottleReasons(gpu: int) -> int:
    warm = MODE == "hot" and _asked[gpu] % 2
    hot = gpu == 1 and (warm or pathlib.Path(os.environ.get("FAKE_NVML_HOT", "/nowhere")).exists())
    return 0x44 if hot else 0x4


def nvmlDeviceGetFieldValues(gpu: int, fields: list[tuple[int, int]]) -> list[SimpleNamespace]:
    return [_field(gpu, number, link) for number, link in fields]


def _field(gpu: int, number: int, link: int) -> SimpleNamespace:
    """Return a value that rises by 1000 with each sample; GPU 1 counts by link alone, and none has PCIe's."""
    known = {0: (138, 139), 1: (202, 204)}[gpu]
    status = 0 if number in known and (gpu == 0 or link < 2) else 3
    return SimpleNamespace(nvmlReturn=status, value=SimpleNamespace(ullVal=1000 * _asked[gpu] + number))
