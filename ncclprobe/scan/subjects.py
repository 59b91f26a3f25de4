"""What findings of a scan are about: hosts with a label each, and remarks that many hosts share told once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from ncclprobe.findings import Finding, Severity
from ncclprobe.nodesets import fold
from ncclprobe.records.scan import Hca, Host, Port

Value = TypeVar("Value", bound=Hashable)


class Node(NamedTuple):
    """A host and what findings call it."""

    label: str
    """Empty for the only host where it has no name."""
    host: Host


class Remark(NamedTuple):
    """A finding about one host, before those that say the same of several hosts are folded."""

    label: str
    """The host's; empty where it has none, or where the remark is about all hosts."""
    device: str
    """``mlx5_3:1``; empty where it is about the host."""
    severity: Severity
    code: str
    message: str
    """Without the host's name, so that it can be said of several."""
    hint: str


def labelled(hosts: Iterable[Host]) -> tuple[Node, ...]:
    """Return the hosts with a label each; unnamed ones among several are counted."""
    hosts = tuple(hosts)
    seen: Counter[str] = Counter()
    nodes = []
    for number, host in enumerate(hosts, 1):
        label = host.host or ("" if len(hosts) == 1 else f"host{number}")
        seen[label] += 1
        nodes.append(Node(label if seen[label] == 1 else f"{label}#{seen[label]}", host))
    return tuple(nodes)


def told(remarks: Iterable[Remark], nodes: Sequence[Node]) -> tuple[Finding, ...]:
    """Return the findings, the worst first, with the hosts of equal remarks folded: ``dgx[001-004]/mlx5_3:1``.

    Args:
        remarks: In any order; one that names neither host nor device is about all nodes.
        nodes: All nodes.
    """
    everyone = "fleet" if len(nodes) > 1 else (nodes[0].label if nodes else "") or "node"
    groups: dict[tuple[str, ...], list[Remark]] = defaultdict(list)
    for remark in remarks:
        groups[remark.device, remark.severity, remark.code, remark.message, remark.hint].append(remark)
    findings = [_finding(group, everyone) for group in groups.values()]
    return tuple(sorted(findings, key=lambda finding: -list(Severity).index(finding.severity)))


def _finding(group: Sequence[Remark], everyone: str) -> Finding:
    first = group[0]
    where = fold(label for remark in group if (label := remark.label))
    subject = "/".join(part for part in (where, first.device) if part) or everyone
    return Finding(severity=first.severity, code=first.code, subject=subject, message=first.message, hint=first.hint)


def port_name(hca: Hca, port: Port) -> str:
    """Return ``mlx5_3``, or ``mlx5_3:2`` where the HCA has several ports: NCCL's own notation."""
    return hca.name if len(hca.ports) == 1 else f"{hca.name}:{port.port}"


def majority(values: Iterable[Value]) -> Value | None:
    """Return the value that more than half share, None where there is no such."""
    counted = Counter(values)
    if not counted:
        return None
    value, count = counted.most_common(1)[0]
    return value if 2 * count > counted.total() else None


def listed(names: Sequence[str], most: int = 12) -> str:
    """Return names for a sentence: ``mlx5_2, mlx5_8``; a long list is cut, and that is said."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
