"""Documents as Prometheus metrics, for a file that node_exporter's textfile collector reads.

Base units (seconds, bytes) and units in names; what has an interval has metrics ending in ``_low`` and ``_high`` before
the unit, as labels of one metric must add up to something.

Source: Prometheus, "Metric and label naming" and "Exposition formats" (text format 0.0.4)
"""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ncclprobe.findings import Severity
from ncclprobe.names import DEFAULT
from ncclprobe.records.base import Document, Interval
from ncclprobe.records.e2e import E2eDocument, E2eVerdict
from ncclprobe.records.nodes import LinkVerdict, NodesDocument, NodeStatus, NodeVerdict, RailVerdict
from ncclprobe.records.scan import Host, ScanDocument
from ncclprobe.records.sweep import CellResult, Ratio, Status, SweepDocument, Verdict
from ncclprobe.records.tune import StageStatus, TuneDocument
from ncclprobe.records.watch import CHANGES, CheckStatus, WatchDocument
from ncclprobe.report.prometheus_names import METRICS, PREFIX
from ncclprobe.secrecy import open_variables

_UNCHANGED = Ratio(ratio=1.0, low=1.0, high=1.0)
"""The default's time over its own."""
Labels = tuple[tuple[str, str], ...]


class Sample(NamedTuple):
    """One value of one series."""

    name: str
    """Without the prefix."""
    labels: Labels
    """In order."""
    value: float
    """In the unit of the name."""


def prometheus_text(documents: Iterable[Document]) -> str:
    """Return all documents' metrics in Prometheus' text format.

    Args:
        documents: Of any commands; of several of one command, and for sweeps of one collective, the newest counts.
    """
    newest = {_scope(document): document for document in sorted(documents, key=lambda document: document.created)}
    series: dict[str, dict[Labels, float]] = defaultdict(dict)
    for sample in _samples(list(newest.values())):
        series[sample.name][sample.labels] = sample.value
    return "".join(_family(name, values) for name, values in sorted(series.items()))


def _scope(document: Document) -> tuple[str, str]:
    """Return what a newer document replaces an older one in."""
    return document.schema, _collective(document) if isinstance(document, SweepDocument) else ""


def _collective(document: SweepDocument) -> str:
    return document.cells[0].collective if document.cells else "all_reduce"


def _family(name: str, values: Mapping[Labels, float]) -> str:
    kind, help_ = METRICS[name]
    head = f"# HELP {PREFIX}{name} {help_}\n# TYPE {PREFIX}{name} {kind}\n"
    return head + "".join(f"{PREFIX}{name}{_braces(labels)} {value!r}\n" for labels, value in values.items())


def _braces(labels: Labels) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}" if labels else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _sample(name: str, value: float, **labels: object) -> Sample:
    return Sample(name, tuple((label, str(text)) for label, text in labels.items()), float(value))


def _samples(documents: Sequence[Document]) -> Iterator[Sample]:
    """Yield what every command's documents have together, then what each has of its own."""
    commands: dict[str, list[Document]] = defaultdict(list)
    for document in documents:
        commands[document.schema.removeprefix("ncclprobe.").partition("/")[0]].append(document)
    for command, ones in commands.items():
        yield from _of_command(command, ones)
    for document in documents:
        yield from _OF.get(type(document), _none)(document)


def _of_command(command: str, documents: Sequence[Document]) -> Iterator[Sample]:
    """Yield the newest document's time, and the findings of all: a sweep of each collective counts."""
    yield _sample("run_timestamp_seconds", max(_seconds(one.created) for one in documents), command=command)
    for version in dict.fromkeys(one.version for one in documents):
        yield _sample("build_info", 1, command=command, version=version)
    findings = [finding for one in documents for finding in one.findings]
    for severity in Severity:
        number = sum(finding.severity is severity for finding in findings)
        yield _sample("findings", number, command=command, severity=severity)
    for finding in findings:
        labels = {"command": command, "severity": finding.severity, "code": finding.code, "subject": finding.subject}
        yield _sample("finding_info", 1, **labels)


def _none(_document: Document) -> Iterator[Sample]:
    return iter(())


def _seconds(created: str) -> float:
    """Return seconds since 1970 of a UTC time as documents have it."""
    return datetime.datetime.fromisoformat(created).timestamp()


def _interval(stem: str, unit: str, interval: Interval | Ratio, **labels: object) -> Iterator[Sample]:
    """Yield an estimate and the ends of its interval."""
    estimate = interval.estimate if isinstance(interval, Interval) else interval.ratio
    for end, value in (("", estimate), ("_low", interval.low), ("_high", interval.high)):
        yield _sample(f"{stem}{end}_{unit}", value, **labels)


# ---- sweep


def _sweep(document: SweepDocument) -> Iterator[Sample]:
    collective = _collective(document)
    is_change = document.choice.verdict is Verdict.CHANGE
    yield _sample("sweep_change", is_change, collective=collective)
    yield from _interval("sweep_gain", "ratio", document.choice.gain, collective=collective)
    yield _sample("sweep_measured_seconds", document.cost.measured_s, collective=collective)
    about = {"backend": document.backend, "library": document.library, "nranks": document.nranks}
    yield _sample("sweep_info", 1, collective=collective, **about)
    points: dict[tuple[str, str, int], list[CellResult]] = defaultdict(list)
    for cell in document.cells:
        points[cell.collective, cell.dtype, cell.size_bytes].append(cell)
    for cells in points.values():
        yield from _point(document, cells)


def _point(document: SweepDocument, cells: list[CellResult]) -> Iterator[Sample]:
    """Yield the default's figures at one size, and those of the best setting, which may be the default itself."""
    default = next(cell for cell in cells if cell.algo == DEFAULT and not cell.env)
    where = {"collective": default.collective, "dtype": default.dtype, "size_bytes": default.size_bytes}
    yield from _figures(default, **where, setting="default")
    rows = document.choice.table
    chosen = any(row.min_bytes <= default.size_bytes <= row.max_bytes for row in rows)
    yield _sample("sweep_size_change", chosen or bool(document.choice.env and not rows), **where)
    if best := _best(default, cells):
        yield from _best_setting(*best, where)


def _best(default: CellResult, cells: Iterable[CellResult]) -> tuple[CellResult, Ratio] | None:
    """Return the cell with the largest ratio, the default's own being 1; None where nothing works."""
    unchanged = [(default, _UNCHANGED)] if default.status is Status.OK else []
    others = [(cell, cell.vs_default) for cell in cells if cell.vs_default is not None and cell.status is Status.OK]
    return max([*unchanged, *others], key=lambda one: one[1].ratio, default=None)


def _best_setting(best: CellResult, ratio: Ratio, where: Mapping[str, object]) -> Iterator[Sample]:
    yield from _figures(best, **where, setting="best")
    yield from _interval("sweep_best_speedup", "ratio", ratio, **where)
    channels = DEFAULT if best.nchannels is None else str(best.nchannels)
    env = " ".join(f"{name}={value}" for name, value in sorted(open_variables(best.env).items()))
    yield _sample("sweep_best_info", 1, **where, algo=best.algo, proto=best.proto, nchannels=channels, env=env)


def _figures(cell: CellResult, **labels: object) -> Iterator[Sample]:
    if cell.time_us is not None:
        for end, value in (("", cell.time_us.median), ("_low", cell.time_us.low), ("_high", cell.time_us.high)):
            yield _sample(f"sweep_time{end}_seconds", value / 1e6, **labels)
    if cell.busbw_gbps is not None:
        yield _sample("sweep_bus_bandwidth_bytes_per_second", cell.busbw_gbps * 1e9, **labels)


# ---- nodes


def _nodes(document: NodesDocument) -> Iterator[Sample]:
    for status in NodeStatus:
        yield _sample("nodes", sum(node.status is status for node in document.nodes), status=status)
    for node in document.nodes:
        yield from _verdict("node", node, node=node.node)
    for link in document.links:
        yield from _verdict("link", link, node=link.nodes[0], peer=link.nodes[1])
    for rail in document.rails:
        yield from _verdict("rail", rail, rail=rail.rail)


def _verdict(kind: str, verdict: NodeVerdict | LinkVerdict | RailVerdict, **labels: object) -> Iterator[Sample]:
    for status in NodeStatus:
        yield _sample(f"{kind}_status", verdict.status is status, **labels, status=status)
    if verdict.slowdown is not None:
        yield from _interval(f"{kind}_slowdown", "ratio", verdict.slowdown, **labels)


# ---- the others, in brief


def _scan(document: ScanDocument) -> Iterator[Sample]:
    yield _sample("scan_variables", len(document.env))
    for host in document.hosts:
        yield from _host(host)


def _host(host: Host) -> Iterator[Sample]:
    name = host.host or ""
    yield _sample("scan_gpus", len(host.gpus), node=name)
    yield _sample("scan_hcas", len(host.hcas), node=name)
    for hca in host.hcas:
        for port in hca.ports:
            where = {"node": name, "hca": hca.name, "port": port.port}
            if port.state is not None:
                yield _sample("scan_port_active", port.state == "ACTIVE", **where)
            if port.rate_gbps is not None:
                yield _sample("scan_port_rate_bytes_per_second", port.rate_gbps * 1e9 / 8, **where)


def _e2e(document: E2eDocument) -> Iterator[Sample]:
    if not document.finished:
        return
    about = {"workload": document.workload, "metric": document.metric}
    for verdict in E2eVerdict:
        yield _sample("e2e_verdict", document.verdict is verdict, **about, verdict=verdict)
    yield _sample("e2e_pairs", document.trials_per_arm, **about)
    if document.ratio is not None:
        yield from _interval("e2e_throughput", "ratio", document.ratio, **about)


def _tune(document: TuneDocument) -> Iterator[Sample]:
    for stage in document.stages:
        yield _sample("tune_stage_done", stage.status is StageStatus.DONE, stage=stage.name)
        yield _sample("tune_stage_seconds", stage.seconds, stage=stage.name)


def _watch(document: WatchDocument) -> Iterator[Sample]:
    failed = [check for check in document.checks if check.status is CheckStatus.FAILED]
    good = [check for check in document.checks if check.status is CheckStatus.DONE]
    yield _sample("watch_checks_total", len(document.checks), check=document.check)
    yield _sample("watch_failed_checks_total", len(failed), check=document.check)
    yield _sample("watch_interval_seconds", document.every_s, check=document.check)
    changes = sum(finding.code in CHANGES for finding in document.findings)
    yield _sample("watch_changes", changes, check=document.check)
    if good:
        yield _sample("watch_last_success_timestamp_seconds", _seconds(good[-1].started), check=document.check)


_OF: dict[type[Document], Callable[[Any], Iterator[Sample]]] = {
    SweepDocument: _sweep,
    NodesDocument: _nodes,
    ScanDocument: _scan,
    E2eDocument: _e2e,
    TuneDocument: _tune,
    WatchDocument: _watch,
}
"""Type -> what yields its own metrics."""
