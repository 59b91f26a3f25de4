"""Reading this machine: sysfs, ibv_devinfo that works, fails and hangs, affinity, limits."""

from __future__ import annotations

import pathlib
import time

import pytest
from fake_machine import Machine, write

from ncclprobe.names import LinkLayer, PortState
from ncclprobe.records.scan import Gid, Hca, Port
from ncclprobe.scan.affinity import Distance, Place, distance, nearest
from ncclprobe.scan.collect import collect
from ncclprobe.scan.gpus import normal_bus_id, only_bit
from ncclprobe.scan.limits import acs_control, gpudirect, read_facts
from ncclprobe.scan.sysfs import pci_device, pcie_path, read_hcas

SWITCH = ("pci0000:15", "0000:15:01.0", "0000:16:00.0", "0000:17:00.0")
"""Host bridge, root port, a switch's upstream port and one of its downstream ports."""
ABSENT = ("ncclprobe-has-no-such-tool",)


@pytest.fixture
def machine(tmp_path: pathlib.Path) -> Machine:
    return Machine(tmp_path / "root")


def program(folder: pathlib.Path, script: str) -> tuple[str, ...]:
    """Return the command of a small script that stands for ibv_devinfo."""
    path = folder / "ibv_devinfo"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return (str(path), "-v")


# ---- sysfs


def test_an_infiniband_hca(machine: Machine) -> None:
    device = machine.pci(*SWITCH, "0000:18:00.0", numa=1, device="0x1021")
    port = machine.port(machine.hca("mlx5_0", device))
    machine.gid(port, 0, "fe80:0000:0000:0000:946d:ae03:0001:1c00")
    machine.gid(port, 1, "fe80:0000:0000:0000:0000:0000:0000:0000")
    assert read_hcas(machine.root) == (
        Hca(
            name="mlx5_0",
            ports=(
                Port(
                    port=1,
                    state=PortState.ACTIVE,
                    phys_state="LinkUp",
                    link_layer=LinkLayer.INFINIBAND,
                    rate_gbps=400.0,
                    lid=0x65,
                    sm_lid=1,
                    gids=(Gid(index=0, gid="fe80:0000:0000:0000:946d:ae03:0001:1c00", type="IB"),),
                ),
            ),
            fw_version="28.39.3004",
            board_id="MT_0000000838",
            node_guid="946d:ae03:0001:1c00",
            vendor_part_id=4129,
            pci_bus_id="0000:18:00.0",
            numa_node=1,
            transport="InfiniBand",
        ),
    )


def test_a_roce_bond(machine: Machine) -> None:
    device = machine.pci(*SWITCH, "0000:18:00.0", numa=-1)
    port = machine.port(machine.hca("rocep24s0", device), link_layer="Ethernet", rate="200 Gb/sec (2X NDR)")
    machine.gid(port, 0, "fe80:0000:0000:0000:966d:aeff:fe01:1c20", "IB/RoCE v1", "bond0")
    machine.gid(port, 3, "0000:0000:0000:0000:0000:ffff:0a00:0001", "RoCE v2", "bond0")
    write(machine.root / "sys/class/net/bond0/bonding/mode", "802.3ad 4\n")
    (hca,) = read_hcas(machine.root)
    assert (hca.bond, hca.numa_node, hca.ports[0].netdev) == (True, None, "bond0")
    assert [(gid.index, gid.type, gid.netdev) for gid in hca.ports[0].gids] == [
        (0, "RoCE v1", "bond0"),
        (3, "RoCE v2", "bond0"),
    ]


@pytest.mark.parametrize(
    ("files", "field", "value"),
    [
        ({"state": "1: DOWN"}, "state", PortState.DOWN),
        ({"state": "2: INIT"}, "state", PortState.INIT),
        ({"phys_state": "2: Polling"}, "phys_state", "Polling"),
        ({"lid": "0xffff"}, "lid", 65535),
        ({"rate": "2.5 Gb/sec (1X SDR)"}, "rate_gbps", 2.5),
        ({"link_layer": "Unspecified"}, "link_layer", LinkLayer.UNSPECIFIED),
        ({"state": ""}, "state", None),
    ],
)
def test_port_values(machine: Machine, files: dict[str, str], field: str, value: object) -> None:
    machine.port(machine.hca("mlx5_0", machine.pci("pci0000:00", "0000:00:03.0")), **files)
    assert getattr(read_hcas(machine.root)[0].ports[0], field) == value


def test_hcas_come_in_natural_order_with_their_ports(machine: Machine) -> None:
    for number in (10, 2, 0):
        hca = machine.hca(f"mlx4_{number}", machine.pci("pci0000:00", f"0000:00:{number:02x}.0"))
        machine.port(hca, 1)
        machine.port(hca, 2, state="1: DOWN")
    hcas = read_hcas(machine.root)
    assert [hca.name for hca in hcas] == ["mlx4_0", "mlx4_2", "mlx4_10"]
    assert [port.port for port in hcas[0].ports] == [1, 2]


@pytest.mark.parametrize(
    ("node_type", "transport"), [("4: RNIC", "iWARP"), ("7: unspecified", "unspecified"), ("9: new", None)]
)
def test_transport(machine: Machine, node_type: str, transport: str | None) -> None:
    machine.hca("x0", machine.pci("pci0000:00", "0000:00:03.0"), node_type=node_type)
    assert read_hcas(machine.root)[0].transport == transport


def test_a_machine_without_infiniband_has_no_hcas(tmp_path: pathlib.Path) -> None:
    assert read_hcas(tmp_path) == ()


# ---- affinity


def test_distances(machine: Machine) -> None:
    gpu = place(machine, *SWITCH, "0000:18:00.0")
    same_switch = place(machine, *SWITCH[:3], "0000:17:01.0", "0000:19:00.0")
    next_switch = place(machine, *SWITCH[:3], "0000:17:02.0", "0000:1a:00.0", "0000:1b:00.0", "0000:1c:00.0")
    other_root_port = place(machine, "pci0000:15", "0000:15:02.0", "0000:20:00.0")
    other_bridge = place(machine, "pci0000:37", "0000:37:01.0", "0000:38:00.0")
    far = place(machine, "pci0000:97", "0000:97:01.0", "0000:98:00.0", numa=1)
    nearer = [same_switch, next_switch, other_root_port, other_bridge, far]
    assert [distance(gpu, other) for other in nearer] == list(Distance)
    assert [distance(other, gpu) for other in nearer] == list(Distance)
    assert distance(gpu, Place((), None)) is Distance.SYS


def place(machine: Machine, *path: str, numa: int = 0) -> Place:
    machine.pci(*path, numa=numa)
    return Place(pcie_path(machine.root, pci_device(machine.root, path[-1])), numa)


def test_nearest_hcas_are_all_at_the_smallest_distance(machine: Machine) -> None:
    gpu = place(machine, *SWITCH, "0000:18:00.0")
    beside = place(machine, *SWITCH[:3], "0000:17:01.0", "0000:19:00.0")
    second_function = place(machine, *SWITCH[:3], "0000:17:01.0", "0000:19:00.1")
    far = place(machine, "pci0000:97", "0000:97:01.0", "0000:98:00.0", numa=1)
    assert nearest(gpu, {"mlx5_2": far, "mlx5_0": beside, "mlx5_1": second_function}) == ("mlx5_0", "mlx5_1")
    assert nearest(gpu, {"mlx5_2": far}) == ()
    assert nearest(gpu, {}) == ()


@pytest.mark.parametrize(
    ("nvml", "sysfs"),
    [("00000000:1B:00.0", "0000:1b:00.0"), ("0000:1B:00.0", "0000:1b:00.0"), ("0001C4AC:00:00.0", "1c4ac:00:00.0")],
)
def test_normal_bus_id(nvml: str, sysfs: str) -> None:
    assert normal_bus_id(nvml) == sysfs


@pytest.mark.parametrize(("mask", "node"), [(0b1, 0), (0b100, 2), (0b11, None), (0, None)])
def test_numa_node_of_a_mask(mask: int, node: int | None) -> None:
    assert only_bit(mask) == node


# ---- ibv_devinfo


def machine_with_one_hca(machine: Machine) -> Machine:
    machine.port(machine.hca("mlx5_0", machine.pci(*SWITCH, "0000:18:00.0", numa=1)))
    return machine


def test_ibv_devinfo_and_sysfs_complete_each_other(machine: Machine, tmp_path: pathlib.Path) -> None:
    text = (
        "hca_id:\tmlx5_0\n\ttransport:\t\t\tInfiniBand (0)\n\tfw_ver:\t\t\t\t28.39.3004\n"
        "\tnode_guid:\t\t\t946d:ae03:0001:1c00\n\tvendor_part_id:\t\t\t4129\n\tboard_id:\t\t\tMT_0000000838\n"
        "\t\tport:\t1\n\t\t\tstate:\t\t\tPORT_ACTIVE (4)\n\t\t\tactive_mtu:\t\t4096 (5)\n"
        "\t\t\tlink_layer:\t\tInfiniBand\n"
    )
    (tmp_path / "said.txt").write_text(text)
    read = collect(
        root=machine_with_one_hca(machine).root, environment={}, command=program(tmp_path, f"cat {tmp_path}/said.txt")
    )
    (hca,) = read.hosts[0].hcas
    assert (hca.vendor_part_id, hca.pci_bus_id, hca.numa_node) == (4129, "0000:18:00.0", 1)
    assert (hca.ports[0].active_mtu, hca.ports[0].rate_gbps, hca.ports[0].sm_lid) == (4096, 400.0, 1)
    assert "ibv-devinfo-failed" not in {finding.code for finding in read.findings}


@pytest.mark.parametrize(
    ("script", "opened"),
    [
        (
            r"printf 'Failed to open device\nhca_id:\tmlx5_0\n\t\tport:\t1\n\t\t\tstate:\tPORT_ACTIVE (4)\n'; exit 1",
            ["mlx5_0"],
        ),
        ("echo 'No IB devices found' >&2; exit 255", []),
    ],
)
def test_a_container_has_the_hcas_that_it_can_open(
    machine: Machine, tmp_path: pathlib.Path, script: str, opened: list[str]
) -> None:
    machine_with_one_hca(machine)
    machine.port(machine.hca("mlx5_1", machine.pci("pci0000:15", "0000:15:02.0", "0000:19:00.0")))
    read = collect(root=machine.root, environment={}, command=program(tmp_path, script))
    assert [hca.name for hca in read.hosts[0].hcas] == opened
    (finding,) = [finding for finding in read.findings if finding.code == "hca-inaccessible"]
    assert f"cannot open {', '.join(name for name in ('mlx5_0', 'mlx5_1') if name not in opened)}," in finding.message
    assert not {"no-hca", "ibv-devinfo-failed"} & {finding.code for finding in read.findings}


def test_an_ibv_devinfo_that_crashes_hides_nothing(machine: Machine, tmp_path: pathlib.Path) -> None:
    command = program(tmp_path, r"printf 'hca_id:\tmlx5_9\n'; kill -SEGV $$")
    read = collect(root=machine_with_one_hca(machine).root, environment={}, command=command)
    assert [hca.name for hca in read.hosts[0].hcas] == ["mlx5_0"]
    assert "ibv-devinfo-failed" in {finding.code for finding in read.findings}


def test_a_hanging_ibv_devinfo_is_ended_with_its_children_and_sysfs_read(
    machine: Machine, tmp_path: pathlib.Path
) -> None:
    started = time.monotonic()
    command = program(tmp_path, "sleep 60 & wait")
    read = collect(timeout_s=0.3, root=machine_with_one_hca(machine).root, environment={}, command=command)
    assert time.monotonic() - started < 10
    assert [hca.name for hca in read.hosts[0].hcas] == ["mlx5_0"]
    (failed,) = [finding for finding in read.findings if finding.code == "ibv-devinfo-failed"]
    assert "no end within 0.3 s" in failed.message
    assert failed.severity == "warning"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'Failed to get device list: Function not implemented' >&2; exit 1", "Function not implemented"),
        ("exit 7", "exit status 7"),
        ("echo nonsense", "nonsense"),
    ],
)
def test_a_failing_ibv_devinfo_is_a_finding(machine: Machine, tmp_path: pathlib.Path, script: str, words: str) -> None:
    read = collect(root=machine_with_one_hca(machine).root, environment={}, command=program(tmp_path, script))
    assert [hca.name for hca in read.hosts[0].hcas] == ["mlx5_0"]
    assert words in next(finding.message for finding in read.findings if finding.code == "ibv-devinfo-failed")


@pytest.mark.parametrize("script", ["echo 'No IB devices found' >&2; exit 255", None])
def test_a_bare_machine_scans_fine(tmp_path: pathlib.Path, script: str | None) -> None:
    command = ABSENT if script is None else program(tmp_path, script)
    read = collect(root=tmp_path / "empty", environment={"NCCL_DEBUG": "INFO", "HOME": "/root"}, command=command)
    assert read.hosts[0].hcas == ()
    assert dict(read.hosts[0].facts)["NCCL_DEBUG"] == "INFO"
    assert "HOME" not in dict(read.hosts[0].facts)
    assert "no-hca" in {finding.code for finding in read.findings}
    assert {str(finding.severity) for finding in read.findings} == {"info"}


# ---- limits


@pytest.mark.parametrize(
    ("modules", "kernel", "driver", "flavour", "ways"),
    [
        (["nvidia_peermem"], "5.4.0-1", "510.39", "proprietary", "nvidia_peermem"),
        (["nv_peer_mem"], "5.4.0-1", "470.1", None, "nvidia_peermem"),
        ([], "6.8.0-60-generic", "570.133.20", "open", "dma-buf"),
        (["nvidia_peermem"], "6.8.0", "570.133.20", "open", "nvidia_peermem,dma-buf"),
        ([], "6.8.0", "570.133.20", "proprietary", "none"),
        ([], "5.11.0", "570.133.20", "open", "none"),
        ([], "5.12.0", "515.43.04", "open", "dma-buf"),
        ([], "5.12.0", "510.1", "open", "none"),
        ([], "6.8.0", "570.133.20", None, None),
    ],
)
def test_gpudirect(modules: list[str], kernel: str, driver: str, flavour: str | None, ways: str | None) -> None:
    assert gpudirect(modules, kernel, driver, flavour) == ways


def test_facts_of_a_machine(machine: Machine) -> None:
    root = machine.root
    upstream = machine.pci(*SWITCH[:3], max_link_width="16")
    machine.pci(*SWITCH, max_link_width="16")
    device = machine.pci(*SWITCH, "0000:18:00.0", current_link_width="8", max_link_width="16")
    write(upstream / "config", configuration(control=0b0000000000011101))
    write(device.parent / "config", configuration(control=0))
    write(root / "sys/kernel/iommu_groups/7/type", "DMA-FQ\n")
    (device / "iommu_group").symlink_to(root / "sys/kernel/iommu_groups/7")
    write(root / "proc/sys/kernel/osrelease", "6.8.0-60-generic\n")
    write(root / "proc/modules", "mlx5_ib 1 0 - Live 0x0\nnvidia_peermem 16384 0 - Live 0x0\n")
    write(
        root / "proc/driver/nvidia/version",
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.133.20  Release Build\nGCC version: gcc 12.3.0\n",
    )
    facts = dict(read_facts({"mlx5_0": pci_device(root, "0000:18:00.0")}, None, {"NCCL_IB_HCA": "mlx5_0"}, root))
    memlock = facts.pop("memlock_kib")
    assert memlock == "unlimited" or memlock.isdigit()
    assert facts == {
        "kernel": "6.8.0-60-generic",
        "driver": "570.133.20",
        "driver_flavour": "open",
        "gpudirect_rdma": "nvidia_peermem,dma-buf",
        "iommu": "DMA-FQ",
        "acs_redirecting_bridges": "1 of 2",
        "pcie_width:mlx5_0": "8 of 16",
        "NCCL_IB_HCA": "mlx5_0",
    }


def configuration(control: int) -> bytes:
    """Return a PCIe configuration space with an AER and an ACS capability."""
    space = bytearray(4096)
    space[0x100:0x104] = (0x0001 | 1 << 16 | 0x148 << 20).to_bytes(4, "little")
    space[0x148:0x14C] = (0x000D | 1 << 16).to_bytes(4, "little")
    space[0x14E:0x150] = control.to_bytes(2, "little")
    return bytes(space)


@pytest.mark.parametrize(
    ("space", "control"),
    [
        (configuration(0x1D), 0x1D),
        (configuration(0), 0),
        (bytes(4096), None),
        (bytes(64), None),
        (b"", None),
        ((0x0001 | 0x100 << 20).to_bytes(4, "little").rjust(0x104, b"\0").ljust(4096, b"\0"), None),
    ],
)
def test_acs_control(space: bytes, control: int | None) -> None:
    assert acs_control(space) == control
