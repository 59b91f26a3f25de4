"""``nvidia-smi topo``: nearest HCAs, NUMA nodes and NVLinks, however the matrix got through to us."""

from __future__ import annotations

import pathlib

import pytest

from ncclprobe.errors import ParseError
from ncclprobe.records.scan import Host
from ncclprobe.scan.parsers import read_captured

DATA = pathlib.Path(__file__).parent.parent / "data" / "scan"

LEGEND = "\nNIC Legend:\n\n  NIC0: mlx5_4\n  NIC1: mlx5_10\n  NIC2: mlx5_2\n"


def only(text: str) -> Host:
    (host,) = read_captured(text, "x")
    return host


def gpus(host: Host) -> list[tuple]:
    return [(gpu.index, gpu.numa_node, gpu.nvlinks, gpu.nearest_hcas) for gpu in host.gpus]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "topo_h200_nic_legend.txt",
            [(n, n // 4, 18, (f"mlx5_{hca}",)) for n, hca in enumerate((0, 1, 2, 3, 7, 8, 9, 10))],
        ),
        (
            "topo_a100_by_name.txt",
            [
                (0, 3, 12, ("mlx5_0", "mlx5_10")),
                (1, 1, 12, ("mlx5_0", "mlx5_10")),
                (2, 7, 12, ("mlx5_2",)),
                (3, 5, 12, ("mlx5_2",)),
            ],
        ),
        (
            "topo_mp_pcie.txt",
            [(n, 8 * (n // 2), None, (f"mlx5_{n // 2}",)) for n in range(4)],
        ),
        ("topo_one_gpu.txt", [(0, None, None, ("mlx5_0",))]),
        (
            "topo_v100_mesh.txt",
            [
                (0, None, 4, ("mlx5_0",)),
                (1, None, 3, ("mlx5_0",)),
                (2, None, 4, ("mlx5_0",)),
                (3, None, 3, ("mlx5_0",)),
            ],
        ),
    ],
)
def test_samples(name: str, expected: list[tuple]) -> None:
    assert gpus(only((DATA / name).read_text())) == expected


def test_hcas_are_those_of_the_legend() -> None:
    names = [hca.name for hca in only((DATA / "topo_h200_nic_legend.txt").read_text()).hcas]
    assert names == [f"mlx5_{n}" for n in (0, 1, 2, 3, 6, 7, 8, 9, 10)] + ["mlx5_bond_0"]


ROWS = "GPU0\t X \tNV4\tPIX\tSYS\t0-7\t0\t\tN/A\nGPU1\tNV4\t X \tSYS\tPHB\t8-15\t1\t\tN/A\n"
HEAD = "\tGPU0\tGPU1\tNIC0\tNIC1\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\n"
TWO = [(0, 0, 4, ("mlx5_4",)), (1, 1, 4, ("mlx5_10",))]


@pytest.mark.parametrize(
    "text",
    [
        HEAD + ROWS,
        f"{HEAD.strip()}\n{ROWS}",
        HEAD.replace("\t", " ") + "GPU0 X NV4 PIX SYS 0-7 0 N/A\nGPU1 NV4 X SYS PHB 8-15 1 N/A\n",
        HEAD + "GPU0\t X \tNV4PIXSYS\t0-7\t0\t\tN/A\nGPU1\tNV4\t X \tSYSPHB\t8-15\t1\t\tN/A\n",
        "GPU0 GPU1 NIC0NIC1\nCPU Affinity NUMA Affinity\nGPU0 X NV4\nPIX SYS 0-7 0\nGPU1 NV4 X SYS PHB\n8-15 1\n",
        HEAD + "GPU0\t X \tNV4\tPIX\tSYS\t\t0\t\tN/A\nGPU1\tNV4\t X \tSYS\tPHB\t\t1\t\tN/A\n",
        HEAD + "GPU1\tNV4\t X \tSYS\tPHB\t8-15\t1\t\tN/A\nGPU0\t X \tNV4\tPIX\tSYS\t0-7\t0\t\tN/A\n",
        "| | GPU0 | GPU1 | NIC0 | NIC1 | CPU Affinity | NUMA Affinity |\n|---|---|---|---|---|---|---|\n"
        "| GPU0 | X | NV4 | PIX | SYS | 0-7 | 0 |\n| GPU1 | NV4 | X | SYS | PHB | | 1 |\n"
        "| NIC0 | PIX | SYS | X | | | |\n",
        "GPU0 GPU1 NIC0 NIC1 CPU Affinity NUMA\nGPU0 X NV4 PIX SYS 0-7 0 <- near\nGPU1 NV4 X SYS PHB 8-15 1\n",
        "# GPU0 GPU1 NIC0 NIC1 CPU Affinity NUMA Affinity\n# GPU0 X NV4 PIX SYS 0-7 0\n# GPU1 NV4 X SYS PHB 8-15 1\n",
    ],
    ids=[
        "tabs",
        "stripped",
        "blanks",
        "glued",
        "wrapped",
        "no-cpus",
        "rows-swapped",
        "markdown",
        "remarks",
        "commented",
    ],
)
def test_layouts(text: str) -> None:
    assert gpus(only(text + LEGEND)) == TWO


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("GPU0 X NV4 PIX NODE PXB 0-7 0\nGPU1 NV4 X PIX PIX PXB 0-7 0\n", [("mlx5_4",), ("mlx5_4", "mlx5_10")]),
        ("GPU0 X NV4 PXB PHB PXB 0-7 0\nGPU1 NV4 X NODE PHB SYS 0-7 0\n", [("mlx5_2", "mlx5_4"), ("mlx5_10",)]),
        ("GPU0 X NV4 NODE SYS NODE 0-7 0\nGPU1 NV4 X SYS SYS SYS 0-7 0\n", [("mlx5_2", "mlx5_4"), ()]),
        ("GPU0 X NV4 PIX NODE PXB 0-7 0\nGPU1 NV4 X PIX PI", [("mlx5_4",), ()]),
        ("GPU0 X NV4 SOC PHB SOC 0-7 0\nGPU1 NV4 X SOC SOC SOC 0-7 0\n", [("mlx5_10",), ()]),
    ],
    ids=["pix", "pxb-phb", "node-sys", "cut", "soc"],
)
def test_nearest_are_those_at_the_smallest_distance(rows: str, expected: list[tuple[str, ...]]) -> None:
    host = only(f"GPU0 GPU1 NIC0 NIC1 NIC2 CPU Affinity NUMA Affinity\n{rows}\n{LEGEND}")
    assert [gpu.nearest_hcas for gpu in host.gpus] == expected


def test_a_cut_row_is_read_from_its_column() -> None:
    text = "\tGPU0\tGPU1\tmlx5_0\tCPU Affinity\nGPU0\t X \tNV6\tPIX\t0-7\nGPU1\tNV"
    assert gpus(only(text)) == [(0, None, 6, ("mlx5_0",)), (1, None, 6, ())]


def test_nics_without_a_legend_stay_unnamed() -> None:
    host = only("GPU0 GPU1 NIC0\nGPU0 X NV4 PIX\nGPU1 NV4 X PIX\n")
    assert (host.hcas, [gpu.nearest_hcas for gpu in host.gpus]) == ((), [(), ()])


def test_names_that_were_glued_in_the_header() -> None:
    text = "\t    GPU0GPU1mlx5_0\tmlx5_2\tCPU Affinity\nGPU0\t X \tNV1\tPIX\tSOC\t1-1\nGPU1\tNV1\t X \tPHB\tSOC\t1-1\n"
    assert gpus(only(text)) == [(0, None, 1, ("mlx5_0",)), (1, None, 1, ("mlx5_0",))]


@pytest.mark.parametrize("last", ["NIC1", "mlx5_10"])
def test_a_name_that_touches_the_affinity_columns(last: str) -> None:
    assert gpus(only(HEAD.replace("NIC1\tCPU", f"{last}CPU") + ROWS + LEGEND)) == TWO


def test_another_number_of_gpus_is_another_host() -> None:
    hosts = read_captured("GPU0 GPU1\nGPU0 X NV4\nGPU1 NV4 X\n\nGPU0 mlx5_0 CPU Affinity\nGPU0 X PIX 0-3\n", "x")
    assert [len(host.gpus) for host in hosts] == [2, 1]


def test_a_lost_header_is_the_rows_where_the_matrix_is_square() -> None:
    text = "GPU0\t X \tNV12\tPHB\t0-13\t0\nGPU1\tNV12\t X \tSYS\t14-27\t1\nmlx5_0\tPHB\tSYS\t X \n"
    assert gpus(only(text)) == [(0, 0, 12, ("mlx5_0",)), (1, 1, 12, ())]


@pytest.mark.parametrize(
    ("gpus_seen", "relation", "legend", "expected"),
    [
        (2, "NV4", "", 4),
        (2, "NV18", "", 18),
        (3, "NV4", "", 8),
        (4, "NV6", "", 18),
        (8, "NV12", "", 12),
        (16, "NV6", "", 6),
        (2, "SYS", "  NV#  = Connection traversing a bonded set of # NVLinks\n", 0),
        (2, "SYS", "", None),
    ],
)
def test_nvlinks_in_total(gpus_seen: int, relation: str, legend: str, expected: int | None) -> None:
    names = [f"GPU{n}" for n in range(gpus_seen)]
    rows = ["\t".join([one, *("X" if one == other else relation for other in names)]) for one in names]
    host = only("\n".join(["\t" + "\t".join(names), *rows, "", legend]))
    assert {gpu.nvlinks for gpu in host.gpus} == {expected}


def test_both_matrices_of_one_host_merge() -> None:
    plain = "GPU0 GPU1 mlx5_0 CPU Affinity NUMA Affinity\nGPU0 X {} PIX 0-7 0\nGPU1 {} X SYS 8-15 1\n\n"
    text = plain.replace("{}", "NV4") + "Legend:\n  SYS = Connection\n\n" + plain.replace("{}", "SYS")
    assert gpus(only(text)) == [(0, 0, 4, ("mlx5_0",)), (1, 1, 4, ())]


def test_names_and_uuids_of_nvidia_smi_join_the_matrix() -> None:
    uuid = "GPU-1b2c3d4e-0000-1111-2222-333344445555"
    listed = f"$ nvidia-smi -L\nGPU 0: NVIDIA H200 (UUID: {uuid})\n  MIG 1g.18gb     Device  0: (UUID: MIG-1)\n"
    (gpu,) = only(f"{listed}$ nvidia-smi topo -m\n{(DATA / 'topo_one_gpu.txt').read_text()}").gpus
    assert (gpu.name, gpu.uuid, gpu.nearest_hcas) == ("NVIDIA H200", uuid, ("mlx5_0",))


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ("0-31,64-95 0N/A", 0),
        ("0-31,64-951        N/A", 1),
        ("0-31,64-9512       N/A", 12),
        ("0-31,64-95         N/A", None),
        ("0-31,64-95,128-1593 N/A", 3),
        ("0-31 7             N/A", 7),
        ("0-31               N/A", None),
        ("0,2,4,6            3  N/A", 3),
    ],
)
def test_a_numa_node_that_touches_its_neighbours(cells: str, expected: int | None) -> None:
    text = f"GPU0 GPU1 NIC0 CPU Affinity NUMA Affinity GPU NUMA ID\nGPU0 X PIX PHB {cells}\nGPU1 PIX X SYS 0-7 0 N/A\n"
    assert only(text).gpus[0].numa_node == expected


def test_a_matrix_from_grep_over_job_scripts() -> None:
    rows = ["# \tGPU0\tGPU1\tmlx5_2\tCPU Affinity\tNUMA Affinity", "# GPU0\t X \tNV4\tSYS\t8-15\t1"]
    rows += ["# GPU1\tNV4\t X \tPHB\t0-7\t0", "#SBATCH --gpus=2"]
    text = "".join(f"jobs/two_gpus.sbatch:{row}\n" for row in rows)
    assert gpus(only(text)) == [(0, 1, 4, ()), (1, 0, 4, ("mlx5_2",))]


def test_peer_to_peer_matrices_are_no_distances() -> None:
    with pytest.raises(ParseError):
        read_captured(" \tGPU0\tGPU1\t\n GPU0\tX\tOK\t\n GPU1\tOK\tX\t\n\nLegend:\n\n  X    = Self\n", "x")
