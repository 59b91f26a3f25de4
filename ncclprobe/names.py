"""The field's names: NCCL's C index, its spelling in logs, and in tuner tables.

Nothing else in ncclprobe spells a collective, an algorithm or a protocol.

Source: NCCL 2.28.9, src/include/nccl_tuner.h (indices, ``NCCL_NUM_ALGORITHMS``) and src/init.cc, src/enqueue.cc
(``ncclAlgoToString``, ``ncclProtoToString``, ``ncclFuncToString``).
"""

from __future__ import annotations

import enum
import re
from typing import Self


class _Named(enum.StrEnum):
    """A name whose value is the spelling in ncclprobe's documents; ``number`` is NCCL's own number."""

    @property
    def number(self) -> int:
        """Return NCCL's number for this name."""
        return list(type(self)).index(self)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the member that ``text`` spells in any of the field's ways, None where it spells none."""
        key = _letters(text)
        return next((member for member in cls if key in (_letters(member.value), _letters(member.name))), None)


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


class Collective(_Named):
    """A collective operation, spelled as NVIDIA's example tuner table does; the order is ``ncclFunc_t``'s."""

    BROADCAST = "broadcast"
    REDUCE = "reduce"
    ALL_GATHER = "all_gather"
    REDUCE_SCATTER = "reduce_scatter"
    ALL_REDUCE = "all_reduce"
    SENDRECV = "sendrecv"
    ALLTOALL = "alltoall"

    @property
    def csv(self) -> str:
        """Return the spelling in tuner tables: ``allreduce``."""
        return self.value.replace("_", "")


class Algo(_Named):
    """An NCCL algorithm; the order is NCCL's index."""

    TREE = "Tree"
    RING = "Ring"
    COLLNET_DIRECT = "CollNetDirect"
    COLLNET_CHAIN = "CollNetChain"
    NVLS = "NVLS"
    NVLS_TREE = "NVLSTree"
    PAT = "PAT"

    @property
    def csv(self) -> str:
        """Return the spelling in tuner tables: ``nvls_tree``."""
        return self.name.lower()


class Proto(_Named):
    """An NCCL protocol; the order is NCCL's index."""

    LL = "LL"
    LL128 = "LL128"
    SIMPLE = "Simple"

    @property
    def csv(self) -> str:
        """Return the spelling in tuner tables: ``ll128``."""
        return self.name.lower()


class Dtype(_Named):
    """A type of elements; the order is ``ncclDataType_t``'s."""

    INT8 = "int8"
    UINT8 = "uint8"
    INT32 = "int32"
    UINT32 = "uint32"
    INT64 = "int64"
    UINT64 = "uint64"
    FLOAT16 = "float16"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    BFLOAT16 = "bfloat16"
    FLOAT8E4M3 = "float8e4m3"
    FLOAT8E5M2 = "float8e5m2"

    @property
    def item_bytes(self) -> int:
        """Return the bytes of an element."""
        return int("".join(re.findall(r"\d+", self.value)[:1])) // 8


class LinkLayer(_Named):
    """A port's link layer, as ibv_devinfo prints it."""

    INFINIBAND = "InfiniBand"
    ETHERNET = "Ethernet"
    UNSPECIFIED = "Unspecified"


class PortState(_Named):
    """A port's logical state, without ibv_devinfo's ``PORT_`` and number."""

    DOWN = "DOWN"
    INIT = "INIT"
    ARMED = "ARMED"
    ACTIVE = "ACTIVE"


DEFAULT = "default"
"""The ``algo`` and ``proto`` of a cell in which the library chooses for itself."""

LIBRARY_PREFIXES = ("NCCL_", "MPIR_", "MPICH_", "OMPI_", "I_MPI_", "MV2_", "UCX_", "FI_")
"""Of the variables that NCCL, MPI libraries and their transports read."""
MORE_CHANNELS = "NCCL_MIN_NCHANNELS"
"""What a job sets beside a table that asks for more channels than NCCL's communicators have of themselves."""
OF_ONE_RANK = frozenset({"NCCL_HOSTID", "NCCL_DEBUG_FILE", "NCCL_TOPO_DUMP_FILE", "NCCL_GRAPH_DUMP_FILE"})
"""Variables that name a node, or a file for each rank to write: they may differ."""
