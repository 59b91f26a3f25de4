"""What a sweep knows of the nodes' hardware, and what it says with that: is this normal?"""

from __future__ import annotations

import os
import pathlib
from typing import cast

from ncclprobe.errors import UsageError
from ncclprobe.records.normal import Hardware
from ncclprobe.records.scan import Host, ScanDocument
from ncclprobe.records.sweep import SweepDocument
from ncclprobe.scan.hardware import hardware_of
from ncclprobe.store import Manifest, read_document
from ncclprobe.sweep.normal import normality, oddities
from ncclprobe.sweep.plan import SweepOptions
from ncclprobe.sweep.published import published_figures

NOT_THE_HOSTS = frozenset({"functional-only", "pretended-nodes"})
"""Findings of sweeps whose ranks do not talk as the hardware would let them."""


def seen_hardware(options: SweepOptions, scan: pathlib.Path | None) -> Hardware | None:
    """Return what the ranks' nodes have: from a scan, else from a look at this machine if ranks run here alone.

    Raises:
        UsageError: The scan does not know a node, or the ranks are on no GPU.
        RunDirectoryError: There is no scan at the path.
    """
    if options.backend != "nccl":
        if scan is not None:
            raise UsageError(f"--scan tells what GPUs can do; leave it away with --backend {options.backend}")
        return None
    if scan is not None:
        return hardware_of(_scanned(scan, options.hosts), os.environ)
    return _local() if options.launcher == "local" and not options.hosts else None


def _local() -> Hardware | None:
    from ncclprobe.scan.collect import glanced  # NVML's binding is loaded for GPUs alone

    return hardware_of([glanced()], os.environ)


def _scanned(path: pathlib.Path, names: tuple[str, ...]) -> tuple[Host, ...]:
    found = cast(ScanDocument, read_document(path, [ScanDocument])).hosts
    if not names:
        return found
    hosts = {host.host: host for host in found}
    if missing := [name for name in names if name not in hosts]:
        raise UsageError(f"--scan {path} does not have {', '.join(missing)}; scan these nodes, too")
    return tuple(hosts[name] for name in names)


def with_normality(document: SweepDocument, manifest: Manifest) -> SweepDocument:
    """Return the document with what its bandwidths are to be compared with, and what is odd about them."""
    if manifest.hardware is None or NOT_THE_HOSTS & {finding.code for finding in document.findings}:
        return document
    found = normality(document, manifest.hardware, manifest.environment, published_figures())
    return document if found is None else document.with_(normal=found, findings=(*document.findings, *oddities(found)))
