"""What people read after ``scan``: HCAs and GPUs of each kind of node, variables to paste, findings."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec
from tabulate import tabulate

from ncclprobe.findings import Finding
from ncclprobe.nodesets import fold
from ncclprobe.records.scan import Gpu, Hca, Host, Port, ScanDocument

WIDTH = 80
_HCA_COLUMNS = ("HCA", "port", "link layer", "state", "Gbit/s", "MTU", "netdev", "NUMA", "firmware")
_GPU_COLUMNS = ("GPU", "name", "PCI", "NUMA", "NVLinks", "nearest HCAs")


def scan_text(document: ScanDocument, path: str = "", *, with_findings: bool = True) -> str:
    """Return tables, variables and findings, in at most 80 columns where names allow it.

    Args:
        document: The result.
        path: Its run directory; empty for none.
        with_findings: Let the findings stand below; without, they only count for the answer.
    """
    found = [*_hosts(document.hosts), _variables(document)] if document.hosts else ["No node was scanned."]
    parts = [*found, _findings(document.findings if with_findings else ())]
    where = f"Run directory: {path}" if path else ""
    return "\n\n".join(part for part in (*parts, where) if part)


# ---- hosts


def _hosts(hosts: Sequence[Host]) -> list[str]:
    """Return a block for each kind of host: those whose tables would be equal share one."""
    groups: dict[_Rows, list[Host]] = defaultdict(list)
    for host in hosts:
        groups[_rows(host)].append(host)
    return [f"{_heading(alike)}\n\n{_tables(rows)}".strip() for rows, alike in groups.items()]


_Row = tuple[str, ...]
_Rows = tuple[tuple[_Row, ...], tuple[_Row, ...]]


def _rows(host: Host) -> _Rows:
    return tuple(row for hca in host.hcas for row in _hca_rows(hca)), tuple(_gpu_row(gpu) for gpu in host.gpus)


def _heading(alike: Sequence[Host]) -> str:
    """Return ``dgx[001-004] (4 nodes): 12 HCAs, 8 GPUs``."""
    first = alike[0]
    names = fold(host.host for host in alike if host.host) or "This node"
    count = f" ({len(alike)} nodes)" if len(alike) > 1 else ""
    ports = sum(len(hca.ports) for hca in first.hcas)
    holds = [_counted(len(first.hcas), "HCA"), _counted(len(first.gpus), "GPU")]
    holds[1:1] = [_counted(ports, "port")] if ports > len(first.hcas) else []
    return f"{names}{count}: {', '.join(holds)}"


def _counted(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


def _tables(rows: _Rows) -> str:
    return "\n\n".join(filter(None, [_table(rows[0], _HCA_COLUMNS), _table(rows[1], _GPU_COLUMNS)]))


def _table(rows: Sequence[Sequence[str]], columns: Sequence[str]) -> str:
    """Return a table without the columns in which no row says anything."""
    if not rows:
        return ""
    kept = [at for at in range(len(columns)) if at == 0 or any(row[at] for row in rows)]
    shown = [[row[at] or "-" for at in kept] for row in rows]
    return tabulate(shown, [columns[at] for at in kept], tablefmt="simple", disable_numparse=True)


def _hca_rows(hca: Hca) -> Iterable[_Row]:
    yield from (_port_row(hca, port) for port in hca.ports)
    if not hca.ports:
        yield hca.name, *[""] * 6, _text(hca.numa_node), hca.fw_version or ""


def _port_row(hca: Hca, port: Port) -> _Row:
    rate = "" if port.rate_gbps is None else f"{port.rate_gbps:g}"
    return (
        hca.name,
        str(port.port) if len(hca.ports) > 1 else "",
        port.link_layer or "",
        port.state or "",
        rate,
        _text(port.active_mtu),
        port.netdev or "",
        _text(hca.numa_node),
        hca.fw_version or "",
    )


def _gpu_row(gpu: Gpu) -> _Row:
    near = fold(gpu.nearest_hcas)
    return (str(gpu.index), gpu.name or "", gpu.pci_bus_id or "", _text(gpu.numa_node), _text(gpu.nvlinks), near)


def _text(number: int | None) -> str:
    return "" if number is None else str(number)


# ---- variables and findings


def _variables(document: ScanDocument) -> str:
    """Return lines to paste into a job script; the reasons are its comments."""
    if not document.env:
        return "There are no grounds to set any variable."
    lines = []
    for variable in document.env:
        lines += textwrap.wrap(variable.reason, WIDTH, initial_indent="# ", subsequent_indent="# ")
        # A shell such as zsh would look for a command behind an unquoted =.
        lines.append(f"export {variable.name}='{variable.value}'")
    return "\n".join(lines)


def _findings(findings: Sequence[Finding]) -> str:
    """Return the findings; those that differ in nothing but their subject are shown once."""
    alike: dict[Finding, list[str]] = defaultdict(list)
    for finding in findings:
        alike[msgspec.structs.replace(finding, subject="")].append(finding.subject)
    return "\n".join(_finding(finding, fold(subjects)) for finding, subjects in alike.items())


def _finding(finding: Finding, subject: str) -> str:
    heading = f"{finding.severity} {finding.code} ({subject}): {finding.message}"
    return "\n".join([*_wrapped(heading, ""), *_wrapped(finding.hint, "  ")])


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent or "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
