"""Everything that can be found wrong with hosts; what several hosts share is told once."""

from __future__ import annotations

from collections.abc import Iterable

from ncclprobe.findings import Finding
from ncclprobe.records.scan import Host
from ncclprobe.scan.check_env import check_environment
from ncclprobe.scan.check_nodes import check_nodes
from ncclprobe.scan.check_ports import check_ports
from ncclprobe.scan.subjects import labelled, told


def check(hosts: Iterable[Host]) -> tuple[Finding, ...]:
    """Return what is wrong with the hosts, the worst first; docs/findings.md has every code."""
    nodes = labelled(hosts)
    return told([*check_ports(nodes), *check_nodes(nodes), *check_environment(nodes)])
