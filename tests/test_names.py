"""NCCL's numbers and the field's spellings.

The numbers are those of NCCL 2.28.9, src/include/nccl_tuner.h and nccl_common.h.
"""

from __future__ import annotations

import pytest

from ncclprobe.names import Algo, Collective, LinkLayer, PortState, Proto


@pytest.mark.parametrize(
    ("kind", "numbers"),
    [
        (
            Algo,
            {"Tree": 0, "Ring": 1, "CollNetDirect": 2, "CollNetChain": 3, "NVLS": 4, "NVLSTree": 5, "PAT": 6},
        ),
        (Proto, {"LL": 0, "LL128": 1, "Simple": 2}),
        (
            Collective,
            {"broadcast": 0, "reduce": 1, "all_gather": 2, "reduce_scatter": 3, "all_reduce": 4, "sendrecv": 5,
             "alltoall": 6},
        ),
    ],
)  # fmt: skip
def test_numbers_are_nccls(kind: type[Algo] | type[Proto] | type[Collective], numbers: dict[str, int]) -> None:
    assert {member.value: member.number for member in kind} == numbers


@pytest.mark.parametrize(
    ("kind", "text", "member"),
    [
        (Collective, "AllReduce", Collective.ALL_REDUCE),
        (Collective, "all_reduce", Collective.ALL_REDUCE),
        (Collective, "allreduce", Collective.ALL_REDUCE),
        (Collective, "all-gather", Collective.ALL_GATHER),
        (Collective, "AlltoAll", Collective.ALLTOALL),
        (Algo, "TREE", Algo.TREE),
        (Algo, "nvls_tree", Algo.NVLS_TREE),
        (Algo, "NVLSTree", Algo.NVLS_TREE),
        (Algo, "collnetdirect", Algo.COLLNET_DIRECT),
        (Algo, "default", None),
        (Algo, "", None),
        (Proto, "ll128", Proto.LL128),
        (Proto, "SIMPLE", Proto.SIMPLE),
        (Proto, "LL12", None),
        (LinkLayer, "infiniband", LinkLayer.INFINIBAND),
        (PortState, "active", PortState.ACTIVE),
        (PortState, "PORT_ACTIVE", None),
    ],
)
def test_parse(kind: type[Algo], text: str, member: Algo | None) -> None:
    assert kind.parse(text) is member


@pytest.mark.parametrize("kind", [Algo, Proto, Collective])
def test_table_spellings_are_read_back(kind: type[Algo] | type[Proto] | type[Collective]) -> None:
    assert all(kind.parse(member.csv) is member for member in kind)


def test_table_spellings() -> None:
    assert (Algo.NVLS_TREE.csv, Proto.LL128.csv, Collective.ALL_REDUCE.csv) == ("nvls_tree", "ll128", "allreduce")
