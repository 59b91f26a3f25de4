"""What a rank measures of its GPU alone: its memory and its matrix units."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import cupy

from ncclprobe.backends.fleet import CHECK_S, OwnCheck
from ncclprobe.backends.nccl_device import Gpu

COPY_BYTES = 256 << 20
"""Copied within the GPU's memory at a time: several times its second-level cache."""
SIDE = 4096
"""Of the half-precision matrices that are multiplied."""
_DEVICE_TO_DEVICE = 3
"""``cudaMemcpyDeviceToDevice``."""


class GpuChecks:
    """Buffers that live as long as the rank."""

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._bytes = min(COPY_BYTES, gpu.free_bytes() // 8)
        self._from, self._to = gpu.allocate(self._bytes), gpu.allocate(self._bytes)
        self._product = self._prepared()

    def run(self) -> tuple[OwnCheck, ...]:
        """Return the rates over a window each, as the GPU's own clock has them.

        A copy counts twice, read and written; a product of matrices counts 2·side³ operations.
        """
        copies = self._rate(self._copy) * 2 * self._bytes / 1e9
        found = (OwnCheck(check="gpu-memory", value=copies, unit="GB/s"),)
        if self._product is None:
            return found
        products = self._rate(self._product) * 2 * SIDE**3 / 1e12
        return (*found, OwnCheck(check="gpu-compute", value=products, unit="TFLOP/s"))

    def _copy(self) -> None:
        stream = int(self._gpu.stream.ptr)
        cupy.cuda.runtime.memcpyAsync(self._to, self._from, self._bytes, _DEVICE_TO_DEVICE, stream)

    def _prepared(self) -> Callable[[], object] | None:
        """Return what multiplies two matrices, None where cuBLAS is not installed."""
        try:
            with self._gpu.translated("preparing a product of matrices"), self._gpu.stream:
                left, result = cupy.zeros((SIDE, SIDE), "float16"), cupy.zeros((SIDE, SIDE), "float16")
                cupy.matmul(left, left, out=result)
        except (ImportError, OSError):
            return None
        return partial(self._multiply, left, result)

    def _multiply(self, left: cupy.ndarray, result: cupy.ndarray) -> None:
        with self._gpu.stream:
            cupy.matmul(left, left, out=result)

    def _rate(self, work: Callable[[], object]) -> float:
        """Return how often a second some work is done."""
        once = self._gpu.seconds(lambda _: work(), 1)
        times = max(1, math.ceil(CHECK_S / max(once, 1e-6)))
        return times / self._gpu.seconds(lambda _: work(), times)
