from __future__ import annotations

import pathlib

import pytest

from ncclprobe.backends import auto_backend, make_backend
from ncclprobe.backends.base import BackendOptions, Capabilities, GpuOptions
from ncclprobe.backends.nccl_names import (
    cell_environment,
    cells,
    channels_in,
    difference,
    operations_in,
    version_number,
    version_text,
)
from ncclprobe.backends.nccl_settings import NODES_VARIABLE, RankSettings, passed_on, placement, shared_gpus
from ncclprobe.errors import UsageError
from ncclprobe.names import Collective
from ncclprobe.records.sweep import DEFAULT_CELL, Cell
from ncclprobe.sweep.plan import SweepOptions, planned_cells

SAFE = {"NCCL_NVLS_ENABLE": "0"}
TREE_RING = [f"{algo}/{proto}" for algo in ("Tree", "Ring") for proto in ("LL", "LL128", "Simple")]
RING = TREE_RING[3:]


def _labels(collective: Collective, version: int, environment: dict[str, str], *channels: int) -> list[str]:
    return [cell.label for cell in cells(collective, version, environment, channels)]


@pytest.mark.parametrize(
    ("collective", "version", "environment", "labels"),
    [
        (Collective.ALL_REDUCE, 22809, SAFE, TREE_RING),
        (Collective.ALL_REDUCE, 22809, {"NCCL_NVLS_ENABLE": " 0"}, TREE_RING),
        (Collective.ALL_REDUCE, 22809, {}, [*TREE_RING, "NVLS/Simple", "NVLSTree/Simple"]),
        (Collective.ALL_REDUCE, 21700, {"NCCL_NVLS_ENABLE": "1"}, [*TREE_RING, "NVLS/Simple"]),
        (Collective.ALL_REDUCE, 21604, {}, TREE_RING),
        (
            Collective.ALL_REDUCE,
            22809,
            SAFE | {"NCCL_COLLNET_ENABLE": "1"},
            [*TREE_RING, "CollNetDirect/Simple", "CollNetChain/Simple"],
        ),
        (Collective.ALL_GATHER, 22809, SAFE, [*RING, "PAT/Simple"]),
        (Collective.REDUCE_SCATTER, 22203, SAFE, RING),
        (Collective.REDUCE_SCATTER, 22809, {}, [*RING, "NVLS/Simple", "PAT/Simple"]),
        (Collective.BROADCAST, 22809, {}, RING),
        (Collective.SENDRECV, 22809, {}, []),
        (Collective.ALLTOALL, 22809, {}, []),
    ],
)
def test_cells_of_a_collective(
    collective: Collective, version: int, environment: dict[str, str], labels: list[str]
) -> None:
    assert _labels(collective, version, environment) == labels


def test_channels_are_offered_beside_ncclls_own() -> None:
    labels = _labels(Collective.BROADCAST, 22809, {}, 8, 1, 8)
    assert labels == [*RING, *(f"{pair}/1ch" for pair in RING), *(f"{pair}/8ch" for pair in RING)]


@pytest.mark.parametrize(("channels", "numbers"), [((), {None, 4}), ((4,), {4}), ((0,), {None}), ((0, 4), {None, 4})])
def test_default_channels_can_be_asked_for(channels: tuple[int, ...], numbers: set[int | None]) -> None:
    options = SweepOptions(backend="nccl", seed=1, channels=channels)
    offered = Capabilities(library="x", nranks=2, nnodes=1, cells=cells(Collective.ALL_REDUCE, 22809, SAFE, (4,)))
    assert {cell.nchannels for cell in planned_cells(options, offered)} == numbers


@pytest.mark.parametrize(
    ("cell", "variables"),
    [
        (DEFAULT_CELL, {}),
        (Cell(algo="Tree", proto="LL"), {"NCCL_ALGO": "allreduce:tree", "NCCL_PROTO": "allreduce:ll"}),
        (Cell(algo="NVLSTree"), {"NCCL_ALGO": "allreduce:nvlstree"}),
        (Cell(algo="Ring", proto="LL128"), {}),
        (Cell(algo="Ring", proto="LL", nchannels=4), {}),
    ],
)
def test_variables_of_a_cell(cell: Cell, variables: dict[str, str]) -> None:
    assert cell_environment(Collective.ALL_REDUCE, cell) == variables


@pytest.mark.parametrize(("number", "text"), [(22809, "2.28.9"), (21, "0.0.21"), (2804, "2.8.4"), (20908, "2.9.8")])
def test_versions(number: int, text: str) -> None:
    assert version_text(number) == text
    assert version_number(f"NCCL {text}+cuda13.0") == number


def test_no_version() -> None:
    assert version_number("NCCL") == 0


LOG = """\
g:71:71 [0] NCCL INFO Channel 00/24 : 0 1
g:71:71 [0] NCCL INFO 24 coll channels, 24 collnet channels, 0 nvls channels, 32 p2p channels, 32 p2p channels per peer
g:71:71 [0] NCCL INFO AllReduce: 8 Bytes -> Algo RING proto LL channel{Lo..Hi}={0..0}
g:71:71 [0] NCCL INFO AllReduce: 1048576 Bytes -> Algo TREE proto LL128 channel{Lo..Hi}={0..15}
g:71:71 [0] NCCL INFO ReduceScatter: 4096 Bytes -> Algo PAT proto SIMPLE channel{Lo..Hi}={2..2}
g:71:71 [0] NCCL INFO AllReduce: 16 Bytes -> Algo NVLS_TREE proto SIMPLE channel{Lo..Hi}={0..7}
g:71:71 [0] NCCL INFO 32 coll channels, 32 collnet channels, 16 nvls channels, 32 p2p channels, 2 p2p channels per peer
g:71:71 [0] NCCL INFO AllReduce: 8 Bytes -> Algo RI"""


def test_what_the_log_says() -> None:
    ran = [(one.collective.value, one.size_bytes, one.cell.label) for one in operations_in(LOG)]
    assert ran == [
        ("all_reduce", 8, "Ring/LL/1ch"),
        ("all_reduce", 1048576, "Tree/LL128/16ch"),
        ("reduce_scatter", 4096, "PAT/Simple/1ch"),
        ("all_reduce", 16, "NVLSTree/Simple/8ch"),
    ]
    assert channels_in(LOG) == [24, 32]


RAN = Cell(algo="Ring", proto="LL", nchannels=4)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (DEFAULT_CELL, ""),
        (Cell(algo="Ring", proto="LL"), ""),
        (Cell(algo="Ring"), ""),
        (RAN, ""),
        (Cell(algo="Tree", proto="LL"), "NCCL ran Ring/LL/4ch instead of Tree/LL"),
        (Cell(algo="Ring", proto="Simple"), "NCCL ran Ring/LL/4ch instead of Ring/Simple"),
        (RAN.with_(nchannels=8), "NCCL ran Ring/LL/4ch instead of Ring/LL/8ch"),
    ],
)
def test_what_ran_instead(wanted: Cell, words: str) -> None:
    assert difference(wanted, RAN) == words


# ---- what ranks are told


def test_settings_go_through_text() -> None:
    settings = RankSettings(timeout_s=2.5, plugin="/p.so", most_channels=32, gpu=GpuOptions(mode="eager"))
    import msgspec

    assert msgspec.json.decode(settings.text(), type=RankSettings) == settings


@pytest.mark.parametrize(
    ("mode", "size", "captured"),
    [
        ("auto", 8, True),
        ("auto", 32 << 20, True),
        ("auto", 64 << 20, False),
        ("graph", 1 << 33, True),
        ("eager", 8, False),
    ],
)
def test_what_is_captured(mode: str, size: int, captured: bool) -> None:
    assert RankSettings(timeout_s=1, plugin="", gpu=GpuOptions(mode=mode)).captures(size) is captured


def test_what_a_site_switches_off_stays_off_everywhere() -> None:
    site = {"NCCL_NVLS_ENABLE": "0", "TORCH_SYMM_MEM_DISABLE_MULTICAST": "1", "NVSHMEM_DISABLE_NVLS": "1"}
    more = {"NCCL_IB_HCA": "=mlx5_0", "NCCL_TUNER_PLUGIN": "/site.so", "HOME": "/root", NODES_VARIABLE: "2"}
    assert passed_on(site | more) == site | {"NCCL_IB_HCA": "=mlx5_0", NODES_VARIABLE: "2"}


@pytest.mark.parametrize(
    ("hosts", "gpus", "environment", "nodes"),
    [
        (["a", "a"], ["0", "1"], {}, ["", ""]),
        (["a", "b"], ["0", "0"], {}, ["", ""]),
        (["a", "a"], ["0", "0"], {}, ["a-0", "a-1"]),
        (["a"] * 4, ["0", "1", "2", "3"], {NODES_VARIABLE: "2"}, ["a-0", "a-0", "a-1", "a-1"]),
        (["a", "a"], ["0", "1"], {NODES_VARIABLE: ""}, ["", ""]),
    ],
)
def test_where_nccl_believes_ranks_to_be(
    hosts: list[str], gpus: list[str], environment: dict[str, str], nodes: list[str]
) -> None:
    placed = [placement(rank, hosts, gpus, environment) for rank in range(len(hosts))]
    assert [one.get("NCCL_HOSTID", "") for one in placed] == nodes
    assert [one.get("NCCL_NET", "") for one in placed] == ["Socket" if node else "" for node in nodes]
    assert shared_gpus(hosts, gpus) is (hosts == ["a", "a"] and gpus == ["0", "0"])


# ---- which backend


@pytest.mark.parametrize("options", [GpuOptions(mode="graph"), GpuOptions(in_place=True), GpuOptions(memory="nccl")])
def test_options_of_gpus_are_for_gpus(options: GpuOptions) -> None:
    with pytest.raises(UsageError, match="are for the backend nccl; leave them away with mpi"):
        make_backend("mpi", BackendOptions(gpu=options))


def test_a_described_fabric_is_simulated() -> None:
    assert auto_backend(pathlib.Path("x.toml")) == "sim"


@pytest.mark.parametrize(("gpus", "name"), [(2, "nccl"), (1, "mpi"), (0, "mpi")])
def test_two_gpus_are_taken_first(gpus: int, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: object())
    monkeypatch.setattr("ncclprobe.backends.nccl_library.gpu_count", lambda: gpus)
    assert auto_backend(None) == name
