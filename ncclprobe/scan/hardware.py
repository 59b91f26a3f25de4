"""From what a scan saw of hosts to what bounds collectives between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from ncclprobe.hca_list import parse_selection
from ncclprobe.records.normal import Hardware
from ncclprobe.records.scan import Host
from ncclprobe.scan.check_env import NAME as IB_HCA
from ncclprobe.scan.rails import LAYERS, Rail, chosen_rails, usable
from ncclprobe.scan.subjects import labelled

Value = TypeVar("Value")

_GBIT_PER_GBYTE = 8


def hardware_of(hosts: Sequence[Host], environment: Mapping[str, str]) -> Hardware | None:
    """Return what all hosts have alike; None where they differ, or have no GPU.

    Args:
        hosts: One or more.
        environment: The ranks' variables, for NCCL_IB_HCA.
    """
    seen = {_of_one(host, environment) for host in hosts}
    alike = _alike(seen)
    return alike.with_(nodes=len(hosts)) if alike is not None and alike.gpus else None


def _of_one(host: Host, environment: Mapping[str, str]) -> Hardware:
    rails = _rails(host, environment)
    return Hardware(
        nodes=1,
        gpu=_alike(gpu.name for gpu in host.gpus),
        gpus=len(host.gpus),
        nvlinks=_alike(gpu.nvlinks for gpu in host.gpus),
        pcie_gbps=_alike(gpu.pcie_gbps for gpu in host.gpus),
        rails=len(rails),
        rails_gbps=_together(rails),
    )


def _alike(values: Iterable[Value]) -> Value | None:
    """Return the value that all have, None where they differ or there is none."""
    found = set(values)
    return found.pop() if len(found) == 1 else None


def _rails(host: Host, environment: Mapping[str, str]) -> tuple[Rail, ...]:
    """Return the ports that NCCL_IB_HCA selects; where it is not set, those that a scan recommends."""
    if value := environment.get(IB_HCA):
        selection = parse_selection(value)
        ports = [rail for layer in LAYERS for rail in usable(host, layer)]
        return tuple(rail for rail in ports if selection.matches(*rail.key))
    layer = next((layer for layer in LAYERS if usable(host, layer)), None)
    return chosen_rails(labelled([host])[0], layer).rails


def _together(rails: Sequence[Rail]) -> float | None:
    """Return what a host's rails carry in GB/s; the ports of an HCA share its PCIe link."""
    if not rails or any(rail.port.rate_gbps is None for rail in rails):
        return None
    hcas = {rail.hca.name: rail.hca for rail in rails}
    ports = dict.fromkeys(hcas, 0.0)
    for rail in rails:
        ports[rail.hca.name] += (rail.port.rate_gbps or 0.0) / _GBIT_PER_GBYTE
    return sum(min(rate, hcas[name].pcie_gbps or rate) for name, rate in ports.items())
