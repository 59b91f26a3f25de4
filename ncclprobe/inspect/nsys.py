"""Nsight Systems' table of kernels (``nsys stats -r cuda_gpu_kern_sum``): as text, bordered, Markdown, CSV or JSON.

Source: Nsight Systems 2025.1, reports ``cuda_gpu_kern_sum`` and older ``gpukernsum``.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from ncclprobe.captured import Line, cells
from ncclprobe.findings import Finding, info
from ncclprobe.inspect.source import Reading, Source
from ncclprobe.kernels import nccl_kernel
from ncclprobe.records.inspect import Kernel, Nsys


class KernelRow(NamedTuple):
    """One row of the table."""

    name: str
    percent: float | None
    total_ns: float
    instances: int


class Columns(NamedTuple):
    """Where a table has what."""

    percent: int | None
    total: int
    instances: int
    name: int
    scale: float
    """Nanoseconds of the total's unit."""
    numeric: int
    """Columns before the first that is no number, for rows without separators."""
    separator: str | None
    """Of CSV and TSV."""


_HINTS = ("Total Time", "ncclDevKernel", "ncclKernel_", "RingLLKernel")
_UNITS = {"ns": 1.0, "nsec": 1.0, "us": 1e3, "usec": 1e3, "μs": 1e3, "µs": 1e3, "ms": 1e6, "msec": 1e6, "s": 1e9}
_UNIT = re.compile(r"total time\s{0,8}\(?\s{0,8}(\w{1,8})?\s{0,8}\)?$", re.IGNORECASE)
_PERCENT = re.compile(r"time\s{0,8}\(?\s{0,8}%\s{0,8}\)?$", re.IGNORECASE)
_TITLES = re.compile(
    r"Time ?\(%\)|Total Time(?: ?\(\w+\))?|Instances|(?:Avg|Average|Med|Median|Min|Minimum|Max|Maximum|StdDev)"
    r"(?: ?\(\w+\))?|GridXYZ|BlockXYZ|Name"
)
_AMOUNT = re.compile(r"([\d,]{0,30}\.?\d{1,30}(?:[eE][-+]?\d{1,2})?) ?(ns|us|μs|µs|ms|s|%)?$")
_BARE_ROW = re.compile(
    r"\s*(\d{1,3}(?:\.\d+)?)%?\s+([\d,]{1,20})\s+([\d,]{1,15})((?:\s+[\d,]{1,20}(?:\.\d+)?){1,6})\s+"
    r"((?:void )?nccl\w+.*)$"
)
_BARE = Columns(percent=0, total=1, instances=2, name=4, scale=1.0, numeric=4, separator=None)
_CUSTOM = re.compile(
    r"cross_device_reduce|custom_all_?reduce|all_?reduce_(?:(?:one|two)_?shot|simple|fusion)|"
    r"(?:one|two)_?shot_?all_?reduce|multimem_all",
    re.IGNORECASE,
)
_WHOLE = 98.0
"""Percent that a table's rows come to where none was cut off; the rest is rounding."""


def read(source: Source) -> Reading | None:
    """Return NCCL's kernels of a text's kernel tables added up, None where it has no such table."""
    if not any(hint in source.text for hint in _HINTS):
        return None
    rows = list(_json_rows(source) or _table_rows(source.lines))
    if not rows:
        return None
    document = Nsys(source=source.name, kernels=tuple(_kernels(rows)), comm_share=_share(rows))
    return Reading(documents=(document,), findings=tuple(_judge(source.name, rows)))


# ---- rows


def _table_rows(lines: Iterable[Line]) -> Iterator[KernelRow]:
    columns: Columns | None = None
    for line in lines:
        text = line.text
        if "Time" in text and (found := _columns(*_header(text))):
            columns = found
        elif columns is None:
            if match := _BARE_ROW.match(text):
                yield from _row([*match.groups()], _BARE)
        elif not text.strip() and "|" not in text:
            continue
        elif text.lstrip().startswith("**") or ("Time" in text and "Total" in text):
            columns = None
        else:
            yield from _row(_values(text, columns), columns)


def _header(text: str) -> tuple[list[str], str | None]:
    """Return the titles of a header line in any of the forms, and CSV's separator."""
    split = cells(text)
    if split:
        return [title.strip("* `") for title in split], None
    for separator in (",", "\t"):
        if text.count(separator) >= 3:
            return [title.strip().strip('"') for title in text.split(separator)], separator
    return (_TITLES.findall(text) if "Instances" in text else []), None


def _columns(titles: list[str], separator: str | None = None) -> Columns | None:
    """Return where a kernel table has its columns, None where the titles are of another table."""
    named = {title.lower(): at for at, title in enumerate(titles)}
    name = next((named[title] for title in ("name", "kernel name", "kernel") if title in named), None)
    total = next(((at, match) for at, title in enumerate(titles) if (match := _UNIT.match(title))), None)
    if name is None or total is None or "instances" not in named:
        return None
    return Columns(
        percent=next((at for at, title in enumerate(titles) if _PERCENT.match(title)), None),
        total=total[0],
        instances=named["instances"],
        name=name,
        scale=_UNITS.get(str(total[1][1]), 1.0),
        numeric=min(name, named.get("gridxyz", name)),
        separator=separator,
    )


def _values(text: str, columns: Columns) -> list[str]:
    """Return a row's cells."""
    if split := cells(text):
        return list(split)
    if columns.separator:
        return next(csv.reader([text.strip()], delimiter=columns.separator))
    parts = re.sub(r"(?<=\d) (?=(?:ns|us|ms|s|μs|µs)\s)", "", text).split(None, columns.numeric)
    return parts if len(parts) > columns.numeric else []


def _row(values: list[str], columns: Columns) -> Iterator[KernelRow]:
    """Yield a row; nothing for rules, other text and cut-off lines."""
    if len(values) <= max(columns.total, columns.instances):
        return
    name = values[columns.name] if len(values) > columns.name else values[-1]
    total, count = _amount(values[columns.total], columns.scale), _amount(values[columns.instances], 1.0)
    percent = None if columns.percent is None else _amount(values[columns.percent], 1.0)
    if total is not None and count is not None and (columns.percent is None or percent is not None):
        yield KernelRow(name.strip().strip('"`'), percent, total, round(count))


def _amount(text: str, scale: float) -> float | None:
    match = _AMOUNT.match(text.strip().strip('"*'))
    if not match:
        return None
    unit = match[2]
    return float(match[1].replace(",", "")) * (_UNITS[unit] if unit and unit != "%" else scale)


def _json_rows(source: Source) -> list[KernelRow] | None:
    """Return the rows of ``nsys stats --format json``, None where the text is none."""
    if '"Instances"' not in source.text or not isinstance(source.json, list):
        return None
    return [row for entry in source.json if isinstance(entry, dict) for row in _json_row(entry)] or None


def _json_row(entry: dict[str, Any]) -> Iterator[KernelRow]:
    titles = list(entry)
    if columns := _columns(titles):
        yield from _row([str(entry[title]) for title in titles], columns)


# ---- kernels


def _kernels(rows: Iterable[KernelRow]) -> Iterator[Kernel]:
    """Yield NCCL's kernels by name, in order of appearance; those of several tables are added up."""
    sums: dict[tuple[str, str | None, str], tuple[float, int]] = {}
    for row in rows:
        if spelled := nccl_kernel(row.name):
            key = (*spelled, row.name.removeprefix("void ").partition("(")[0])
            total, count = sums.get(key, (0.0, 0))
            sums[key] = total + row.total_ns, count + row.instances
    for (collective, dtype, name), (total, count) in sums.items():
        yield Kernel(collective=collective, dtype=dtype, name=name, time_us=total / 1e3, count=count)


def _share(rows: list[KernelRow]) -> float | None:
    """Return NCCL's part of all kernels' time; by the percentages where the table shows only its first rows."""
    whole = sum(row.total_ns for row in rows)
    if not whole:
        return None
    percents = [row.percent or 0.0 for row in rows]
    if None not in (row.percent for row in rows) and 0 < sum(percents) < _WHOLE:
        listed = sum(percent for row, percent in zip(rows, percents, strict=True) if nccl_kernel(row.name))
        return round(listed / 100, 6)
    return round(sum(row.total_ns for row in rows if nccl_kernel(row.name)) / whole, 6)


def _judge(source: str, rows: list[KernelRow]) -> Iterator[Finding]:
    custom = [row for row in rows if _CUSTOM.search(row.name)]
    whole = sum(row.total_ns for row in rows)
    if custom and whole:
        share = sum(row.total_ns for row in custom) / whole
        yield info(
            "custom-all-reduce",
            source,
            f"{share:.1%} of the kernels' time is all-reduce outside NCCL ({custom[0].name[:60]}), not in comm_share",
            "NCCL's settings do not reach it; --disable-custom-all-reduce sends those messages through NCCL",
        )
