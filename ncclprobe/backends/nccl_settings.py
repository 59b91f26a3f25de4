"""What ranks of the ``nccl`` backend are told beyond the launch, and which variables they start with. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from ncclprobe.backends.base import GpuOptions
from ncclprobe.records.base import Record

GRAPH_BYTES = 32 << 20
"""Up to which ``--mode auto`` captures: beyond, an operation takes ten enqueues and more, so the host is out of it."""
NODES_VARIABLE = "NCCLPROBE_NODES"
"""How many nodes the ranks of a host are to look like to NCCL, for trials of what happens between nodes."""
SAFE = ("NCCL_NVLS_ENABLE", "TORCH_SYMM_MEM_DISABLE_MULTICAST", "NVSHMEM_DISABLE_NVLS")
"""What a site sets where NVLink multicast must stay off; passed on to ranks elsewhere like every NCCL variable."""
_TUNER = "NCCL_TUNER_PLUGIN"


class RankSettings(Record, frozen=True, kw_only=True):
    """The worker's second argument, as JSON."""

    timeout_s: float
    """Of a single sample."""
    plugin: str
    """The tuner plugin's path, the same on every host."""
    most_channels: int = 0
    """The largest number that a cell asks for, 0 where none does."""
    gpu: GpuOptions = GpuOptions()
    """How operations are run."""

    def text(self) -> str:
        """Return the argument."""
        return msgspec.json.encode(self).decode()

    def captures(self, size_bytes: int) -> bool:
        """Return whether operations of a size are captured."""
        return self.gpu.mode == "graph" or (self.gpu.mode == "auto" and size_bytes <= GRAPH_BYTES)


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the starting process that ranks on other hosts need as well."""
    return {
        name: value
        for name, value in environment.items()
        if name in SAFE or name == NODES_VARIABLE or (name.startswith("NCCL_") and name != _TUNER)
    }


def placement(rank: int, hosts: Sequence[str], gpus: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that tell NCCL which node a rank is on, empty where it is to see for itself.

    NCCL takes two ranks of a host on one GPU only for ranks of different nodes, and then talks between them through
    sockets: enough to try everything out, and no measure of anything.

    Args:
        rank: This one.
        hosts: Of each rank.
        gpus: PCI address of each rank's GPU.
        environment: Of this rank.

    Source: NCCL 2.28.9, src/misc/utils.cc (``getHostHash``: NCCL_HOSTID) and src/init.cc ("Duplicate GPU detected")
    """
    nodes = int(environment.get(NODES_VARIABLE, "0") or 0)
    if not nodes and not shared_gpus(hosts, gpus):
        return {}
    node = rank * nodes // len(hosts) if nodes else rank
    return {"NCCL_HOSTID": f"{hosts[rank]}-{node}", "NCCL_NET": "Socket", "NCCL_SOCKET_IFNAME": "lo"}


def shared_gpus(hosts: Sequence[str], gpus: Sequence[str]) -> bool:
    """Return whether ranks share a GPU."""
    return len(set(zip(hosts, gpus, strict=True))) < len(hosts)
