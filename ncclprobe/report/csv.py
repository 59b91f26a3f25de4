"""Figures of documents as CSV: a table for each kind of figure, units in the columns' names."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ncclprobe.records.base import Document, Interval
from ncclprobe.records.e2e import E2eDocument
from ncclprobe.records.env import EnvDocument
from ncclprobe.records.inspect import InspectDocument, NcclTests
from ncclprobe.records.nodes import NodesDocument
from ncclprobe.records.profile import ProfileDocument
from ncclprobe.records.scan import ScanDocument
from ncclprobe.records.sweep import SweepDocument

Rows = Iterator[tuple[object, ...]]

SWEEP = (
    "collective", "dtype", "size_bytes", "algo", "proto", "nchannels", "env", "status", "samples", "time_us",
    "time_us_low", "time_us_high", "algbw_gbps", "busbw_gbps", "wrong", "vs_default", "vs_default_low",
    "vs_default_high",
)  # fmt: skip
NODES = ("kind", "name", "status", "slowdown", "slowdown_low", "slowdown_high")
SCAN = ("host", "hca", "port", "link_layer", "state", "rate_gbps", "active_mtu", "numa_node", "fw_version")
E2E = ("arm", "order", "status", "metric", "value", "seconds", "started")
ENV = ("name", "value", "reason")
INSPECT = ("source", "collective", "nranks", "size_bytes", "dtype", "redop", "time_us", "algbw_gbps", "busbw_gbps")
PROFILE = ("collective", "dtype", "size_bytes", "count", "basis", "seen", "nranks")


def csv_text(documents: Iterable[tuple[str, Document]]) -> str:
    """Return a table for each command's figures, an empty line between two; the first column is the run.

    Args:
        documents: Sources with their documents; those without figures are left out.
    """
    tables: dict[tuple[str, ...], list[tuple[object, ...]]] = {}
    for source, document in documents:
        found = _TABLES.get(type(document))
        if found is not None:
            columns, rows = found
            tables.setdefault(columns, []).extend((source, *row) for row in rows(document))
    return "\n".join(_table(columns, rows) for columns, rows in tables.items() if rows)


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("run", *columns))
    writer.writerows(["" if value is None else value for value in row] for row in rows)
    return text.getvalue()


def _sweep(document: SweepDocument) -> Rows:
    for cell in document.cells:
        time, ratio = cell.time_us, cell.vs_default
        yield (
            cell.collective, cell.dtype, cell.size_bytes, cell.algo, cell.proto, cell.nchannels,
            " ".join(f"{name}={value}" for name, value in cell.env.items()), cell.status, cell.samples,
            *((time.median, time.low, time.high) if time else (None,) * 3), cell.algbw_gbps, cell.busbw_gbps,
            cell.wrong, *((ratio.ratio, ratio.low, ratio.high) if ratio else (None,) * 3),
        )  # fmt: skip


def _nodes(document: NodesDocument) -> Rows:
    for node in document.nodes:
        yield "node", node.node, node.status, *_interval(node.slowdown)
    for link in document.links:
        yield "link", " ".join(link.nodes), link.status, *_interval(link.slowdown)
    for rail in document.rails:
        yield "rail", rail.rail, rail.status, *_interval(rail.slowdown)


def _interval(interval: Interval | None) -> tuple[float | None, ...]:
    return (interval.estimate, interval.low, interval.high) if interval is not None else (None, None, None)


def _scan(document: ScanDocument) -> Rows:
    for host in document.hosts:
        for hca in host.hcas:
            for port in hca.ports:
                yield (
                    host.host, hca.name, port.port, port.link_layer, port.state, port.rate_gbps, port.active_mtu,
                    hca.numa_node, hca.fw_version,
                )  # fmt: skip


def _e2e(document: E2eDocument) -> Rows:
    for trial in document.trials:
        for metric, value in trial.metrics.items() or [(document.metric, None)]:
            yield trial.arm, trial.order, trial.status, metric, value, trial.seconds, trial.started


def _env(document: EnvDocument) -> Rows:
    yield from ((variable.name, variable.value, variable.reason) for variable in document.env)


def _inspect(document: InspectDocument) -> Rows:
    tables = [table for table in document.documents if isinstance(table, NcclTests)]
    for table in tables:
        for row in table.rows:
            half = row.out_of_place
            yield (
                table.source, table.collective, table.nranks, row.size_bytes, row.dtype, row.redop, half.time_us,
                half.algbw_gbps, half.busbw_gbps,
            )  # fmt: skip


def _profile(document: ProfileDocument) -> Rows:
    for one in document.messages:
        yield one.collective, one.dtype, one.size_bytes, one.count, one.basis, one.seen, one.nranks


_TABLES: dict[type[Document], tuple[tuple[str, ...], Callable[[Any], Rows]]] = {
    SweepDocument: (SWEEP, _sweep),
    NodesDocument: (NODES, _nodes),
    ScanDocument: (SCAN, _scan),
    E2eDocument: (E2E, _e2e),
    EnvDocument: (ENV, _env),
    InspectDocument: (INSPECT, _inspect),
    ProfileDocument: (PROFILE, _profile),
}
"""Type -> columns, and what yields their values."""
