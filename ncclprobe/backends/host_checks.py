"""What a rank measures of its host alone: memory and a core.

Letters of shapes: ``M`` the matrices' side, ``B`` bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from ncclprobe.backends.fleet import CHECK_BYTES, CHECK_S, COMPUTE_SIDE, OwnCheck


class HostChecks:
    """Buffers that live as long as the rank, so that no check pays for their first touch."""

    def __init__(self) -> None:
        self._from_B = np.ones(CHECK_BYTES, np.uint8)
        self._to_B = np.full(CHECK_BYTES, 2, np.uint8)
        self._left_MM = np.full((COMPUTE_SIDE, COMPUTE_SIDE), 0.5, np.float32)
        self._product_MM = np.zeros((COMPUTE_SIDE, COMPUTE_SIDE), np.float32)

    def run(self) -> tuple[OwnCheck, ...]:
        """Return the rates over a window each, interruptions counted: they slow collectives, too.

        A copy counts twice, read and written; a product of matrices counts 2·M³ operations.

        Source: McCalpin, STREAM (1995), "Copy"; Golub & Van Loan, Matrix Computations (2013), section 1.1
        """
        copies = _rate(lambda: np.copyto(self._to_B, self._from_B))
        products = _rate(lambda: np.matmul(self._left_MM, self._left_MM, out=self._product_MM))
        return (
            OwnCheck(check="host-memory", value=copies * 2 * CHECK_BYTES / 1e9, unit="GB/s"),
            OwnCheck(check="host-compute", value=products * 2 * COMPUTE_SIDE**3 / 1e9, unit="GFLOP/s"),
        )


def _rate(work: Callable[[], object]) -> float:
    """Return how often a second some work is done."""
    begin, done = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - begin) < CHECK_S:
        work()
        done += 1
    return done / elapsed
