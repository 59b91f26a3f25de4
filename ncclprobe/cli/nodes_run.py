"""How ``ncclprobe nodes`` runs: measure, journal, judge, write the document and the lists of nodes."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np

from ncclprobe.backends.fabric import Fabric, read_fabric
from ncclprobe.cli.output import note
from ncclprobe.errors import RunDirectoryError, UsageError, reason
from ncclprobe.nodes.active import Plan, run
from ncclprobe.nodes.csv import parse_results
from ncclprobe.nodes.document import Inside, of_outcome, of_results
from ncclprobe.nodes.exclusion import exclusion_files
from ncclprobe.nodes.fleet import Kept
from ncclprobe.nodes.hosts import FleetOptions
from ncclprobe.nodes.railed import RailedFleet
from ncclprobe.nodes.replay import replayed
from ncclprobe.nodes.simulated import SimulatedFleet
from ncclprobe.reading import LOG_BYTES, whole_file
from ncclprobe.records.base import Record
from ncclprobe.records.nodes import CheckValue, GroupValue, HostGone, NodesDocument, Round, WrongSum
from ncclprobe.store import Manifest, RunDirectory, read_journal, stored_options

ROUNDS, BUDGET = 8, 12.0
LINES: dict[str, type[Record]] = {
    "fleet": FleetOptions,
    "group-value": GroupValue,
    "check-value": CheckValue,
    "host-gone": HostGone,
    "wrong-sum": WrongSum,
}
"""Kind -> record of the journal's lines."""
_KINDS = {kind: name for name, kind in LINES.items()}


class NodesOptions(Record, frozen=True, kw_only=True):
    """What a run is to do; its manifest holds it."""

    threshold: float
    """The smallest slowdown of interest."""
    rounds: int
    """Of the whole fleet."""
    budget: float
    """Measurements a node."""
    fabric: str | None = None
    """A simulated fabric's description."""
    fleet: FleetOptions | None = None
    """Real hosts."""
    rails: tuple[str, ...] = ()
    """HCAs or interfaces of theirs that are measured apart."""

    def stored(self) -> dict[str, Any]:
        """Return what the manifest holds."""
        content: dict[str, Any] = msgspec.to_builtins(self)
        return content


def judged(path: pathlib.Path, threshold: float, *, lower_is_better: bool) -> NodesDocument:
    """Return the verdicts on a CSV of past results."""
    try:
        text = whole_file(path, LOG_BYTES).decode()
    except (OSError, UnicodeDecodeError) as problem:
        raise UsageError(f"cannot read {path} ({reason(problem)}); name a CSV in UTF-8") from problem
    return of_results(parse_results(text, str(path), lower_is_better=lower_is_better), str(path), threshold)


def keep(document: NodesDocument, out: pathlib.Path | None, manifest: Manifest) -> str:
    """Write the document to a run directory if one was asked for, and return its path."""
    if out is None:
        return ""
    with RunDirectory.create(out, manifest) as directory:
        _finish(directory, document)
    return str(out)


def measured(path: pathlib.Path, out: pathlib.Path, manifest: Manifest) -> tuple[NodesDocument, str]:
    """Return the verdicts on a simulated fabric, and the run directory's path."""
    stored = NodesOptions(**manifest.options).with_(fabric=str(path.absolute())).stored()
    with RunDirectory.create(out, manifest.with_(options=stored)) as directory:
        return run_nodes(directory), str(out)


def run_nodes(directory: RunDirectory) -> NodesDocument:
    """Measure what is left of a run, every value being journalled as it comes, and return its document."""
    options = stored_options(directory.path, directory.manifest, NodesOptions)
    lines = list(read_journal(directory.path, LINES))
    document = _on_hosts(directory, options, lines) if options.fleet else _simulated(directory, options, lines)
    _finish(directory, document)
    return document


def fleet_described(path: pathlib.Path) -> Fabric:
    """Return a simulated fleet.

    Raises:
        UsageError: It is none.
    """
    fabric = read_fabric(path)
    if len(fabric.nodes) < 2:
        raise UsageError(f"{path} describes one node; with nothing to compare it with, nothing can be said of it")
    return fabric


def _simulated(directory: RunDirectory, options: NodesOptions, lines: Iterable[Record]) -> NodesDocument:
    """Return the verdicts on a simulated fabric. Its draws follow from the seed, so rounds are drawn once more."""
    fabric = fleet_described(pathlib.Path(options.fabric or ""))
    seed, fleet = directory.manifest.seed, SimulatedFleet(fabric, directory.manifest.seed)
    known = {(line.round, line.nodes) for line in lines if isinstance(line, GroupValue)}

    def measure(planned: Round) -> Iterable[GroupValue]:
        for value in fleet.measure(planned):
            if (value.round, value.nodes) not in known:
                directory.append(value, "group-value")
            yield value

    outcome = run(fabric.nodes, fleet.rails, measure, _plan(options), np.random.default_rng([seed, 0]))
    return of_outcome(outcome, fabric.nodes, fabric.gpus_per_node, f"simulated fabric {fabric.name}", seed)


def _on_hosts(directory: RunDirectory, options: NodesOptions, lines: Iterable[Record]) -> NodesDocument:
    """Return the verdicts on real hosts."""
    if options.fleet is None:
        raise UsageError("the run names no hosts")
    lines, seed = list(lines), directory.manifest.seed

    def journal(record: GroupValue | Kept) -> None:
        directory.append(record, _KINDS[type(record)])
        if not isinstance(record, GroupValue):
            lines.append(record)

    settled = [line for line in lines if isinstance(line, FleetOptions)]
    with RailedFleet(settled[-1] if settled else options.fleet, options.rails, keep=journal, note=note) as fleet:
        measure = replayed((line for line in lines if isinstance(line, GroupValue)), fleet.measure, journal)
        nodes = options.fleet.nodes
        outcome = run(nodes, options.rails, measure, _plan(options), np.random.default_rng([seed, 0]))
    inside = Inside(
        checks=tuple(line for line in lines if isinstance(line, CheckValue)),
        gone=tuple(line for line in lines if isinstance(line, HostGone)),
        wrong=tuple(line for line in lines if isinstance(line, WrongSum)),
    )
    each = "gpu" if options.fleet.gpus else "host"
    return of_outcome(outcome, nodes, fleet.ngpus, fleet.description, seed, inside, options.threshold, each)


def _plan(options: NodesOptions) -> Plan:
    return Plan(rounds=options.rounds, budget=options.budget, threshold=options.threshold)


def _finish(directory: RunDirectory, document: NodesDocument) -> None:
    """Write the lists of nodes, then the document.

    Raises:
        RunDirectoryError: They cannot be written.
    """
    for name, content in exclusion_files(document).items():
        try:
            (directory.path / name).write_text(content, encoding="utf-8")
        except OSError as problem:
            raise RunDirectoryError(f"cannot write {directory.path / name}: {problem.strerror}") from problem
    directory.finish(document)
