"""What bounds the bus bandwidth of a collective: NVLink or PCIe within a host, HCAs between hosts.

Each bound counts what has to leave or reach a GPU or a host whatever the algorithm, so nothing healthy exceeds it.

Letters: ``n`` ranks, ``N`` hosts, ``g = n / N`` ranks of a host, ``B`` GB/s of a GPU's link, ``R`` of a host's rails.

Sources: nccl-tests 2.19.6, doc/PERFORMANCE.md (``2 (n - 1)`` transfers an element over ``n`` links);
docs/performance.md has the derivations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ncclprobe.hardware import Model, gpu_model
from ncclprobe.names import Collective
from ncclprobe.records.normal import Hardware, Limit

_SPREAD = (Collective.ALL_REDUCE, Collective.ALL_GATHER, Collective.REDUCE_SCATTER)
"""Each host sends ``(N - 1) / N`` of the data or, in all-reduce, twice that."""


class Ways(NamedTuple):
    """What NCCL's environment leaves open."""

    nvls: bool
    """NVLink SHARP."""
    collnet: bool
    """Reduction in the network."""
    hcas: bool
    """HCAs between hosts, rather than sockets."""
    p2p: bool
    """NVLink between GPUs, rather than host memory."""


class Group(NamedTuple):
    """A communicator, equally spread over hosts."""

    nranks: int
    nnodes: int

    @property
    def local(self) -> int:
        """Return the ranks of a host."""
        return self.nranks // self.nnodes


def ways(environment: Mapping[str, str]) -> Ways:
    """Return what is left open.

    Source: NCCL 2.28.9 user guide, Environment Variables.
    """
    return Ways(
        nvls=environment.get("NCCL_NVLS_ENABLE") != "0",
        collnet=environment.get("NCCL_COLLNET_ENABLE") == "1",
        hcas=environment.get("NCCL_IB_DISABLE", "0") == "0" and environment.get("NCCL_NET", "IB").upper() == "IB",
        p2p=environment.get("NCCL_P2P_DISABLE", "0") == "0",
    )


def reduces_in_switch(model: Model | None, nranks: int, open_ways: Ways) -> bool:
    """Return whether NVLink SHARP is to be expected.

    Source: NCCL 2.28.9, src/transport/nvls.cc (``ncclNvlsInit`` leaves it away for two GPUs).
    """
    return model is not None and model.nvls and open_ways.nvls and open_ways.p2p and nranks > 2


def limit_of(collective: Collective, group: Group, hardware: Hardware, open_ways: Ways) -> Limit | None:
    """Return the bus bandwidth that cannot be exceeded, None where too little is known.

    Args:
        collective: The operation.
        group: Two ranks or more.
        hardware: Of every host.
        open_ways: What the ranks' environment leaves open.
    """
    if group.local * group.nnodes != group.nranks or group.local > hardware.gpus:
        return None
    within = _within(collective, group, hardware, open_ways)
    if group.nnodes == 1:
        return within
    between = _between(collective, group, hardware, open_ways)
    if between is None or within is None:
        return between
    return min(within, between, key=lambda limit: limit.busbw_gbps)


def _within(collective: Collective, group: Group, hardware: Hardware, open_ways: Ways) -> Limit | None:
    """Return the bound of a GPU's own links; in a job of several hosts its share of the rails counts with them."""
    link = _link(hardware, open_ways)
    if link is None or group.local == 1:
        return None
    rate = link.busbw_gbps + (0.0 if group.nnodes == 1 else (hardware.rails_gbps or 0.0) / group.local)
    model = gpu_model(hardware.gpu) if hardware.nvlinks else None
    factor = _in_switch(group) if collective is Collective.ALL_REDUCE else 1.0
    if factor <= 1.0 or not reduces_in_switch(model, group.nranks, open_ways):
        return Limit(busbw_gbps=rate, basis=link.basis)
    return Limit(busbw_gbps=rate * factor, basis=f"{link.basis}, whose switches reduce")


def _in_switch(group: Group) -> float:
    """Return how much more than point to point an all-reduce may do where switches reduce.

    A GPU sends all of its data once, and its part of the result: ``(g + 1) / g`` rather than ``2 (n - 1) / n``.
    """
    return 2 * (group.nranks - 1) / group.nranks * group.local / (group.local + 1)


def _link(hardware: Hardware, open_ways: Ways) -> Limit | None:
    """Return a GPU's link to its peers."""
    model = gpu_model(hardware.gpu)
    if hardware.nvlinks and open_ways.p2p:
        if model is None:
            return None
        basis = f"{hardware.nvlinks} NVLinks of {model.nvlink_gbps:g} GB/s"
        return Limit(busbw_gbps=hardware.nvlinks * model.nvlink_gbps, basis=basis)
    if hardware.nvlinks is None or hardware.pcie_gbps is None:
        return None
    return Limit(busbw_gbps=hardware.pcie_gbps, basis=f"a PCIe link of {hardware.pcie_gbps:.3g} GB/s")


def _between(collective: Collective, group: Group, hardware: Hardware, open_ways: Ways) -> Limit | None:
    """Return the bound of a host's rails."""
    model = gpu_model(hardware.gpu)
    if hardware.rails_gbps is None or not open_ways.hcas or model is None or model.beyond_host:
        return None
    share = (group.nranks - 1) / group.nranks
    factor = 1.0
    if collective in _SPREAD:
        factor = share * group.nnodes / (group.nnodes - 1)
    elif collective is Collective.ALLTOALL:
        factor = share * group.nnodes / (group.nnodes - 1) / group.local
    if collective is Collective.ALL_REDUCE and open_ways.collnet:
        factor = 2 * share
    basis = f"{hardware.rails} rails of {hardware.rails_gbps:g} GB/s together"
    return Limit(busbw_gbps=hardware.rails_gbps * factor, basis=basis)
