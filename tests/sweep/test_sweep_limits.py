"""What bounds bus bandwidth, against figures that follow by hand and figures that were measured."""

from __future__ import annotations

import pytest

from ncclprobe.names import Collective
from ncclprobe.records.normal import Hardware, Nvls, PublishedFigure
from ncclprobe.sweep.limits import Group, limit_of, ways
from ncclprobe.sweep.published import published_figures

H200 = Hardware(nodes=4, gpu="NVIDIA H200", gpus=8, nvlinks=18, pcie_gbps=63.0, rails=8, rails_gbps=400.0)
OPEN = ways({})
ALL_REDUCE = Collective.ALL_REDUCE


def limit(collective: Collective = ALL_REDUCE, nranks: int = 8, nnodes: int = 1, hardware: Hardware = H200, **env: str):
    found = limit_of(collective, Group(nranks, nnodes), hardware, ways(env))
    return None if found is None else round(found.busbw_gbps, 2)


@pytest.mark.parametrize("collective", [c for c in Collective if c is not ALL_REDUCE])
def test_within_a_host_nvlink_bounds_every_collective(collective):
    assert limit(collective) == 450.0


@pytest.mark.parametrize(("nranks", "gbps"), [(2, 450.0), (3, 450.0), (4, 540.0), (8, 700.0)])
def test_switches_that_reduce_allow_more(nranks, gbps):
    assert limit(nranks=nranks) == gbps
    assert limit(nranks=nranks, NCCL_NVLS_ENABLE="0") == 450.0


def test_gpus_whose_switches_do_not_reduce():
    assert limit(hardware=H200.with_(gpu="NVIDIA A100-SXM4-80GB", nvlinks=12)) == 300.0


def test_without_nvlink_pcie_bounds():
    assert limit(hardware=H200.with_(nvlinks=0)) == 63.0
    assert limit(NCCL_P2P_DISABLE="1") == 63.0
    assert limit(hardware=H200.with_(gpu="NVIDIA L40S", nvlinks=0, pcie_gbps=31.5)) == 31.5


@pytest.mark.parametrize(
    ("collective", "nranks", "nnodes", "gbps"),
    [
        (ALL_REDUCE, 16, 2, 750.0),
        (ALL_REDUCE, 32, 4, 516.67),
        (ALL_REDUCE, 2, 2, 400.0),
        (Collective.ALL_GATHER, 32, 4, 500.0),  # NVLink and a GPU's share of the rails are less than 516.67
        (Collective.REDUCE_SCATTER, 2, 2, 400.0),
        (Collective.ALLTOALL, 16, 2, 93.75),
        (Collective.BROADCAST, 16, 2, 400.0),
        (Collective.REDUCE, 16, 2, 400.0),
        (Collective.SENDRECV, 16, 2, 400.0),
    ],
)
def test_between_hosts_the_rails_bound(collective, nranks, nnodes, gbps):
    assert limit(collective, nranks, nnodes) == gbps


def test_a_network_that_reduces_allows_more():
    slower = H200.with_(rails_gbps=100.0)
    assert limit(nranks=32, nnodes=4, hardware=slower) == 129.17
    assert limit(nranks=32, nnodes=4, hardware=slower, NCCL_COLLNET_ENABLE="1") == 193.75


@pytest.mark.parametrize(
    "changed",
    [
        {"gpu": None},
        {"gpu": "NVIDIA Graphics Device"},
        {"nvlinks": None},
        {"gpus": 4},
        {"nvlinks": 0, "pcie_gbps": None},
    ],
)
def test_within_a_host_nothing_is_guessed(changed):
    assert limit(hardware=H200.with_(**changed)) is None


@pytest.mark.parametrize(
    ("changed", "env"),
    [
        ({"rails_gbps": None, "rails": 0}, {}),
        ({"gpu": None}, {}),
        ({"gpu": "NVIDIA GB200"}, {}),
        ({}, {"NCCL_IB_DISABLE": "1"}),
        ({}, {"NCCL_NET": "Socket"}),
    ],
)
def test_between_hosts_nothing_is_guessed(changed, env):
    assert limit(nranks=16, nnodes=2, hardware=H200.with_(**changed), **env) is None


def test_ranks_that_are_not_spread_equally():
    assert limit(nranks=15, nnodes=2) is None


def name_of(figure: PublishedFigure) -> str:
    return {"H100 SXM": "NVIDIA H100 80GB HBM3", "A100 SXM": "NVIDIA A100-SXM4-80GB"}.get(
        figure.gpu, f"NVIDIA {figure.gpu}"
    )


LINKS = {"A100 SXM": 12}
NETWORK_GBPS = {"AWS p5.48xlarge": 400.0, "AWS p4de.24xlarge": 50.0}


@pytest.mark.parametrize("figure", published_figures())
def test_no_published_figure_exceeds_its_limit(figure):
    nnodes = 1 if figure.network.startswith("NVLink") else figure.nodes
    hardware = Hardware(
        nodes=nnodes,
        gpu=name_of(figure),
        gpus=figure.gpus // nnodes,
        nvlinks=LINKS.get(figure.gpu, 18),
        pcie_gbps=None,
        rails=1,
        rails_gbps=NETWORK_GBPS.get(figure.platform),
    )
    open_ways = OPEN if figure.nvls is not Nvls.OFF else ways({"NCCL_NVLS_ENABLE": "0"})
    found = limit_of(Collective(figure.collective), Group(figure.gpus, nnodes), hardware, open_ways)
    assert found is not None
    assert 0.2 * found.busbw_gbps < figure.busbw_gbps < found.busbw_gbps
