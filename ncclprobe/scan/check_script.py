"""What a setting that a script makes would do on the nodes of a scan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ncclprobe.findings import Finding, warning
from ncclprobe.names import PortState
from ncclprobe.records.scan import Host
from ncclprobe.scan.check_env import NAME, check_environment
from ncclprobe.scan.subjects import labelled, told


def check_settings(name: str, value: str, hosts: Sequence[Host]) -> Iterator[Finding]:
    """Yield what speaks against a setting on these nodes; subjects are the nodes.

    Args:
        name: Of the variable.
        value: That a script gives it.
        hosts: Of a scan.
    """
    if name == NAME:
        nodes = labelled(host.with_(facts=(*_others(host), (NAME, value))) for host in hosts)
        remarks = [remark for remark in check_environment(nodes) if remark.code.startswith("ib-hca")]
        yield from told(remarks, nodes)
    elif name == "NCCL_IB_DISABLE" and value == "1":
        yield from _without_rails(hosts)


def _others(host: Host) -> tuple[tuple[str, str], ...]:
    return tuple((fact, text) for fact, text in host.facts if fact != NAME)


def _without_rails(hosts: Sequence[Host]) -> Iterator[Finding]:
    able = [host for host in hosts if any(port.state is PortState.ACTIVE for hca in host.hcas for port in hca.ports)]
    if len(hosts) > 1 and able:
        seen = f"{len(able)} of {len(hosts)} nodes have ACTIVE HCAs"
        message = f"NCCL_IB_DISABLE=1 sends all traffic between nodes over sockets, and {seen}"
        yield warning("settings-contradict", "fleet", message, "take it out, unless the HCAs are to be left alone")
