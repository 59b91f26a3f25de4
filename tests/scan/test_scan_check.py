"""What is found wrong with hosts, and that a healthy fleet gives no finding."""

from __future__ import annotations

import pytest
from scan_records import ACTIVE, ARMED, DOWN, ETH, INIT, gpu, hca, host, port, roce_gids, told_of

from ncclprobe.findings import Finding
from ncclprobe.hca_list import parse_selection
from ncclprobe.records.scan import Hca, Host
from ncclprobe.scan.check import check, judged

BOARD = {"board_id": "MT_0000000838", "fw_version": "28.39.3004", "rate_gbps": 400.0, "active_mtu": 4096, "sm_lid": 1}


def rails(count: int = 8, **odd: dict[str, object]) -> list[Hca]:
    """Return equal HCAs m0, m1, …, some of them with other values."""
    return [
        hca(f"m{number}", **(BOARD | {"numa_node": number // 4} | odd.get(f"m{number}", {}))) for number in range(count)
    ]


def virtual(name: str) -> Hca:
    return hca(name, state=DOWN, vendor_part_id=4126, **BOARD)


def by_netdev(*netdevs: str, state: object = ACTIVE) -> list[Hca]:
    return [hca(f"m_{netdev}", link_layer=None, state=state, netdev=netdev) for netdev in netdevs]


def node(
    name: str, *, count: int = 8, gpus: bool = True, facts: dict[str, str] | None = None, **odd: dict[str, object]
) -> Host:
    own = [gpu(index, f"m{index}", numa_node=index // 4, nvlinks=18, name="H200") for index in range(8 if gpus else 0)]
    known = {"memlock_kib": "unlimited", "gpudirect_rdma": "nvidia_peermem", "driver": "570.1", "kernel": "6.8"}
    return host(*rails(count, **odd), name=name, gpus=own, **(known | (facts or {})))


def of(findings: tuple[Finding, ...], code: str) -> list[tuple[str, str]]:
    return [(str(finding.severity), finding.subject) for finding in findings if finding.code == code]


def test_a_healthy_fleet_has_no_findings() -> None:
    assert check([node(f"n{number}") for number in range(1, 5)]) == ()
    assert judged([node(f"n{number}") for number in range(1, 5)]).findings == ()


# ---- ports


@pytest.mark.parametrize(
    ("state", "code", "severity"),
    [(DOWN, "port-down", "error"), (INIT, "port-init", "error"), (ARMED, "port-armed", "warning")],
)
def test_a_port_that_is_not_active_among_active_ones(state: object, code: str, severity: str) -> None:
    findings = check([node("n1"), node("n2", m3={"state": state}), node("n3")])
    assert of(findings, code) == [(severity, "n2/m3")]
    assert of(findings, "gpu-hca-inactive") == [("error", "n2/GPU3")]


def test_down_messages_say_where_it_is_active_and_why_it_is_not() -> None:
    (finding,) = [
        one
        for one in check([node("n1"), node("n2", m3={"state": DOWN, "phys_state": "Polling"})])
        if one.code == "port-down"
    ]
    assert finding.message == "DOWN (Polling), while it is ACTIVE on n1"
    assert "cable" in finding.hint


@pytest.mark.parametrize(
    ("hcas", "severity"),
    [
        (rails(8, m3={"state": DOWN}), "error"),
        (rails(3, m2={"state": DOWN}), "error"),
        (rails(2, m1={"state": DOWN}), "info"),
        ([hca("m0", port(1), port(2, state=DOWN)), hca("m1", port(1), port(2, state=DOWN))], "info"),
        ([*rails(4), hca("mgmt", link_layer=ETH, state=DOWN)], "info"),
        # A virtual function, which is DOWN until somebody sets its state.
        ([*rails(4, **{f"m{n}": {"vendor_part_id": 4129} for n in range(4)}), virtual("m4")], "info"),
        # As rdma link shows them: neither link layer nor board, but network interfaces.
        ([*by_netdev("ibp24s0", "ibp64s0", "ibp79s0"), *by_netdev("enp41s0f1np1", state=DOWN)], "info"),
        ([*by_netdev("ibp24s0", "ibp64s0", "enp41s0f0np0"), *by_netdev("ibp79s0", state=DOWN)], "error"),
        # Second functions of two-port HCAs, of which only the first is cabled.
        (
            [hca(f"m{n}", state=DOWN if n % 2 else ACTIVE, pci_bus_id=f"0000:{n // 2}b:00.{n % 2}") for n in range(6)],
            "info",
        ),
    ],
)
def test_down_on_a_single_node_is_judged_by_its_kind(hcas: list[Hca], severity: str) -> None:
    assert {one for one, _ in of(check([host(*hcas)]), "port-down")} == {severity}


def test_ports_that_are_down_on_every_node_are_told_once_and_as_info() -> None:
    down = {"m7": {"state": DOWN}}
    assert of(check([node(f"n{n}", gpus=False, **down) for n in range(1, 5)]), "port-down") == [("info", "n[1-4]/m7")]


def test_unknown_states() -> None:
    assert told_of(check([host(hca("m0", state=None), hca("m1", state=None))])) == {
        ("warning", "port-state-unknown", "node")
    }


@pytest.mark.parametrize(
    ("odd", "code", "severity", "subject", "words"),
    [
        ({"rate_gbps": 200.0}, "rate-below-majority", "error", "n2/m3", "200 Gbit/s where most nodes have 400"),
        ({"rate_gbps": 200.0, "board_id": "X"}, "rate-below-majority", "warning", "n2/m3", "another board"),
        ({"active_mtu": 2048}, "mtu-differs", "warning", "n2", "MTU 2048 on m3 where most rails have 4096"),
        ({"fw_version": "28.36.1010"}, "firmware-differs", "warning", "n2", "28.36.1010 on m3"),
        (
            {"board_id": "X", "fw_version": None},
            "board-differs",
            "warning",
            "n2/m3",
            "X where most nodes have MT_0000000838",
        ),
        ({"sm_lid": 9}, "rail-subnet-differs", "warning", "m3:1", "LID 1 on n[1,3]; LID 9 on n2"),
        ({"sm_lid": 9}, "several-subnets", "info", "n2", "2 subnets"),
    ],
)
def test_the_odd_one_out(odd: dict[str, object], code: str, severity: str, subject: str, words: str) -> None:
    findings = check([node("n1"), node("n2", m3=odd), node("n3")])
    assert of(findings, code) == [(severity, subject)]
    assert words in next(one.message for one in findings if one.code == code)


@pytest.mark.parametrize(
    ("odd", "severity"), [({"rate_gbps": 200.0}, "warning"), ({"rate_gbps": 200.0, "board_id": "X"}, "info")]
)
def test_a_slower_port_beside_its_likes(odd: dict[str, object], severity: str) -> None:
    assert of(check([host(*rails(8, m3=odd))]), "rate-below-majority") == [(severity, "m3")]


def test_management_ports_of_roce_nodes_are_nobodys_concern() -> None:
    fast = [
        hca(f"m{n}", link_layer=ETH, rate_gbps=400.0, active_mtu=4096, gids=roce_gids(3), board_id="A")
        for n in range(8)
    ]
    slow = [hca(f"s{n}", link_layer=ETH, rate_gbps=25.0, active_mtu=1024, board_id="B") for n in range(2)]
    assert check([host(*fast, *slow)]) == ()


# ---- HCAs, GPUs and limits


def test_ports_without_a_name_are_told() -> None:
    (finding,) = check([host(unnamed_ports="1 ACTIVE InfiniBand")])
    assert (finding.severity, finding.code) == ("warning", "hca-unnamed")
    assert "(1 ACTIVE InfiniBand)" in finding.message
    assert check([host(hca("m0"), unnamed_ports="1 ACTIVE InfiniBand")]) == ()


def test_an_hca_that_a_node_lacks() -> None:
    findings = check([node("n1"), node("n2", count=7), node("n3")])
    assert of(findings, "hca-missing") == [("error", "n2")]
    assert of(findings, "gpu-hca-missing") == [("error", "n2/GPU7")]
    assert "has 7 HCAs where 8 are usual; lacks m7" in {one.message for one in findings}


def test_of_two_nodes_the_one_with_fewer_hcas_lacks_one() -> None:
    assert of(check([node("n1"), node("n2", count=7, gpus=False)]), "hca-missing") == [("error", "n2")]


def test_hcas_of_other_names_are_not_fewer() -> None:
    pods = [host(*(hca(f"m{number}") for number in numbers), name=f"p{numbers[0]}") for numbers in ((6, 15), (8, 18))]
    missing = {one.subject: one for one in check(pods) if one.code == "hca-missing"}
    assert missing["p6"].message == "none of its 2 HCAs is called m8, m18, as those of other nodes are"
    assert "persistent naming" in missing["p8"].hint


def test_an_hca_that_most_nodes_have_not() -> None:
    findings = check([node("n1"), node("n2", count=9), node("n3")])
    assert told_of(findings) == {("warning", "hca-unexpected", "n2")}


def test_numbering_that_differs() -> None:
    moved = node("n2", m0={"pci_bus_id": "0000:9a:00.0"})
    usual = [node(name, m0={"pci_bus_id": "0000:1a:00.0"}) for name in ("n1", "n3")]
    assert told_of(check([*usual, moved])) == {("warning", "hca-pci-differs", "n2/m0")}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"nvlinks": 17}, ("error", "nvlink-missing", "n1/GPU2")),
        ({"numa_node": 1}, ("warning", "numa-mismatch", "n1/GPU2")),
        ({"nearest_hcas": ()}, ("warning", "gpu-without-near-hca", "n1/GPU2")),
        ({"nearest_hcas": ("m77",)}, ("error", "gpu-hca-missing", "n1/GPU2")),
    ],
)
def test_a_gpu_unlike_the_others(changed: dict[str, object], expected: tuple[str, str, str]) -> None:
    one = node("n1")
    gpus = tuple(gpu.with_(**changed) if gpu.index == 2 else gpu for gpu in one.gpus)
    assert told_of(check([one.with_(gpus=gpus)])) == {expected}


def test_gpus_that_differ_between_nodes() -> None:
    fewer, other = node("n2"), node("n3")
    fewer = fewer.with_(gpus=fewer.gpus[:7])
    other = other.with_(gpus=tuple(gpu.with_(name="H100") for gpu in other.gpus))
    assert told_of(check([node("n1"), fewer, other, node("n4")])) == {
        ("error", "gpu-missing", "n2"),
        ("warning", "gpu-model-differs", "n3"),
    }


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"gpudirect_rdma": "none"}, ("error", "no-gpudirect-rdma", "n1")),
        ({"memlock_kib": "8192"}, ("error", "low-memlock", "n1")),
        ({"memlock_kib": "16777216"}, ("warning", "low-memlock", "n1")),
        ({"iommu": "DMA-FQ"}, ("warning", "iommu-translates", "n1")),
        ({"acs_redirecting_bridges": "3 of 12"}, ("warning", "acs-enabled", "n1")),
        ({"pcie_width:m3": "8 of 16"}, ("warning", "pcie-width-reduced", "n1/m3")),
    ],
)
def test_limits(facts: dict[str, str], expected: tuple[str, str, str]) -> None:
    assert told_of(check([node("n1", facts=facts)])) == {expected}


@pytest.mark.parametrize("facts", [{"iommu": "identity"}, {"iommu": "off"}, {"acs_redirecting_bridges": "0 of 12"}])
def test_limits_that_are_fine(facts: dict[str, str]) -> None:
    assert check([node("n1", facts=facts)]) == ()


def test_limits_do_not_matter_without_hcas() -> None:
    assert check([host(name="vm", memlock_kib="8192", gpudirect_rdma="none")]) == ()


@pytest.mark.parametrize(
    ("facts", "code", "severity"),
    [
        ({"driver": "535.1"}, "driver-differs", "warning"),
        ({"kernel": "5.15"}, "kernel-differs", "info"),
        ({"gpudirect_rdma": "nvidia_peermem,dma-buf"}, "gpudirect-differs", "warning"),
    ],
)
def test_software_that_differs(facts: dict[str, str], code: str, severity: str) -> None:
    assert told_of(check([node("n1"), node("n2", facts=facts), node("n3")])) == {(severity, code, "n2")}


# ---- NCCL_IB_HCA in the environment


@pytest.mark.parametrize(
    ("value", "hca_name", "port_number", "taken"),
    [
        ("mlx5_1", "mlx5_1", 1, True),
        ("mlx5_1", "mlx5_10", 1, True),
        ("=mlx5_1", "mlx5_10", 1, False),
        ("mlx5_1:1", "mlx5_10", 1, True),
        ("mlx5_1:1", "mlx5_10", 2, False),
        ("=mlx5_1:1,mlx5_2", "mlx5_2", 2, True),
        ("^mlx5_1", "mlx5_10", 1, False),
        ("^=mlx5_1", "mlx5_10", 1, True),
        ("^=mlx5_1", "mlx5_1", 1, False),
        ("mlx5", "mlx5_7", 1, True),
    ],
)
def test_selection(value: str, hca_name: str, port_number: int, taken: bool) -> None:
    assert parse_selection(value).matches(hca_name, port_number) is taken


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("=m0,m3", set()),
        ("m0,m1,m10,m11", set()),
        ("m", {("warning", "ib-hca-mixed", "n1/NCCL_IB_HCA")}),
        ("m0,m1", {("warning", "ib-hca-prefix", "n1/NCCL_IB_HCA")}),
        ("^m1", {("warning", "ib-hca-prefix", "n1/NCCL_IB_HCA"), ("warning", "ib-hca-mixed", "n1/NCCL_IB_HCA")}),
        ("=m0,m77", {("error", "ib-hca-absent", "n1/NCCL_IB_HCA")}),
        ("=m0:2", {("error", "ib-hca-absent", "n1/NCCL_IB_HCA")}),
        ("^m77", {("warning", "ib-hca-absent", "n1/NCCL_IB_HCA"), ("warning", "ib-hca-mixed", "n1/NCCL_IB_HCA")}),
        ("=m0,m5", {("error", "ib-hca-inactive", "n1/NCCL_IB_HCA")}),
        ("=m5", {("error", "ib-hca-inactive", "n1/NCCL_IB_HCA")}),
        ("=m0,m7", {("warning", "ib-hca-mixed", "n1/NCCL_IB_HCA")}),
    ],
)
def test_variable_in_the_environment(value: str, expected: set[tuple[str, str, str]]) -> None:
    odd = {"m5": {"state": DOWN}, "m7": {"link_layer": ETH}}
    one = node("n1", count=12, gpus=False, facts={"NCCL_IB_HCA": value}, **odd)
    assert {told for told in told_of(check([one])) if "NCCL" in told[2]} == expected


def test_variables_that_differ_between_nodes() -> None:
    hosts = [node(f"n{number}", facts={"NCCL_DEBUG": "INFO"} if number == 2 else {}) for number in (1, 2, 3)]
    assert told_of(check(hosts)) == {("warning", "env-differs", "n2/NCCL_DEBUG")}
    assert not check([node(f"n{number}", facts={"NCCL_HOSTID": f"n{number}"}) for number in (1, 2, 3)])


def test_unnamed_hosts_are_told_apart() -> None:
    findings = judged([host(hca("m0"), hca("m1")), host(hca("m0"), hca("m1", state=DOWN))]).findings
    assert ("error", "port-down", "host2/m1") in told_of(findings)


def test_the_worst_comes_first() -> None:
    findings = judged([node("n1"), node("n2", m3={"state": DOWN}, m4={"fw_version": "1.0"}), node("n3")]).findings
    order = ["info", "warning", "error"]
    assert [order.index(one.severity) for one in findings] == sorted(
        (order.index(one.severity) for one in findings), reverse=True
    )
