"""Short ways to write hosts for the tests of ``ncclprobe.scan``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ncclprobe.findings import Finding
from ncclprobe.names import LinkLayer, PortState
from ncclprobe.records.scan import Gid, Gpu, Hca, Host, Port

IB, ETH = LinkLayer.INFINIBAND, LinkLayer.ETHERNET
ACTIVE, DOWN, INIT, ARMED = PortState.ACTIVE, PortState.DOWN, PortState.INIT, PortState.ARMED


def port(number: int = 1, **given: Any) -> Port:
    return Port(port=number, **({"state": ACTIVE, "link_layer": IB} | given))


def hca(name: str, *ports: Port, **given: Any) -> Hca:
    """Return an HCA; what belongs to a port goes to its only one, which is an ACTIVE InfiniBand port by default."""
    fields = set(Hca.__struct_fields__)
    of_port = {field: value for field, value in given.items() if field not in fields}
    return Hca(
        name=name,
        ports=ports or (port(**of_port),),
        **{field: value for field, value in given.items() if field in fields},
    )


def gpu(index: int, *near: str, **given: Any) -> Gpu:
    return Gpu(index=index, nearest_hcas=near, **given)


def host(*hcas: Hca, name: str | None = None, gpus: Iterable[Gpu] = (), **facts: str) -> Host:
    return Host(host=name, hcas=hcas, gpus=tuple(gpus), facts=tuple(facts.items()))


def roce_gids(*indices: int) -> tuple[Gid, ...]:
    """Return a RoCE GID table whose v2 IPv4 addresses are at the given indices."""
    link_local = [Gid(index=0, gid="fe80::ae1:1", type="RoCE v1"), Gid(index=1, gid="fe80::ae1:1", type="RoCE v2")]
    return (*link_local, *(Gid(index=index, gid=f"::ffff:10.0.0.{index}", type="RoCE v2") for index in indices))


def told_of(findings: Iterable[Finding]) -> set[tuple[str, str, str]]:
    return {(str(finding.severity), finding.code, finding.subject) for finding in findings}
