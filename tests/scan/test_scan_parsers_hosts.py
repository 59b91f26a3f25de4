"""Several hosts in one text, several outputs of one host: which says what of whom."""

from __future__ import annotations

import itertools
import pathlib
import time

import pytest

from ncclprobe.names import LinkLayer, PortState
from ncclprobe.records.scan import Gid, Gpu, Hca, Host, Port
from ncclprobe.scan.parsers import merge_hosts, read_captured

DATA = pathlib.Path(__file__).parent.parent / "data" / "scan"
GPU0 = "\tGPU0\tmlx5_0\tCPU Affinity\tNUMA Affinity\nGPU0\t X \tPIX\t0-7\t{}\n"


def devinfo(host: int, *names: str) -> str:
    return "".join(
        f"hca_id:\t{name}\n\tnode_guid:\t0000:00{host:02d}:0000:{n:04d}\n\t\tport:\t1\n\t\t\tstate:\tPORT_DOWN (1)\n\n"
        for n, name in enumerate(names)
    )


def netdevs(interface: str, state: str = "Up") -> str:
    return f"mlx5_0 port 1 ==> {interface}0 ({state})\nmlx5_1 port 1 ==> {interface}1 (Up)\n"


def labelled(label: str, text: str) -> str:
    return "".join(f"{label}{line}\n" for line in text.splitlines())


ONE, TWO = devinfo(1, "mlx5_0", "mlx5_1"), devinfo(2, "mlx5_0", "mlx5_1")


def shown(text: str) -> list[tuple[str | None, list[str]]]:
    return [(host.host, [hca.name for hca in host.hcas]) for host in read_captured(text, "x")]


BOTH = ["mlx5_0", "mlx5_1"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (ONE, [None]),
        (ONE + ONE, [None]),
        (ONE + TWO, [None, None]),
        (ONE + TWO + ONE, [None, None]),
        (ONE + devinfo(2, "mlx5_1", "mlx5_0"), [None, None]),
        ("## Buzz\n\n" + ONE + "## Neil\n\n" + TWO, [None, None]),
        ("=== dgx001 ===\n" + ONE + "=== dgx002 ===\n" + TWO, ["dgx001", "dgx002"]),
        ("HOST=dgx1\n== ibv_devinfo ==\n" + ONE + "HOST=dgx2\n== ibv_devinfo ==\n" + TWO, ["dgx1", "dgx2"]),
        ("--------\ndgx1\n--------\n" + ONE + "--------\ndgx2\n--------\n" + TWO, ["dgx1", "dgx2"]),
        ("dgx1 | CHANGED | rc=0 >>\n" + ONE + "dgx2 | CHANGED | rc=0 >>\n" + TWO, ["dgx1", "dgx2"]),
        ("==> dgx1/ibv_devinfo.txt <==\n" + ONE + "\n==> dgx2/ibv_devinfo.txt <==\n" + TWO, ["dgx1", "dgx2"]),
        ("me@dgx1:~$ ibv_devinfo\n" + ONE + "me@dgx2:~$ ibv_devinfo\n" + TWO, ["dgx1", "dgx2"]),
        ("$ ssh dgx1 ibv_devinfo\n" + ONE + "$ ssh dgx2 ibv_devinfo\n" + TWO, ["dgx1", "dgx2"]),
        ("$ srun -w dgx1 ibv_devinfo\n" + ONE + "$ srun -w dgx2 ibv_devinfo\n" + TWO, ["dgx1", "dgx2"]),
        ("$ hostname\ndgx1\n$ ibv_devinfo\n" + ONE, ["dgx1"]),
        (labelled("0: ", ONE) + labelled("1: ", TWO), [None, None]),
        (labelled("0: ", ONE) + labelled("1: ", ONE), [None]),
        (labelled("[1,0]<stdout>:", ONE) + labelled("[1,1]<stdout>:", TWO), [None, None]),
        (labelled("dgx1: ", ONE) + labelled("dgx2: ", TWO), ["dgx1", "dgx2"]),
        (labelled("dgx1: ", netdevs("ib")) + labelled("dgx2: ", netdevs("ib")), ["dgx1", "dgx2"]),
        (labelled("0: ", netdevs("ib")) + labelled("1: ", netdevs("ib")), [None, None]),
        ("me@dgx1:~$ ibdev2netdev\n" + netdevs("ib") + "me@dgx2:~$ ibdev2netdev\n" + netdevs("ib"), ["dgx1", "dgx2"]),
        ("Node 1:\n" + netdevs("ib") + "Node 2:\n" + netdevs("ib"), ["Node 1", "Node 2"]),
        (netdevs("ib") + "Another node:\n\n" + netdevs("ib"), [None, None]),
        (netdevs("ib") + "Another node:\n\nme@dgx2:~$ ibdev2netdev\n" + netdevs("ib"), [None, "dgx2"]),
        ("HOST dgx-1 (server side)\n" + ONE + "HOST dgx-2 (client side)\n" + TWO, ["dgx-1", "dgx-2"]),
        (netdevs("ib") + netdevs("ib"), [None]),
        (netdevs("ib") + netdevs("ens"), [None, None]),
        ("me@dgx1:~$ ibv_devinfo\n" + ONE + "me@dgx1:~$ ibdev2netdev\n" + netdevs("ib"), ["dgx1"]),
        ("Output-1:\n" + ONE, [None]),
        ("== RHEL-9 ==\n" + ONE, [None]),
    ],
)
def test_hosts_are_told_apart(text: str, names: list[str | None]) -> None:
    assert shown(text) == [(name, BOTH) for name in names]


def test_lines_of_two_ranks_may_be_interleaved() -> None:
    lines = itertools.zip_longest(ONE.splitlines(), TWO.splitlines(), fillvalue="")
    text = "".join(f"0: {one}\n1: {two}\n" for one, two in lines)
    guids = [[hca.node_guid for hca in host.hcas] for host in read_captured(text, "x")]
    assert guids == [[f"0000:00{host:02d}:0000:{n:04d}" for n in range(2)] for host in (1, 2)]


def test_sample_of_two_hosts() -> None:
    hosts = read_captured((DATA / "ibv_devinfo_two_hosts.txt").read_text(), "x")
    assert [[hca.ports[0].lid for hca in host.hcas] for host in hosts] == [[40, 41, 42], [80, 81, 82]]


def test_several_tools_of_one_host_merge() -> None:
    text = (
        "$ ibv_devinfo\nhca_id:\tmlx5_0\n\tnode_guid:\t0000:0001:0000:0001\n\tboard_id:\tMT_1\n\t\tport:\t1\n"
        "\t\t\tstate:\tPORT_ACTIVE (4)\n\t\t\tactive_mtu:\t4096 (5)\n\t\t\tlink_layer:\tEthernet\n"
        "$ ibstat\nCA 'mlx5_0'\n\tCA type: MT4129\n\tNode GUID: 0x0000000100000001\n\tPort 1:\n\t\tRate: 400\n"
        "$ ibdev2netdev\nmlx5_0 port 1 ==> ens1 (Up)\n"
        "$ show_gids\nmlx5_0\t1\t3\t0000:0000:0000:0000:0000:ffff:0a00:0001\t10.0.0.1  \tv2\tens1\n"
        "$ nvidia-smi topo -m\n" + GPU0.format(1)
    )
    port = Port(
        port=1,
        state=PortState.ACTIVE,
        link_layer=LinkLayer.ETHERNET,
        rate_gbps=400.0,
        active_mtu=4096,
        netdev="ens1",
        gids=(Gid(index=3, gid="0000:0000:0000:0000:0000:ffff:0a00:0001", type="RoCE v2", netdev="ens1"),),
    )
    hca = Hca(name="mlx5_0", node_guid="0000:0001:0000:0001", board_id="MT_1", vendor_part_id=4129, ports=(port,))
    assert read_captured(text, "x") == (
        Host(host=None, hcas=(hca,), gpus=(Gpu(index=0, numa_node=1, nearest_hcas=("mlx5_0",)),)),
    )


def test_another_matrix_is_another_host() -> None:
    hosts = read_captured(GPU0.format(0) + "\n" + GPU0.format(1), "x")
    assert [[gpu.numa_node for gpu in host.gpus] for host in hosts] == [[0], [1]]


def hca(guid: str | None = None, **stated: object) -> Hca:
    return Hca(name="mlx5_0", node_guid=guid, ports=(Port(port=1, **stated),))


def test_merge_hosts_takes_what_the_first_does_not_state() -> None:
    one = Host(host=None, hcas=(hca("0001:0000:0000:0000", lid=7),), facts=(("memlock_kib", "unlimited"),))
    two = Host(host="login1", hcas=(hca("0x0001000000000000", state=PortState.ACTIVE),), gpus=(Gpu(index=0),))
    assert merge_hosts([one, two], name="dgx7") == (
        Host(
            host="dgx7",
            hcas=(hca("0001:0000:0000:0000", lid=7, state=PortState.ACTIVE),),
            gpus=(Gpu(index=0),),
            facts=(("memlock_kib", "unlimited"),),
        ),
    )


@pytest.mark.parametrize("rates", [(400.0, 800.0), (800.0, 400.0), (None, 800.0), (800.0, None)])
def test_an_xdr_port_that_an_old_ibv_devinfo_calls_ndr_has_the_rate_of_sysfs(rates: tuple[float | None, ...]) -> None:
    (merged,) = merge_hosts([Host(host=None, hcas=(hca("0001:0000:0000:0000", rate_gbps=rate),)) for rate in rates])
    assert merged.hcas[0].ports[0].rate_gbps == 800.0


def test_merge_hosts_keeps_a_name_and_sorts_naturally() -> None:
    hosts = [Host(host="dgx7", hcas=(Hca(name=f"mlx5_{n}"),)) for n in (10, 2, 1)]
    (merged,) = merge_hosts(hosts)
    assert (merged.host, [found.name for found in merged.hcas]) == ("dgx7", ["mlx5_1", "mlx5_2", "mlx5_10"])


def test_merge_hosts_never_mixes_what_contradicts() -> None:
    hosts = [Host(host=None, hcas=(hca(f"000{n}:0000:0000:0000"),)) for n in (1, 2)]
    assert merge_hosts(hosts) == tuple(hosts)


def test_thousands_of_hosts_in_one_file_take_seconds() -> None:
    record = "hca_id: mlx5_0\n\tnode_guid: 0000:{:04x}:00ad:0001\n\tport: 1\n\t\tstate: PORT_ACTIVE (4)\n\n"
    link = "[me@n{}-a ~]$ rdma link\nlink mlx5_0/1 state ACTIVE physical_state LINK_UP netdev ib{}\n"
    text = "".join(f"[me@n{n}-a ~]$ ibv_devinfo\n{record.format(n + 1)}" for n in range(3000))
    text += "".join(link.format(n, n) for n in range(3000))
    start = time.process_time()
    hosts = read_captured(text, "x")
    assert time.process_time() - start < 20
    assert [(host.host, host.hcas[0].ports[0].netdev) for host in hosts] == [(f"n{n}-a", f"ib{n}") for n in range(3000)]
