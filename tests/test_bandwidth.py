"""The bandwidths that nccl-tests prints for the same times."""

from __future__ import annotations

import pytest

from ncclprobe.bandwidth import algbw, busbw, busbw_factor
from ncclprobe.names import Collective
from ncclprobe.units import Bytes, Seconds


@pytest.mark.parametrize(
    ("collective", "nranks", "factor"),
    [
        (Collective.ALL_REDUCE, 8, 1.75),
        (Collective.ALL_REDUCE, 2, 1.0),
        (Collective.ALL_REDUCE, 1, 0.0),
        (Collective.ALL_GATHER, 8, 0.875),
        (Collective.REDUCE_SCATTER, 4, 0.75),
        (Collective.ALLTOALL, 16, 0.9375),
        (Collective.BROADCAST, 8, 1.0),
        (Collective.REDUCE, 8, 1.0),
        (Collective.SENDRECV, 8, 1.0),
    ],
)
def test_busbw_factor(collective: Collective, nranks: int, factor: float) -> None:
    assert busbw_factor(collective, nranks) == factor


def test_every_collective_has_a_factor() -> None:
    assert all(0 < busbw_factor(collective, 4) <= 2 for collective in Collective)


def test_bandwidths_are_decimal_gigabytes() -> None:
    assert algbw(Bytes(1_000_000_000), Seconds(0.5)) == 2.0
    assert busbw(Collective.ALL_REDUCE, Bytes(1 << 30), Seconds(5e-3), 8) == pytest.approx(375.81, abs=0.005)
