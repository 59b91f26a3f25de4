"""Algorithm and bus bandwidth of each collective.

Source: nccl-tests 2.19.6, doc/PERFORMANCE.md and src/*.cu (``*GetBw``).
"""

from __future__ import annotations

from ncclprobe.names import Collective
from ncclprobe.units import Bytes, GBps, Seconds


def algbw(size: Bytes, time: Seconds) -> GBps:
    """Return size over time, in GB/s (1e9 bytes)."""
    return GBps(size / time / 1e9)


def busbw_factor(collective: Collective, nranks: int) -> float:
    """Return what turns algbw into busbw: ``2 (n - 1) / n`` for all-reduce.

    Args:
        collective: The operation.
        nranks: Ranks in the communicator, 1 or more.
    """
    if collective is Collective.ALL_REDUCE:
        return 2 * (nranks - 1) / nranks
    if collective in (Collective.ALL_GATHER, Collective.REDUCE_SCATTER, Collective.ALLTOALL):
        return (nranks - 1) / nranks
    return 1.0


def busbw(collective: Collective, size: Bytes, time: Seconds, nranks: int) -> GBps:
    """Return the bandwidth that compares with the link's rate whatever the number of ranks, in GB/s.

    Args:
        collective: The operation.
        size: nccl-tests' size: of one rank's larger buffer.
        time: Of one operation.
        nranks: Ranks in the communicator, 1 or more.
    """
    return GBps(algbw(size, time) * busbw_factor(collective, nranks))
