"""What NCCL_IB_HCA in a node's environment selects there, and where that is a trap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from ncclprobe.findings import Severity
from ncclprobe.hca_list import Selection, parse_selection
from ncclprobe.names import OF_ONE_RANK, PortState
from ncclprobe.records.scan import Hca, Host, Port
from ncclprobe.scan.facts import environment
from ncclprobe.scan.rails import Rail
from ncclprobe.scan.subjects import Node, Remark, listed

NAME = "NCCL_IB_HCA"


def check_environment(nodes: Sequence[Node]) -> Iterator[Remark]:
    """Yield what is wrong with NCCL_IB_HCA where it is set, and variables of NCCL that differ between nodes."""
    for node in nodes:
        value = environment(node.host).get(NAME)
        if value and any(hca.ports for hca in node.host.hcas):
            selection = parse_selection(value)
            yield from _prefix(node, value, selection)
            yield from _absent(node, value, selection)
            yield from _inactive(node, value, selection)
            yield from _mixed(node, value, selection)
    yield from _differing(nodes)


def _ports(host: Host) -> list[tuple[Hca, Port]]:
    return [(hca, port) for hca in host.hcas for port in hca.ports]


def _prefix(node: Node, value: str, selection: Selection) -> Iterator[Remark]:
    """Yield names that take longer names too, which the list does not name itself."""
    named = {name for name, _ in selection.items}
    for item in selection.items:
        also = [
            hca.name
            for hca, port in _ports(node.host)
            if hca.name not in named and selection.item_matches(item, hca.name, port.port) and hca.name != item[0]
        ]
        if also and not selection.exact and item[0] in {hca.name for hca in node.host.hcas}:
            verb = "excludes" if selection.exclude else "takes"
            message = f"{NAME}={value}: {item[0]} is a prefix and also {verb} {listed(also)}"
            sign = "^=" if selection.exclude else "="
            hint = f"write {NAME}={sign}{value.lstrip('^')}, whose names match exactly"
            yield Remark(node.label, NAME, Severity.WARNING, "ib-hca-prefix", message, hint)


def _absent(node: Node, value: str, selection: Selection) -> Iterator[Remark]:
    ports = _ports(node.host)
    absent = [
        _written(item)
        for item in selection.items
        if not any(selection.item_matches(item, hca.name, port.port) for hca, port in ports)
    ]
    if absent:
        severity = Severity.WARNING if selection.exclude else Severity.ERROR
        message = f"{NAME}={value}: the node has no {listed(absent)}"
        yield Remark(
            node.label, NAME, severity, "ib-hca-absent", message, "take it out, or use what is recommended here"
        )


def _written(item: tuple[str, int | None]) -> str:
    return item[0] if item[1] is None else f"{item[0]}:{item[1]}"


def _inactive(node: Node, value: str, selection: Selection) -> Iterator[Remark]:
    taken = [Rail(hca, port) for hca, port in _ports(node.host) if selection.matches(hca.name, port.port)]
    idle = [rail for rail in taken if rail.port.state not in (PortState.ACTIVE, None)]
    named = [] if selection.exclude else [rail for rail in idle if rail.hca.name in dict(selection.items)]
    if taken and len(idle) == len(taken):
        message = f"{NAME}={value}: no port that it selects is ACTIVE ({listed([rail.name for rail in idle])})"
        hint = "NCCL would fall back to sockets; use what is recommended here"
        yield Remark(node.label, NAME, Severity.ERROR, "ib-hca-inactive", message, hint)
    elif named:
        states = listed([f"{rail.name} is {rail.port.state}" for rail in named])
        message = f"{NAME}={value}: {states}, so NCCL skips it on this node"
        hint = "bring it up, or take it out on every node: nodes with different HCAs hang or slow the job"
        yield Remark(node.label, NAME, Severity.ERROR, "ib-hca-inactive", message, hint)


def _mixed(node: Node, value: str, selection: Selection) -> Iterator[Remark]:
    layers: dict[str, list[str]] = {}
    for hca, port in _ports(node.host):
        if port.link_layer and port.state is PortState.ACTIVE and selection.matches(hca.name, port.port):
            layers.setdefault(port.link_layer, []).append(Rail(hca, port).name)
    if len(layers) > 1:
        shown = "; ".join(f"{layer}: {listed(names)}" for layer, names in layers.items())
        message = f"{NAME}={value} selects ports of several link layers ({shown})"
        hint = "select one link layer, as is recommended here"
        yield Remark(node.label, NAME, Severity.WARNING, "ib-hca-mixed", message, hint)


def _differing(nodes: Sequence[Node]) -> Iterator[Remark]:
    """Yield NCCL's variables that are not the same on every node."""
    seen = [(node, environment(node.host)) for node in nodes if node.host.facts]
    names = {name for _, variables in seen for name in variables if name.startswith("NCCL_")}
    for name in sorted(names - OF_ONE_RANK):
        values = Counter(variables.get(name, "") for _, variables in seen)
        usual = values.most_common(1)[0][0]
        for node, variables in seen:
            if variables.get(name, "") != usual:
                message = f"{_shown(variables.get(name))} where most nodes have it {_shown(usual)}"
                hint = "set NCCL's variables alike on every node; most must be, or the job hangs"
                yield Remark(node.label, name, Severity.WARNING, "env-differs", message, hint)


def _shown(value: str | None) -> str:
    return f"set to {value}" if value else "unset"
