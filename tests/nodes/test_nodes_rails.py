"""What makes ranks use one rail alone, and names of rails that are none."""

from __future__ import annotations

import pytest

from ncclprobe.errors import UsageError
from ncclprobe.nodes.rails import by_rail, parse_rails, rail_variables


@pytest.mark.parametrize(
    ("backend", "rail", "variables"),
    [
        ("nccl", "mlx5_1", {"NCCL_NET": "IB", "NCCL_IB_HCA": "=mlx5_1"}),
        ("nccl", "mlx5_0:2", {"NCCL_NET": "IB", "NCCL_IB_HCA": "=mlx5_0:2"}),
        ("nccl", "eth0", {"NCCL_NET": "Socket", "NCCL_SOCKET_IFNAME": "=eth0"}),
        ("mpi", "mlx5_1", {"UCX_NET_DEVICES": "mlx5_1:1"}),
        ("mpi", "mlx5_0:2", {"UCX_NET_DEVICES": "mlx5_0:2"}),
        ("mpi", "bond0.12", {"UCX_NET_DEVICES": "bond0.12", "FI_TCP_IFACE": "bond0.12"}),
    ],
)
def test_variables_of_a_rail(backend: str, rail: str, variables: dict[str, str]) -> None:
    assert rail_variables(backend, rail) == variables


def test_rails_of_an_option() -> None:
    assert parse_rails("mlx5_0, mlx5_1") == ("mlx5_0", "mlx5_1")


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "'' is no HCA"), ("a,,b", "'' is no HCA"), ("$(reboot)", "is no HCA"), ("e0,e0", "names one twice")],
)
def test_what_names_no_rails(text: str, why: str) -> None:
    with pytest.raises(UsageError, match="--rails") as problem:
        parse_rails(text)
    assert why in str(problem.value)


def test_a_group_without_a_rail_takes_the_only_one() -> None:
    assert [by_rail((), None), by_rail(("e0",), None), by_rail(("e0", "e1"), "e1")] == [None, "e0", "e1"]
