"""Which ports are recommended, under which names, and what is left out."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scan_records import ACTIVE, ARMED, DOWN, ETH, IB, INIT, hca, host, port, roce_gids, told_of

from ncclprobe.names import LinkLayer
from ncclprobe.records.scan import Gid, Hca, Host
from ncclprobe.scan.rails import main_rate, unserved, usable
from ncclprobe.scan.recommend import recommend

TWELVE = [hca(f"mlx5_{number}", link_layer=ETH if number in (2, 8) else IB) for number in range(12)]
TEN = "=mlx5_0,mlx5_1,mlx5_3,mlx5_4,mlx5_5,mlx5_6,mlx5_7,mlx5_9,mlx5_10,mlx5_11"


def env(*hosts: Host) -> dict[str, str]:
    return {variable.name: variable.value for variable in recommend(hosts).env}


def test_ethernet_among_twelve_is_left_out() -> None:
    advice = recommend([host(*TWELVE)])
    assert [(variable.name, variable.value) for variable in advice.env] == [("NCCL_IB_HCA", TEN)]
    assert advice.env[0].reason == (
        "10 of 12 ports are ACTIVE InfiniBand rails; = matches exactly, without it mlx5_1 also takes mlx5_10, mlx5_11"
    )
    assert told_of(advice.findings) == {("warning", "ethernet-among-infiniband", "node")}
    assert "mlx5_2, mlx5_8" in advice.findings[0].message


def test_unknown_states_count_as_usable() -> None:
    without_states = [hca(one.name, link_layer=one.ports[0].link_layer, state=None) for one in TWELVE]
    assert env(host(*without_states)) == {"NCCL_IB_HCA": TEN}


@settings(max_examples=50, deadline=None)
@given(st.permutations(TWELVE))
def test_the_order_of_devices_does_not_matter(hcas: list[Hca]) -> None:
    assert env(host(*hcas)) == {"NCCL_IB_HCA": TEN}


@pytest.mark.parametrize(
    ("hcas", "value"),
    [
        ([hca("mlx5_0", state=DOWN), hca("mlx5_1")], "=mlx5_1"),
        ([hca("mlx5_0", state=INIT), hca("mlx5_1", state=ARMED), hca("mlx5_2")], "=mlx5_2"),
        ([hca("mlx4_0", port(1), port(2, state=DOWN))], "=mlx4_0:1"),
        ([hca("mlx4_0", port(1), port(2))], "=mlx4_0:1,mlx4_0:2"),
        ([hca("mlx4_0", port(1), port(2, link_layer=ETH)), hca("mlx4_1", port(1))], "=mlx4_0:1,mlx4_1"),
        ([hca("mlx5_ib0")], "=mlx5_ib0"),
        # The main rate first, and slower InfiniBand ports too: NCCL prefers the fast ones by itself.
        ([hca("a0", rate_gbps=100.0), hca("a1", rate_gbps=400.0), hca("a2", rate_gbps=400.0)], "=a1,a2,a0"),
        ([hca("mlx5_0", state=DOWN), hca("mlx5_1", link_layer=ETH)], "=mlx5_1"),
        ([hca("mlx5_0", state=INIT), hca("mlx5_1", link_layer=ETH)], "=mlx5_1"),
    ],
)
def test_value(hcas: list[Hca], value: str) -> None:
    assert env(host(*hcas)) == {"NCCL_IB_HCA": value}


@pytest.mark.parametrize(
    "hcas",
    [
        [],
        [Hca(name="mlx5_0")],
        [hca("hfi1_0")],
        [hca("efa_0", link_layer=LinkLayer.UNSPECIFIED)],
        [hca("rdmap16s27", vendor_part_id=0xEFA2, link_layer=LinkLayer.UNSPECIFIED)],
        [hca("rxe0", link_layer=ETH)],
        [hca("irdma0", link_layer=ETH, transport="iWARP")],
        [hca("mlx5_0", link_layer=None)],
        [hca("mlx5_0", state=DOWN)],
    ],
)
def test_nothing_is_recommended_without_grounds(hcas: list[Hca]) -> None:
    assert env(host(*hcas)) == {}


def test_a_port_with_a_subnet_manager_is_infiniband() -> None:
    advice = recommend([host(hca("m0", link_layer=None, sm_lid=1), hca("m1", link_layer=None, netdev="ens3"))])
    assert [variable.value for variable in advice.env] == ["=m0"]
    assert [(finding.code, finding.message[-2:]) for finding in advice.findings] == [("link-layer-unknown", "m1")]


@pytest.mark.parametrize(
    ("device", "words"),
    [
        (hca("hfi1_0"), "Omni-Path"),
        (hca("opap1s0", board_id="Omni-Path Host Fabric Adapter"), "Omni-Path"),
        (hca("efa_0"), "EFA"),
        (hca("rdmap16s27", vendor_part_id=0xEFA1), "EFA"),
        (hca("siw_eth0"), "software"),
        (hca("rocep0s9").with_(vendor_part_id=0), "software"),
        (hca("cxgb4_0", transport="iWARP"), "iWARP"),
        (hca("mlx5_0", transport="InfiniBand"), None),
        (hca("rdmaP36305p0s2", transport="InfiniBand"), None),
        (hca("bnxt_re0"), None),
    ],
)
def test_unserved(device: Hca, words: str | None) -> None:
    reason = unserved(device)
    assert reason is None if words is None else words in str(reason)


def test_unserved_hcas_are_named_with_their_reason() -> None:
    findings = recommend([host(hca("hfi1_0"), hca("mlx5_0"))]).findings
    assert told_of(findings) == {("info", "hca-not-served", "hfi1_0")}


# ---- RoCE


def roce(name: str, rate: float | None = 400.0, **given: object) -> Hca:
    return hca(name, **({"link_layer": ETH, "rate_gbps": rate, "gids": roce_gids(3)} | given))


def test_roce_gets_its_gid_index() -> None:
    assert env(host(roce("mlx5_0"), roce("mlx5_1"))) == {"NCCL_IB_HCA": "=mlx5_0,mlx5_1", "NCCL_IB_GID_INDEX": "3"}


def test_the_smallest_index_that_every_rail_has() -> None:
    hcas = [roce("mlx5_0", gids=roce_gids(3, 5, 7)), roce("mlx5_1", gids=roce_gids(5, 7))]
    assert env(host(*hcas))["NCCL_IB_GID_INDEX"] == "5"


@pytest.mark.parametrize(
    ("gids", "code"),
    [
        ((), "gid-index-unknown"),
        # ibstatus shows the first GID alone, and old tools no types.
        ((Gid(index=0, gid="fe80::1"),), "gid-index-unknown"),
        ((Gid(index=3, gid="::ffff:10.0.0.1"),), "gid-index-unknown"),
        (roce_gids(5), "gid-index-differs"),
        (roce_gids(), "gid-index-differs"),
    ],
)
def test_no_gid_index_without_agreement(gids: tuple[object, ...], code: str) -> None:
    other = roce("mlx5_0", gids=roce_gids(3) if gids else ())
    advice = recommend([host(other, roce("mlx5_1", gids=gids))])
    assert [variable.name for variable in advice.env] == ["NCCL_IB_HCA"]
    assert [finding.code for finding in advice.findings] == [code]


def test_the_rail_with_another_gid_index_is_told_first() -> None:
    odd = [roce(f"m{number}", gids=roce_gids(5 if number == 7 else 3)) for number in range(8)]
    (finding,) = recommend([host(*odd)]).findings
    assert finding.message.endswith("on every rail: 5 on m7; 3 on m0, m1, m2, m3 and 3 more")
    assert "shift theirs" in finding.hint


def test_rails_that_disagree_are_told_where_another_shows_no_gids() -> None:
    rails = (roce("m0", gids=roce_gids(3)), roce("m1", gids=roce_gids(5)), roce("m2", gids=()))
    (finding,) = recommend([host(*rails)]).findings
    assert finding.code == "gid-index-differs"
    assert finding.message.endswith("on every rail: 3 on m0; 5 on m1")


@pytest.mark.parametrize("gid", ["::", "::1"])
def test_a_gid_that_is_no_address_has_no_index(gid: str) -> None:
    empty = (*roce_gids(), Gid(index=3, gid=gid, type="RoCE v2"))
    assert "NCCL_IB_GID_INDEX" not in env(host(roce("m0", gids=empty), roce("m1", gids=empty)))


def test_a_fabric_of_ipv6_addresses_alone_has_an_index_too() -> None:
    gids = (
        *roce_gids(),
        Gid(index=2, gid="fc00:200::1", type="RoCE v1"),
        Gid(index=3, gid="fc00:200::1", type="RoCE v2"),
    )
    assert env(host(roce("m0", gids=gids), roce("m1", gids=gids)))["NCCL_IB_GID_INDEX"] == "3"
    assert "NCCL_IB_GID_INDEX" not in env(host(roce("m0", gids=gids), roce("m1", gids=roce_gids(5))))


def test_management_ports_are_left_out_by_rate() -> None:
    fast = [roce(f"mlx5_{number}") for number in range(8)]
    slow = [roce(f"mlx5_{number}", 100.0, gids=roce_gids(5)) for number in range(8, 12)]
    advice = recommend([host(*fast, *slow)])
    assert [variable.value for variable in advice.env] == ["=" + ",".join(one.name for one in fast), "3"]
    assert told_of(advice.findings) == {("info", "hca-left-out", one.name) for one in slow}


@pytest.mark.parametrize(
    ("hcas", "value"),
    [
        ([roce("mlx5_0"), roce("mlx5_1"), roce("mlx5_bond_0", bond=True)], "=mlx5_0,mlx5_1"),
        ([roce("mlx5_0"), roce("mlx5_bond_0", bond=True)], "=mlx5_0"),
        ([roce("mlx5_bond_0", bond=True)], "=mlx5_bond_0"),
        ([*(roce(f"mlx5_bond_{n}", bond=True) for n in (1, 2)), roce("mlx5_3", 25.0)], "=mlx5_bond_1,mlx5_bond_2"),
        ([*(roce(f"m{n}", None, board_id="A") for n in (0, 1, 2)), roce("m3", None, board_id="B")], "=m0,m1,m2"),
        ([*(roce(f"m{n}", 200.0, board_id="A") for n in (0, 1, 2)), roce("m3", 200.0, board_id="B")], "=m0,m1,m2,m3"),
        ([roce("m0", 400.0), roce("m1", None)], "=m0,m1"),
    ],
)
def test_roce_rails(hcas: list[Hca], value: str) -> None:
    assert env(host(*hcas))["NCCL_IB_HCA"] == value


@pytest.mark.parametrize(
    ("rates", "best"),
    [
        ([400, 400, 100, 100, 100, 100], 400),
        ([100] * 5 + [400], 100),
        ([100, 100, 200], 200),
        ([None], None),
        ([], None),
    ],
)
def test_main_rate_is_where_the_bandwidth_is(rates: list[float | None], best: float | None) -> None:
    rails = usable(host(*(roce(f"m{number}", rate) for number, rate in enumerate(rates))), ETH)
    assert main_rate(rails) == best


PF, VF = {"vendor_part_id": 4129, "board_id": "A"}, {"vendor_part_id": 4126, "board_id": "A"}


@pytest.mark.parametrize(
    ("hcas", "value"),
    [
        ([hca("m0", **PF), hca("m1", **PF), hca("m2", **VF)], "=m0,m1"),
        ([hca("m0", **(PF | {"board_id": "B"})), hca("m1", **VF)], "=m0,m1"),
        ([hca("m0", rate_gbps=100.0, **PF), hca("m1", rate_gbps=400.0, **VF)], "=m1,m0"),
        ([hca("m0", state=DOWN, **PF), hca("m1", **VF)], "=m1"),
        ([hca("m0", vendor_part_id=4129, fw_version="28.1"), hca("m1", vendor_part_id=4126, fw_version="28.1")], "=m0"),
        # More of a storage card's virtual functions than of rails, which are bonds.
        (
            [
                roce("m0", None, vendor_part_id=4125, board_id="A"),
                *(roce(f"m{n}", None, **VF) for n in range(1, 9)),
                *(roce(f"mlx5_bond_{n}", None, bond=True, vendor_part_id=4129, board_id="B") for n in (1, 2)),
            ],
            "=mlx5_bond_1,mlx5_bond_2",
        ),
    ],
)
def test_virtual_functions_beside_the_physical_ones_of_their_board_are_no_rails(hcas: list[Hca], value: str) -> None:
    assert env(host(*hcas))["NCCL_IB_HCA"] == value


def test_a_virtual_machine_has_virtual_functions_alone() -> None:
    assert env(host(hca("mlx5_ib0", **VF), hca("mlx5_ib1", **VF))) == {"NCCL_IB_HCA": "=mlx5_ib0,mlx5_ib1"}


# ---- fleets


def test_only_names_that_every_node_can_use() -> None:
    lost = [
        hca(one.name, state=DOWN if one.name == "mlx5_5" else ACTIVE, link_layer=one.ports[0].link_layer)
        for one in TWELVE
    ]
    advice = recommend([host(*TWELVE, name="dgx001"), host(*lost, name="dgx002")])
    assert advice.env[0].value == TEN.replace("mlx5_5,", "")
    assert "on all 2 nodes" in advice.env[0].reason
    assert told_of(advice.findings) == {
        ("warning", "ethernet-among-infiniband", "dgx[001-002]"),
        ("warning", "rail-not-on-every-node", "mlx5_5"),
    }


def test_a_roce_rail_that_trained_slower_on_one_node_stays_a_rail() -> None:
    def fleet(**odd: object) -> list[Host]:
        usual = [roce(f"m{number}", board_id="A") for number in range(4)]
        return [
            host(*usual, name="a"),
            host(*usual[:3], roce("m3", 200.0, **({"board_id": "A"} | odd)), name="b"),
            host(*usual, name="c"),
        ]

    assert env(*fleet())["NCCL_IB_HCA"] == "=m0,m1,m2,m3"
    assert recommend(fleet()).findings == ()
    assert env(*fleet(board_id="B"))["NCCL_IB_HCA"] == "=m0,m1,m2"


def test_a_rail_with_other_firmware_is_the_same_rail() -> None:
    a = host(roce("m0", fw_version="28.1"), roce("m1", fw_version="28.1"), name="a")
    b = host(roce("m0", fw_version="28.2"), roce("m1", 200.0, fw_version="28.2"), name="b")
    assert env(a, b)["NCCL_IB_HCA"] == "=m0,m1"


def test_a_rail_stays_one_where_the_node_s_others_trained_slower() -> None:
    a = host(*(roce(f"m{number}") for number in range(4)), name="a")
    b = host(roce("m0"), *(roce(f"m{number}", 200.0) for number in range(1, 4)), name="b")
    assert env(a, b)["NCCL_IB_HCA"] == "=m0,m1,m2,m3"


def test_management_ports_stay_out_where_a_node_has_nothing_else() -> None:
    management = roce("m4", 100.0, board_id="A")

    def node(name: str, state: object) -> Host:
        return host(*(roce(f"m{number}", board_id="A", state=state) for number in range(4)), management, name=name)

    advice = recommend([node("a", ACTIVE), node("b", DOWN)])
    assert advice.env == ()
    assert ("error", "no-common-hca", "fleet") in told_of(advice.findings)


def test_no_common_name_is_an_error() -> None:
    advice = recommend([host(hca("mlx5_0"), name="a"), host(hca("ibp1s0"), name="b")])
    assert advice.env == ()
    assert ("error", "no-common-hca", "fleet") in told_of(advice.findings)


def test_a_node_with_nothing_usable_does_not_hide_the_others_rails() -> None:
    advice = recommend([host(hca("mlx5_0"), name="a"), host(hca("mlx5_0", state=DOWN), name="b")])
    assert env(host(hca("mlx5_0"), name="a"), host(hca("mlx5_0", state=DOWN), name="b")) == {"NCCL_IB_HCA": "=mlx5_0"}
    assert ("error", "no-usable-hca", "b") in told_of(advice.findings)


def test_a_node_with_ethernet_alone_has_nothing_to_offer_an_infiniband_fleet() -> None:
    advice = recommend([host(hca("mlx5_0"), name="a"), host(roce("mlx5_0"), name="b")])
    assert advice.env[0].value == "=mlx5_0"
    assert told_of(advice.findings) == {("error", "no-usable-hca", "b")}
    assert "jobs of its own" in advice.findings[0].hint
    lost = host(hca("mlx5_0", state=DOWN), roce("mlx5_1"), name="b")
    (finding,) = recommend([host(hca("mlx5_0"), name="a"), lost]).findings
    assert "bring the ports up" in finding.hint


def test_a_port_number_is_written_where_any_node_has_several() -> None:
    assert env(host(hca("m0", port(1), port(2, state=DOWN)), name="a"), host(hca("m0"), name="b")) == {
        "NCCL_IB_HCA": "=m0:1"
    }


def test_nccl_takes_32_at_most() -> None:
    advice = recommend([host(*(hca(f"mlx5_{number}") for number in range(40)))])
    assert advice.env[0].value.split(",")[-1] == "mlx5_31"
    assert told_of(advice.findings) == {("warning", "too-many-hcas", "node")}
