"""What people read after ``inspect``: a block a document, then the findings."""

from __future__ import annotations

import collections
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tabulate import tabulate

from ncclprobe.nodesets import fold
from ncclprobe.records.inspect import (
    Choice,
    Half,
    InspectDocument,
    Inspected,
    NcclLog,
    NcclTests,
    Nsys,
    Row,
    SglangResults,
    TunerCsv,
)
from ncclprobe.report.text.findings import WIDTH, findings_text
from ncclprobe.units import format_size

_SHOWN = 12
"""Entries of a list before the rest is counted only."""


def inspect_text(document: InspectDocument, path: str = "", *, with_findings: bool = True) -> str:
    """Return what each file says and the findings, in at most 80 columns where names allow it.

    Args:
        document: The result.
        path: Its run directory; empty for none.
        with_findings: Let the findings stand below; without, they only count for the answer.
    """
    where = f"Run directory: {path}" if path else ""
    parts = [*map(_block, document.documents), findings_text(document.findings if with_findings else ()), where]
    return "\n\n".join(part for part in parts if part)


def _block(document: Inspected) -> str:
    for kind, name, text in _KINDS:
        if isinstance(document, kind):
            return f"{document.source}: {name}\n\n{text(document)}"
    return document.source


# ---- NCCL logs


def _log(log: NcclLog) -> str:
    pairs = [(name, value) for name, value in _log_pairs(log) if value]
    return "\n\n".join(
        part
        for part in (
            _pairs(pairs),
            _choices(log.choices),
            _quoted("Errors", [(failure.text, failure.count) for failure in log.errors]),
            _quoted("Warnings", [(caution.text, caution.count) for caution in log.warnings]),
        )
        if part
    )


def _log_pairs(log: NcclLog) -> Iterable[tuple[str, str]]:
    gdr = {True: "yes", False: "no", None: ""}[log.gdr]
    yield "NCCL", log.version or "unknown version"
    yield "ranks", _and(log.nranks, log.nnodes, "nodes")
    yield "hosts", fold(log.hosts)
    yield "channels", "" if log.nchannels is None else str(log.nchannels)
    yield "connections", ", ".join(f"{name} {count}" for name, count in log.transports.items())
    yield "GPUDirect RDMA", gdr
    yield (
        "HCAs",
        ", ".join(
            f"{hca.name}{'' if hca.port is None else f':{hca.port}'}{f' ({hca.link})' if hca.link else ''}"
            for hca in log.hcas
        ),
    )
    yield (
        "plugins",
        ", ".join(f"{plugin.kind} {plugin.name}{'' if plugin.loaded else ' (absent)'}" for plugin in log.plugins),
    )
    yield "environment", ", ".join(f"{name}={value}" for name, value in log.env.items())


def _and(number: int | None, other: int | None, what: str) -> str:
    if number is None:
        return ""
    return str(number) if other is None else f"{number} on {other} {what if other > 1 else what[:-1]}"


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    lines = []
    for name, value in pairs:
        lines += textwrap.wrap(
            f"{name:<16}{value}", WIDTH, subsequent_indent=" " * 16, break_on_hyphens=False, break_long_words=False
        )
    return "\n".join(lines)


def _choices(choices: Sequence[Choice]) -> str:
    """Return a row a range of sizes for which NCCL chose alike."""
    ranges: dict[tuple[str, str, str, str], list[int]] = collections.defaultdict(list)
    for choice in sorted(choices, key=lambda choice: (choice.collective or "", choice.size_bytes)):
        key = (choice.collective or "-", choice.algo, choice.proto, _text(choice.nchannels))
        ranges[key].append(choice.size_bytes)
    rows = [
        [collective, _range(sizes), algo, proto, nchannels]
        for (collective, algo, proto, nchannels), sizes in ranges.items()
    ]
    return _table(rows, ["collective", "sizes", "algo", "proto", "channels"])


def _range(sizes: Sequence[int]) -> str:
    low, high = format_size(min(sizes)), format_size(max(sizes))
    return low if low == high else f"{low} to {high}"


def _quoted(title: str, entries: Sequence[tuple[str, int]]) -> str:
    if not entries:
        return ""
    lines = [f"{title}:"]
    for text, count in entries[:_SHOWN]:
        times = f"{count}× " if count > 1 else ""
        lines += textwrap.wrap(times + text, WIDTH, initial_indent="  ", subsequent_indent="    ")
    if len(entries) > _SHOWN:
        lines.append(f"  and {len(entries) - _SHOWN} more; --json has all")
    return "\n".join(lines)


# ---- tables


def _nccl_tests(table: NcclTests) -> str:
    in_place = any(row.in_place for row in table.rows)
    dtypes, redops = {row.dtype for row in table.rows}, {row.redop for row in table.rows}
    named = [("type", dtypes), ("redop", redops)]
    varied = [name for name, values in named if len(values) > 1]
    columns = ["size", *varied, *_HALF, *(_HALF if in_place else [])]
    head = [
        ("collective", table.collective or "not said"),
        ("ranks", _text(table.nranks)),
        *((name, next(iter(values)) or "") for name, values in named if len(values) == 1),
        ("mean busbw", "" if table.avg_busbw_gbps is None else f"{table.avg_busbw_gbps:g} GB/s"),
    ]
    rows = [_nccl_tests_row(row, varied, in_place=in_place) for row in table.rows]
    note = "Times and bandwidths (GB/s) out of place, then in place." if in_place else "Bandwidths in GB/s."
    parts = (_pairs([(name, value) for name, value in head if value]), _table(rows, columns), note if rows else "")
    return "\n\n".join(part for part in parts if part)


_HALF = ["µs", "algbw", "busbw", "wrong"]


def _nccl_tests_row(row: Row, varied: Sequence[str], *, in_place: bool) -> list[str]:
    words = {"type": row.dtype or "-", "redop": row.redop or "-"}
    halves = [row.out_of_place, row.in_place] if in_place else [row.out_of_place]
    return [
        format_size(row.size_bytes),
        *(words[name] for name in varied),
        *(cell for half in halves for cell in (_half(half) if half else ["-"] * len(_HALF))),
    ]


def _half(half: Half) -> list[str]:
    numbers = (half.time_us, half.algbw_gbps, half.busbw_gbps)
    return [*("-" if number is None else f"{number:g}" for number in numbers), _text(half.wrong) or "-"]


def _sglang(results: SglangResults) -> str:
    if not results.results:
        return "No result: the text ends in the warm-up, or nothing in its blocks can be read."
    names = list(dict.fromkeys(name for result in results.results for name in result))
    rows = [[name, *(f"{result[name]:.7g}" if name in result else "-" for result in results.results)] for name in names]
    if len(results.results) > _COLUMNS:
        return "\n\n".join(
            _table([[row[0], row[at + 1]] for row in rows if row[at + 1] != "-"], ["metric", f"result {at + 1}"])
            for at in range(len(results.results))
        )
    return _table(rows, ["metric", *(f"result {at + 1}" for at in range(len(results.results)))])


_COLUMNS = 3


def _nsys(table: Nsys) -> str:
    """Return the kernels added up by collective and type."""
    sums: dict[tuple[str, str | None], tuple[int, float]] = {}
    for kernel in table.kernels:
        count, time_us = sums.get((kernel.collective, kernel.dtype), (0, 0.0))
        sums[kernel.collective, kernel.dtype] = count + kernel.count, time_us + kernel.time_us
    rows = [
        [collective, dtype or "-", str(count), f"{time_us / 1e3:.6g}"]
        for (collective, dtype), (count, time_us) in sums.items()
    ]
    share = "" if table.comm_share is None else f"NCCL's kernels take {table.comm_share:.1%} of the kernels' time."
    text = _table(rows, ["collective", "type", "kernels", "time ms"]) or "No kernel of NCCL."
    return "\n\n".join(filter(None, [text, share]))


def _tuner(table: TunerCsv) -> str:
    rows = [
        [
            row.collective,
            format_size(row.min_bytes),
            format_size(row.max_bytes),
            row.algo,
            row.proto,
            _text(row.nchannels) or "default",
            _text(row.nnodes) or "any",
            _text(row.nranks) or "any",
        ]
        for row in table.rows
    ]
    return _table(rows, ["collective", "from", "to", "algo", "proto", "chans", "nodes", "ranks"])


def _table(rows: Sequence[Sequence[str]], columns: Sequence[str]) -> str:
    return tabulate(rows, columns, tablefmt="simple", disable_numparse=True) if rows else ""


def _text(number: int | None) -> str:
    return "" if number is None else str(number)


_KINDS: tuple[tuple[type[Any], str, Callable[[Any], str]], ...] = (
    (NcclLog, "NCCL log", _log),
    (NcclTests, "nccl-tests", _nccl_tests),
    (SglangResults, "SGLang results", _sglang),
    (Nsys, "nsys kernels", _nsys),
    (TunerCsv, "tuner table", _tuner),
)
"""Type -> what it is called and what writes it."""
