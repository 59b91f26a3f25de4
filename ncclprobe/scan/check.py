"""Everything that can be found wrong with hosts; what several hosts share is told once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ncclprobe.findings import Finding, Severity
from ncclprobe.records.scan import Host, ScanDocument
from ncclprobe.scan.check_env import check_environment
from ncclprobe.scan.check_nodes import check_nodes
from ncclprobe.scan.check_ports import check_ports
from ncclprobe.scan.recommend import recommend
from ncclprobe.scan.subjects import labelled, told


def judged(hosts: Sequence[Host], findings: Iterable[Finding] = ()) -> ScanDocument:
    """Return the document of a scan: hosts, the variables to set, and everything worth knowing, the worst first.

    Args:
        hosts: Of one fleet: they are compared with each other, and the variables hold for all of them.
        findings: How reading them went.
    """
    advice = recommend(hosts)
    found = (*findings, *check(hosts), *advice.findings)
    worst_first = sorted(found, key=lambda finding: -list(Severity).index(finding.severity))
    return ScanDocument(hosts=tuple(hosts), env=advice.env, findings=tuple(worst_first))


def check(hosts: Iterable[Host]) -> tuple[Finding, ...]:
    """Return what is wrong with the hosts, the worst first; docs/findings.md has every code."""
    nodes = labelled(hosts)
    return told([*check_ports(nodes), *check_nodes(nodes), *check_environment(nodes)], nodes)
