"""Which variables make ranks use one HCA or interface alone. Pure.

Source: NCCL 2.28.9, docs env.rst (NCCL_IB_HCA, NCCL_SOCKET_IFNAME, NCCL_NET: exact matches begin with ``=``); UCX 1.18,
``ucx_info -cf`` (UCX_NET_DEVICES); libfabric 2.1, fi_tcp(7) (FI_TCP_IFACE); rdma-core 57, kernel names of HCAs
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ncclprobe.errors import UsageError

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}(:[0-9]{1,3})?")
_HCA = re.compile(r"(mlx[45]_|mthca|bnxt_re|irdma|qedr|hns_|erdma_|efa_|hfi1_|roce|rdmap|ibp)")
"""How the names of HCAs begin; all others are network interfaces."""


def rail_variables(backend: str, rail: str) -> dict[str, str]:
    """Return what a rank's process is started with.

    Args:
        backend: ``nccl``, or ``mpi``: MPICH's and Open MPI's UCX, and MPICH's libfabric.
        rail: An HCA, with its port where it has several (``mlx5_0:1``), or an interface.
    """
    if _HCA.match(rail):
        device = rail if ":" in rail else f"{rail}:1"
        return {"NCCL_NET": "IB", "NCCL_IB_HCA": f"={rail}"} if backend == "nccl" else {"UCX_NET_DEVICES": device}
    if backend == "nccl":
        return {"NCCL_NET": "Socket", "NCCL_SOCKET_IFNAME": f"={rail}"}
    return {"UCX_NET_DEVICES": rail, "FI_TCP_IFACE": rail}


def parse_rails(text: str) -> tuple[str, ...]:
    """Return the rails that an option names.

    Raises:
        UsageError: One is no name of an HCA or interface, or comes twice.
    """
    rails = tuple(name.strip() for name in text.split(","))
    bad = [rail for rail in rails if not _NAME.fullmatch(rail)]
    if bad:
        raise UsageError(
            f"--rails {text!r}: {bad[0]!r} is no HCA or interface; write names such as mlx5_0,mlx5_1 or e0"
        )
    if len(set(rails)) < len(rails):
        raise UsageError(f"--rails {text!r} names one twice")
    return rails


def by_rail(rails: Sequence[str], rail: str | None) -> str | None:
    """Return the rail that a group is to be measured on: its own, or the only one there is."""
    return rail if rail is not None or not rails else rails[0]
