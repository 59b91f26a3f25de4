"""``ncclprobe nodes --history``: reads run directories of earlier runs, and says when nodes changed."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import sys
from collections.abc import Iterator

from tqdm import tqdm

from ncclprobe.cli.nodes_readings import KeptReadings
from ncclprobe.cli.verbosity import is_quiet
from ncclprobe.errors import ProbeError, UsageError
from ncclprobe.findings import Finding, warning
from ncclprobe.nodes.csv import Results
from ncclprobe.nodes.design import parse_time
from ncclprobe.nodes.document import of_results
from ncclprobe.nodes.history import Newest, PastRun, change_findings, changes
from ncclprobe.nodes.level import Levels
from ncclprobe.records.base import Record
from ncclprobe.records.nodes import GroupValue, NodesDocument
from ncclprobe.records.sweep import SweepDocument
from ncclprobe.store import DOCUMENT, MANIFEST, Manifest, read_document, read_journal, read_manifest, stored_options

MEASURING = ("nodes", "sweep")
"""Commands whose runs say something of nodes."""


def changed(path: pathlib.Path, threshold: float) -> NodesDocument:
    """Return the verdicts on every node by its values since it last changed, and when nodes changed.

    Runs are read one by one, and nothing but their readings is held of the older ones.

    Raises:
        UsageError: There is no run that measured nodes.
    """
    runs, levels, newest = [], Levels(), Newest()
    unread: list[Finding] = []
    with KeptReadings(path) as kept:
        for run in _in_order(path, unread):
            runs.append(dataclasses.replace(run, values=(), readings=kept.of(run)))
            levels.add(run)
            newest.add(run)
    if not runs:
        more = f" that can be read ({unread[0].message})" if unread else ""
        raise UsageError(
            f"{path} holds no run of nodes, or of sweep on several hosts{more}; name the folder that holds them"
        )
    found = changes(runs, threshold)
    results = Results(values=newest.values(found), bad_times=(), some_times=False)
    document = of_results(results, f"{len(runs)} runs in {path}", threshold)
    told = (*change_findings(runs, found), *levels.findings(threshold), *unread)
    return document.with_(findings=(*document.findings, *told))


def _in_order(folder: pathlib.Path, unread: list[Finding]) -> Iterator[PastRun]:
    """Yield the runs that measured something, in order of time; tell of those that cannot be read."""
    quiet = is_quiet() or not sys.stderr.isatty()
    for _, path in tqdm(sorted(_measuring(folder, unread)), unit="run", disable=quiet, leave=False, delay=1):
        with _told(path, unread):
            run = past_run(pathlib.Path(path))
            if run.values:
                yield run


def _measuring(folder: pathlib.Path, unread: list[Finding]) -> Iterator[tuple[float, str]]:
    """Yield time and path of the runs whose command measures nodes."""
    for file in folder.rglob(MANIFEST):
        with _told(str(file.parent), unread):
            manifest = read_manifest(file.parent)
            if manifest.command in MEASURING:
                yield parse_time(manifest.created), str(file.parent)


@contextlib.contextmanager
def _told(path: str, unread: list[Finding]) -> Iterator[None]:
    """Make a finding of a run that cannot be read: the others are judged without it."""
    try:
        yield
    except ProbeError as problem:
        hint = "mend or remove it; the verdicts are of the other runs"
        unread.append(warning("unreadable-run", path, f"a run is left out: {problem}", hint))


def past_run(path: pathlib.Path) -> PastRun:
    """Return what a run directory says of nodes; no values where it is of another command."""
    manifest = read_manifest(path)
    if manifest.command == "nodes":
        values = [line for line in read_journal(path, {"group-value": GroupValue}) if isinstance(line, GroupValue)]
    elif manifest.command == "sweep" and (path / DOCUMENT).exists():
        values = list(_swept(path, manifest))
    else:
        values = []
    return PastRun(time=manifest.created, source=str(path), values=tuple(values))


class _Hosts(Record, frozen=True, kw_only=True):
    """What a sweep's options say of where it ran."""

    hosts: tuple[str, ...] | None = None


def swept_hosts(path: pathlib.Path, manifest: Manifest) -> tuple[str, ...]:
    """Return the hosts that a sweep was given, empty for none."""
    return stored_options(path, manifest, _Hosts).hosts or ()


def _swept(path: pathlib.Path, manifest: Manifest) -> Iterator[GroupValue]:
    """Yield the default's bus bandwidth on a sweep's hosts: a value of one group a collective, type and size."""
    hosts = swept_hosts(path, manifest)
    document = read_document(path, [SweepDocument])
    if len(hosts) < 2 or not isinstance(document, SweepDocument):
        return
    for cell in document.cells:
        if cell.algo == "default" and cell.busbw_gbps:
            unit = f"default {cell.collective} {cell.dtype} of {cell.size_bytes} bytes, GB/s"
            yield GroupValue(nodes=hosts, value=cell.busbw_gbps, unit=unit)
