"""What is read of each tool's own layout: every value that a sample states, None for what it doesn't."""

from __future__ import annotations

import pathlib

import pytest

from ncclprobe.errors import ParseError
from ncclprobe.names import LinkLayer, PortState
from ncclprobe.records.scan import Gid, Hca, Host, Port
from ncclprobe.scan.facts import UNNAMED_PORTS
from ncclprobe.scan.parsers import read_captured

DATA = pathlib.Path(__file__).parent.parent / "data" / "scan"

ACTIVE, DOWN, INIT, ARMED = PortState.ACTIVE, PortState.DOWN, PortState.INIT, PortState.ARMED
IB, ETH, UNSPECIFIED = LinkLayer.INFINIBAND, LinkLayer.ETHERNET, LinkLayer.UNSPECIFIED


def only(name: str) -> Host:
    (host,) = read_captured((DATA / name).read_text(), name)
    return host


def ports(host: Host) -> dict[str, tuple]:
    """HCA:port -> state, link layer, Gbit/s, MTU, LID, SM LID, interface."""
    return {
        f"{hca.name}:{port.port}": (
            port.state, port.link_layer, port.rate_gbps, port.active_mtu, port.lid, port.sm_lid, port.netdev,
        )
        for hca in host.hcas
        for port in hca.ports
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "ibv_devinfo_mixed_tabs.txt",
            {
                "mlx5_0:1": (ACTIVE, IB, None, 4096, 100, 2, None),
                "mlx5_1:1": (ACTIVE, IB, None, 4096, 101, 2, None),
                "mlx5_2:1": (ACTIVE, ETH, None, 1024, 0, 0, None),
                "mlx5_3:1": (INIT, IB, None, 4096, 65535, 0, None),
                "mlx5_10:1": (ACTIVE, IB, None, 4096, 110, 2, None),
                "mlx5_11:1": (DOWN, ETH, None, 1024, 0, 0, None),
            },
        ),
        (
            "ibv_devinfo_two_ports_padded.txt",
            {
                "mlx4_0:1": (ACTIVE, IB, None, 4096, 7, 2, None),
                "mlx4_0:2": (DOWN, ETH, None, 1024, 0, 0, None),
                "mlx4_1:1": (ACTIVE, IB, None, 4096, 8, 2, None),
                "mlx4_1:2": (DOWN, ETH, None, 1024, 0, 0, None),
            },
        ),
        (
            "ibv_devinfo_verbose_infiniband.txt",
            {
                "mlx5_0:1": (ACTIVE, IB, 400.0, 4096, 31, 2, None),
                "mlx5_1:1": (ACTIVE, IB, 200.0, 4096, 32, 2, None),
                "mlx5_2:1": (ACTIVE, IB, 100.0, 4096, 33, 2, None),
                "mlx5_3:1": (ACTIVE, IB, 56.0, 4096, 34, 2, None),
            },
        ),
        (
            "ibv_devinfo_efa.txt",
            {
                "rdmap16s27:1": (ACTIVE, UNSPECIFIED, 100.0, 4096, 0, 0, None),
                "rdmap32s27:1": (ACTIVE, UNSPECIFIED, 100.0, 4096, 0, 0, None),
            },
        ),
        (
            "ibv_devinfo_omnipath_rxe.txt",
            {
                "hfi1_0:1": (ACTIVE, IB, None, 4096, 23, 2, None),
                "rxe0:1": (ACTIVE, ETH, None, 1024, 0, 0, None),
            },
        ),
        (
            "ibv_devinfo_grep.txt",
            {f"mlx5_{n}:1": (None, ETH if n in (2, 8) else IB, None, None, None, None, None) for n in range(12)},
        ),
        (
            "ibstat_several.txt",
            {
                "mlx5_0:1": (ACTIVE, IB, 400.0, None, 117, 1, None),
                "mlx5_1:1": (DOWN, IB, 10.0, None, 65535, 0, None),
                "mlx5_2:1": (ACTIVE, ETH, 100.0, None, 0, 0, None),
                "mlx5_10:1": (INIT, IB, 400.0, None, 65535, 0, None),
                "mthca0:1": (ARMED, IB, 2.5, None, 3, 1, None),
                "mthca0:2": (ACTIVE, IB, 40.0, None, 4, 1, None),
            },
        ),
        (
            "ibstatus.txt",
            {
                "mlx5_0:1": (ACTIVE, IB, 200.0, None, 0x2F, 1, None),
                "mlx5_1:1": (DOWN, ETH, 25.0, None, 0, 0, None),
                "mlx5_10:1": (INIT, IB, 400.0, None, 0xFFFF, 0, None),
            },
        ),
        (
            "ibdev2netdev.txt",
            {
                "mlx5_0:1": (None, None, None, None, None, None, "ibs1"),
                "mlx5_2:1": (None, None, None, None, None, None, "ens7np0"),
                "mlx5_10:1": (None, None, None, None, None, None, "ibs10"),
                "mlx5_bond_0:1": (None, None, None, None, None, None, "bond0"),
            },
        ),
        (
            "ibdev2netdev_verbose.txt",
            {
                "mlx5_0:1": (ACTIVE, None, None, None, None, None, "ibs1"),
                "mlx5_3:1": (DOWN, None, None, None, None, None, "ens7v1"),
                "mlx5_10:1": (INIT, None, None, None, None, None, "ibs10"),
            },
        ),
        (
            "rdma_link.txt",
            {
                "mlx5_0:1": (ACTIVE, None, None, None, 47, 1, None),
                "mlx5_2:1": (DOWN, None, None, None, None, None, "ens2np0"),
                "mlx5_10:1": (ACTIVE, None, None, None, None, None, "ens10np0"),
                "rxe0:1": (ACTIVE, None, None, None, None, None, "eth0"),
            },
        ),
        (
            "rdma_link_old.txt",
            {
                "mlx5_bond_0:1": (ACTIVE, None, None, None, None, None, "reth0"),
                "mlx5_bond_1:1": (ACTIVE, None, None, None, None, None, "reth2"),
                "mlx5_bond_10:1": (DOWN, None, None, None, None, None, "reth4"),
            },
        ),
        (
            "show_gids.txt",
            {
                "mlx5_0:1": (None, None, None, None, None, None, "ens1np0"),
                "mlx5_10:1": (None, None, None, None, None, None, None),
            },
        ),
        (
            "sysfs_paths.txt",
            {
                "mlx5_0:1": (ACTIVE, IB, 400.0, None, 0x1F, None, None),
                "mlx5_10:1": (DOWN, ETH, 40.0, None, None, None, None),
            },
        ),
    ],
)
def test_ports(name: str, expected: dict[str, tuple]) -> None:
    host = only(name)
    assert ports(host) == expected
    assert list(ports(host)) == list(expected)  # mlx5_2 before mlx5_10


@pytest.mark.parametrize(
    ("name", "hca"),
    [
        (
            "ibv_devinfo_mixed_tabs.txt",
            Hca(
                name="mlx5_0",
                fw_version="28.43.2026",
                board_id="MT_0000000844",
                node_guid="a088:c203:00c1:0010",
                vendor_part_id=4129,
                transport="InfiniBand",
            ),
        ),
        (
            "ibv_devinfo_two_ports_padded.txt",
            Hca(
                name="mlx4_1",
                fw_version="2.42.5000",
                board_id="HP_1370110017",
                node_guid="f452:1403:0077:01a0",
                vendor_part_id=4103,
                transport="InfiniBand",
            ),
        ),
        (
            "ibv_devinfo_verbose_roce.txt",
            Hca(
                name="mlx5_bond_0",
                fw_version="28.43.2026",
                board_id="MT_0000000844",
                node_guid="08c0:eb03:00d2:11a8",
                vendor_part_id=4129,
                transport="InfiniBand",
                bond=True,
            ),
        ),
        (
            "ibv_devinfo_efa.txt",
            Hca(
                name="rdmap16s27",
                fw_version="0.0.0.0",
                node_guid="0000:0000:007d:960a",
                vendor_part_id=61345,
                transport="unspecified",
            ),
        ),
        (
            "ibv_devinfo_omnipath_rxe.txt",
            Hca(
                name="hfi1_0",
                fw_version="1.27.0",
                board_id="Intel Omni-Path Host Fabric Interface Adapter 100 Series",
                node_guid="0011:7501:0171:5ce5",
                vendor_part_id=9456,
                transport="InfiniBand",
            ),
        ),
        ("ibv_devinfo_grep.txt", Hca(name="mlx5_8")),
        (
            "ibstat_several.txt",
            Hca(name="mlx5_2", fw_version="22.42.1000", node_guid="0x1070fd0300ee2202", vendor_part_id=4125),
        ),
        ("ibstat_several.txt", Hca(name="mthca0", fw_version="1.2.0", node_guid="0x0002c90200245cf8")),
        ("ibdev2netdev.txt", Hca(name="mlx5_bond_0", bond=True)),
        (
            "ibdev2netdev_verbose.txt",
            Hca(name="mlx5_3", fw_version="22.42.1000", vendor_part_id=4126, pci_bus_id="0000:9a:00.1"),
        ),
        ("ibv_devices.txt", Hca(name="mlx5_10", node_guid="a088c2030011223a")),
        ("rdma_dev.txt", Hca(name="mlx5_10", fw_version="22.39.1002", node_guid="a088:c203:0011:223a")),
        (
            "sysfs_paths.txt",
            Hca(
                name="mlx5_0",
                fw_version="28.42.1000",
                board_id="MT_0000000838",
                node_guid="a088:c203:0011:2230",
                numa_node=1,
            ),
        ),
        ("sysfs_paths.txt", Hca(name="mlx5_10")),
    ],
)
def test_devices(name: str, hca: Hca) -> None:
    found = {found.name: found.with_(ports=()) for found in only(name).hcas}
    assert found[hca.name] == hca


def test_gids_of_ibv_devinfo() -> None:
    port = only("ibv_devinfo_verbose_roce.txt").hcas[0].ports[0]
    assert port.phys_state == "LINK_UP"
    assert port.gids == (
        Gid(index=0, gid="fe80:0000:0000:0000:5e25:73ff:fe42:7d06", type="RoCE v1"),
        Gid(index=1, gid="fe80::5e25:73ff:fe42:7d06", type="RoCE v2"),
        Gid(index=2, gid="0000:0000:0000:0000:0000:ffff:c0a8:6411", type="RoCE v1"),
        Gid(index=3, gid="::ffff:192.168.100.17", type="RoCE v2"),
    )


def test_gids_of_show_gids() -> None:
    roce, infiniband = (hca.ports[0].gids for hca in only("show_gids.txt").hcas)
    assert [(gid.index, gid.type, gid.netdev) for gid in roce] == [
        (0, "RoCE v1", "ens1np0"),
        (1, "RoCE v2", "ens1np0"),
        (2, "RoCE v1", "ens1np0"),
        (3, "RoCE v2", "ens1np0"),
    ]
    assert infiniband == (Gid(index=0, gid="fe80:0000:0000:0000:946d:ae03:00b1:77c2"),)  # v1 without interface


def test_gid_of_ibstatus_is_the_first() -> None:
    assert only("ibstatus.txt").hcas[0].ports[0].gids == (Gid(index=0, gid="fe80:0000:0000:0000:946d:ae03:00b1:77c2"),)


def test_a_cut_tail_keeps_what_is_whole() -> None:
    whole, cut = only("ibv_devinfo_truncated.txt").hcas
    assert (whole.name, whole.ports[0].lid) == ("mlx5_0", 12)
    assert cut == Hca(name="mlx5_1", fw_version="28.43.2026", node_guid="1070:fd03:0088:2211", transport="InfiniBand")


@pytest.mark.parametrize("length", range(1, 700, 23))
def test_a_text_cut_anywhere_invents_nothing(length: int) -> None:
    text = (DATA / "ibstat_several.txt").read_text()
    whole = {hca.name: hca for hca in only("ibstat_several.txt").hcas}
    try:
        (host,) = read_captured(text[: text.index("CA 'mlx5_1'") + length], "cut")
    except ValueError:
        pytest.fail("cut text was not read")
    assert {hca.name for hca in host.hcas} <= set(whole)
    assert host.hcas[0] == whole["mlx5_0"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("active_width: invalid width (0)\nactive_speed: invalid speed (0)", None),
        ("active_width: 4X (2)", None),
        ("active_width: 1X (1)\nactive_speed: 2.5 Gbps (1)", 2.5),
        ("active_width: 4X (2)\nactive_speed: 200.0 Gbps (256)\neffective_speed: 800.0 Gbps", 800.0),
    ],
)
def test_rate_from_width_and_speed(text: str, expected: float | None) -> None:
    (host,) = read_captured(f"hca_id: mlx5_0\nport: 1\nstate: PORT_ACTIVE (4)\n{text}\n", "x")
    assert host.hcas[0].ports[0].rate_gbps == expected


def test_joined_lines_read_the_same() -> None:
    text = "hca_id: mlx5_0 node_guid: 0015:5dff:fe33:ff56 board_id: MT_0 phys_port_cnt: 1 port: 1 state: PORT_DOWN (1)"
    (host,) = read_captured(f"{text} active_mtu: 2048 (4) port_lid: 9 link_layer: InfiniBand", "x")
    port = Port(port=1, state=DOWN, link_layer=IB, active_mtu=2048, lid=9)
    assert host.hcas == (Hca(name="mlx5_0", node_guid="0015:5dff:fe33:ff56", board_id="MT_0", ports=(port,)),)


def test_wrapped_values_stand_on_the_next_line() -> None:
    text = (
        "hca_id: mlx5_0\n  transport:   InfiniBand (\n0)\n  node_guid:   506b:4b03:00b1\n:7cae\n  hw_ver:\n   0x0\n"
        "  port:  1\n  state:\n   PORT_ACTIVE (4)\n  active_mtu:\n 4096 (5)\n  link_layer:\n  Ethernet\n\nThanks\n"
    )
    (host,) = read_captured(text, "x")
    port = Port(port=1, state=ACTIVE, active_mtu=4096, link_layer=ETH)
    assert host.hcas == (Hca(name="mlx5_0", transport="InfiniBand", node_guid="506b:4b03:00b1:7cae", ports=(port,)),)


def test_filtered_ports_count_from_one() -> None:
    (host,) = read_captured("hca_id: mlx4_0\n link_layer: InfiniBand\n link_layer: Ethernet\n", "x")
    assert [(port.port, port.link_layer) for port in host.hcas[0].ports] == [(1, IB), (2, ETH)]


def test_ibstat_of_one_port_only() -> None:
    text = "CA: 'mlx5_0'\nPort 2:\nState: Active\nPhysical state: LinkUp\nRate: 56\nBase lid: 7\nSM lid: 1\n"
    (host,) = read_captured(text, "x")
    port = Port(port=2, state=ACTIVE, phys_state="LinkUp", rate_gbps=56.0, lid=7, sm_lid=1)
    assert host.hcas == (Hca(name="mlx5_0", ports=(port,)),)


def test_ibstat_with_remarks_and_a_lower_case_port() -> None:
    text = (
        "CA 'mlx5_0'\n  port 1:\n    State:          Active      <- must be so\n"
        "    Physical state: LinkUp    # trained\n    Rate:           200 (Gb/s)\n    Base lid:   12\t// from the SM\n"
        "    Link layer:     InfiniBand   <- not Ethernet\n"
    )
    (host,) = read_captured(text, "x")
    port = Port(port=1, state=ACTIVE, phys_state="LinkUp", rate_gbps=200.0, lid=12, link_layer=IB)
    assert host.hcas == (Hca(name="mlx5_0", ports=(port,)),)


def test_joined_lines_of_ibstat() -> None:
    (host,) = read_captured("CA 'mlx5_0' Port 1: State: Down Rate: 10 CA 'mlx5_1' Port 1: State: Active Rate: 40", "x")
    assert [(hca.name, hca.ports[0].state, hca.ports[0].rate_gbps) for hca in host.hcas] == [
        ("mlx5_0", DOWN, 10.0),
        ("mlx5_1", ACTIVE, 40.0),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "ibdev2netdevmlx5_0 port 1 ==> ens1 (Up)mlx5_1 port 1 ==> ens2 (Down)",
        "mlx5_0 port 1 ==> ens1 (Up) mlx5_1 port 1 ==> ens2 (Down)",
        "link mlx5_0/1 state ACTIVE netdev ens1link mlx5_1/1 state DOWN netdev ens2",
        "link mlx5_0/1 lid 7 sm_lid 1 lmc 0\n\tstate ACTIVE physical_state LINK_UP netdev ens1\n"
        "link mlx5_1/1 lid 8 sm_lid 1 lmc 0\n\tstate DOWN physical_state POLLING netdev ens2\n",
    ],
)
def test_lost_and_added_line_ends(text: str) -> None:
    (host,) = read_captured(text, "x")
    assert [(hca.name, hca.ports[0].netdev) for hca in host.hcas] == [("mlx5_0", "ens1"), ("mlx5_1", "ens2")]


def test_an_empty_gid_is_none() -> None:
    zero = ":".join(["0000"] * 8)
    text = f"Infiniband device 'mlx5_0' port 1 status:\n\tdefault gid:\t {zero}\n\tstate:\t 4: ACTIVE\n"
    (host,) = read_captured(text, "x")
    assert host.hcas[0].ports[0].gids == ()


def test_a_list_of_devices_with_their_values() -> None:
    (host,) = read_captured("mlx5_3 pci=0000:ce:00.1 numa=1 state=4: ACTIVE phys_state=5: LinkUp\n", "x")
    port = Port(port=1, state=ACTIVE, phys_state="LinkUp")
    assert host.hcas == (Hca(name="mlx5_3", pci_bus_id="0000:ce:00.1", numa_node=1, ports=(port,)),)


def test_sysfs_with_headings_and_links() -> None:
    base = "/sys/class/infiniband/mlx5_1/ports/1"
    link = "mlx5_1 -> ../../devices/pci0000:16/0000:16:02.0/0000:17:00.0/infiniband/mlx5_1"
    text = f"==> {base}/state <==\n4: ACTIVE\n\n==> {base}/rate <==\n100 Gb/sec (2X HDR)\n\n{link}\n"
    (host,) = read_captured(text, "x")
    port = Port(port=1, state=ACTIVE, rate_gbps=100.0)
    assert host.hcas == (Hca(name="mlx5_1", pci_bus_id="0000:17:00.0", ports=(port,)),)


PLAIN = (
    "CA 'mlx5_4'\nCA type: MT4123\nNumber of ports: 1\nNode GUID: 0xaa00bb0000001234\nPort 1:\nState: Active\n"
    "Physical state: LinkUp\nRate: 200\nBase lid: 31\nSM lid: 2\nLink layer: InfiniBand\n"
)


@pytest.mark.parametrize(
    "text",
    [
        PLAIN + "\nYou want to see 'State: Active' and 'Physical state: LinkUp' here.\n\nRate: of the port\n",
        PLAIN + "Other hosts show State: Down, or Port 2: State: Down where there are two.\n",
        PLAIN.replace("0001234\n", "0001234   # of the node\n"),
        PLAIN.replace("Rate", "# trained by hand\nRate").replace("Base", "        # from the rdma tools' SM\n\nBase"),
        PLAIN + "server:\n  port 443: open\n",
    ],
)
def test_what_people_write_about_an_output_adds_nothing_to_it(text: str) -> None:
    (host,) = read_captured(text, "x")
    port = Port(port=1, state=ACTIVE, phys_state="LinkUp", rate_gbps=200.0, lid=31, sm_lid=2, link_layer=IB)
    assert host == Host(
        host=None,
        hcas=(Hca(name="mlx5_4", node_guid="0xaa00bb0000001234", vendor_part_id=4123, ports=(port,)),),
    )


@pytest.mark.parametrize("count", ["        phys_port_cnt:   1\n", ""])
def test_a_port_of_something_else_is_none_of_the_device(count: str) -> None:
    text = (
        f"hca_id: mlx5_7\n{count}    port:   1\n        state:    PORT_ACTIVE (4)\n        link_layer: Ethernet\n\n"
        "access_points: ['node0']\nport: 10001\nstate: PORT_DOWN\n"
    )
    (host,) = read_captured(text, "x")
    assert [(port.port, port.state, port.link_layer) for port in host.hcas[0].ports] == [(1, ACTIVE, ETH)]


def test_headings_between_outputs_are_no_remarks() -> None:
    text = "# rack-a1\n{0}# rack-a2\n{1}# rack-a3\nibstat\n{2}"
    guids = ("0001234", "0005678", "0009abc")
    hosts = read_captured(text.format(*(PLAIN.replace("0001234", guid) for guid in guids)), "x")
    assert [host.host for host in hosts] == ["rack-a1", "rack-a2", "rack-a3"]


def test_a_list_of_names_with_pci_domains() -> None:
    names = ["ibP16p3s0", "ibp3s0", "roceP22p1s0f0", "rdmaP9p0s2", "roceo1"]
    (host,) = read_captured("\n".join(names), "x")
    assert [hca.name for hca in host.hcas] == names


@pytest.mark.parametrize(
    "text",
    [
        "$ ibv_devinfo -l\n2 HCAs found:\n\tmlx5_0\n\tmlx5_bond_0\n\n",
        "# ibv_devinfo --list\n#  2 HCAs found:\n#    mlx5_0\n#    mlx5_bond_0\nthe second one bonds two ports\n",
        "[me@gpu1 ~]$ ibstat -l\nmlx5_0\nmlx5_bond_0\n",
        "mlx5_0\nmlx5_bond_0\n",
    ],
)
def test_bare_lists_of_devices(text: str) -> None:
    (host,) = read_captured(text, "x")
    assert host.hcas == (Hca(name="mlx5_0"), Hca(name="mlx5_bond_0", bond=True))


def test_an_empty_list_is_a_host_without_devices() -> None:
    assert read_captured("$ ibv_devinfo -l\n0 HCAs found:\n", "x") == (Host(host=None),)


def test_a_summary_in_place_of_a_status() -> None:
    (host,) = read_captured("Infiniband device 'mlx5_3' port 1 status: active\n", "x")
    assert host.hcas == (Hca(name="mlx5_3", ports=(Port(port=1, state=ACTIVE),)),)


def test_an_unknown_physical_state_is_none() -> None:
    (host,) = read_captured("CA 'i40iw0'\n\tPort 1:\n\t\tState: Down\n\t\tPhysical state: <unknown>\n", "x")
    assert host.hcas[0].ports == (Port(port=1, state=DOWN),)


def test_no_devices_is_a_host_without_any() -> None:
    assert read_captured("root@dgx9:~# ibv_devinfo\nNo IB devices found\n", "x") == (Host(host="dgx9"),)


def test_ports_without_a_name_are_told_in_words() -> None:
    (host,) = read_captured("Port 1:\nState: Active\nRate: 400\nLink layer: InfiniBand\n", "x")
    assert (host.hcas, host.facts) == ((), ((UNNAMED_PORTS, "1 ACTIVE InfiniBand 400.0"),))


@pytest.mark.parametrize("text", ["", "hello\n", "gpu05:17:17 [0] NCCL INFO NET/IB : Using [0]mlx5_0:1/IB\n"])
def test_what_is_no_such_output_is_refused(text: str) -> None:
    with pytest.raises(ParseError, match=r"^some/file\.txt: .*ibv_devinfo, ibstat, .*topo -m"):
        read_captured(text, "some/file.txt")
