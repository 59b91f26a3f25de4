"""Results of the past as CSV: text in, group values out.

The header names ``nodes`` and ``value``, and may name ``metric``, ``unit``, ``rail`` and ``time``; other columns are
passed over. Each metric and unit is judged apart, and less is better where its name says that it is a time.
Node names are separated by commas (the field is quoted then), semicolons or blanks, or are a folded set. A value is a
number over 0, perhaps with its unit, or a word that says that the group gave none. Where semicolons or tabs separate
the fields, as in exports of spreadsheets, commas may be decimal ones.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from typing import NoReturn

from ncclprobe.decoding import is_measured
from ncclprobe.errors import ParseError, UsageError
from ncclprobe.nodes.design import parse_time
from ncclprobe.nodesets import expand
from ncclprobe.records.base import Record
from ncclprobe.records.nodes import GroupValue

NO_VALUE = {
    "failed": "failed",
    "fail": "failed",
    "error": "failed",
    "crashed": "failed",
    "nan": "failed",
    "timeout": "timeout",
    "hang": "timeout",
    "hung": "timeout",
}
"""Words in the value's place -> the group's status."""

TIME_UNITS = frozenset({"ns", "us", "µs", "μs", "ms", "s", "sec", "secs", "second", "seconds", "min", "minutes", "h"})
"""Units of times, by themselves or before a slash: ``ms/step``."""

TIME_WORDS = frozenset({"latency", "time", "duration", "elapsed", "ttft", "tpot", "itl"})
"""Words in a metric's name that make it a time; the last three are those of serving benchmarks."""

MOST_NAMES = 5_000_000
"""Of nodes that all rows together name: folded sets mean far more than they take to write."""

_RATIO = re.compile(r"/|(?<![a-z])per(?![a-z])")
_THOUSANDS = re.compile(r"[1-9]\d{0,2}(,\d{3})+(\.\d+)?")
_DECIMAL_COMMA = re.compile(r"\d+,(?:\d{1,2}|\d{4,})|(?:0|\d{4,}),\d+|\d{1,3}(?:\.\d{3})+,\d+")
"""``378,7``, ``0,975`` and ``1.378,75``, but not ``378,750``, which may be a thousand times as much."""
_POINTS = re.compile(r"\d{1,3}(?:\.\d{3})+")
"""Thousands where commas are decimal ones."""
_MEASURED = re.compile(r"([+-]?\d[\d.,]*(?:[eE][+-]?\d+)?)\s*([A-Za-zµμ][\w/µμ.-]*)?")
"""A number, and its unit."""


class Results(Record, frozen=True, kw_only=True):
    """What a CSV holds."""

    values: tuple[GroupValue, ...]
    """By time where every row has one, else in the order of the rows."""
    bad_times: tuple[int, ...]
    """Lines whose time is no time; the column is then not used at all."""
    some_times: bool
    """Whether some rows have a time and others have none; the column is then not used either."""
    inverted: tuple[str, ...] = ()
    """Metrics and units that were taken for times by their name, so that less is better."""
    repeated: int = 0
    """Rows that said again what another did, at the same time; they were left out."""


def parse_results(text: str, source: str, *, lower_is_better: bool = False) -> Results:
    """Return the values of a CSV; larger is better in them, a time having been inverted.

    Args:
        text: The file, with or without a byte order mark, with any line ends, separated by comma, semicolon or tab.
        source: For messages.
        lower_is_better: The values are times, all of them; else those that the metric's or the unit's name says.

    Raises:
        ParseError: A column is missing, or a row is not what the header says.
    """
    lines = text.removeprefix("\ufeff").splitlines()
    start = next((n for n, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")), None)
    if start is None:
        raise ParseError("no header; the first line must name the columns nodes and value", source=source)
    delimiter = _delimiter(lines[start])
    header = _header(lines[start], delimiter, source, start + 1)
    for name in ("nodes", "value"):
        if header.count(name) != 1:
            what = f"the header must name the column {name!r} once"
            raise ParseError(what, source=source, line=start + 1, text=lines[start])

    def rows() -> Iterator[tuple[int, dict[str, str]]]:
        for line, fields in _rows("\n".join(lines[start + 1 :]), delimiter, source, start + 1):
            yield line, _row(header, fields, source, line)

    commas = delimiter != "," and any(_DECIMAL_COMMA.fullmatch(_parts(row["value"])[0]) for _, row in rows())
    values, times, named = [], [], 0
    for line, row in rows():
        number = _with_point(row["value"]) if commas else row["value"]
        values.append(_value(row | {"value": number}, source, line, lower_is_better=lower_is_better))
        times.append((line, values[-1].time))
        named += len(values[-1].nodes)
        if named > MOST_NAMES:
            what = f"the rows up to here name nodes over {MOST_NAMES} times; split the file, for instance by time"
            raise ParseError(what, source=source, line=line)
    if not values:
        raise ParseError("there is a header, but no row", source=source, line=start + 1, text=lines[start])
    return _timed(values, times).with_(inverted=() if lower_is_better else _inverted(values))


def _header(text: str, delimiter: str, source: str, line: int) -> list[str]:
    try:
        return [name.strip().lower() for name in next(csv.reader([text], delimiter=delimiter))]
    except csv.Error as problem:
        raise ParseError(f"not a header of CSV ({problem})", source=source, line=line) from problem


def _delimiter(header: str) -> str:
    return max((",", ";", "\t"), key=header.count)


def _rows(text: str, delimiter: str, source: str, before: int) -> Iterator[tuple[int, list[str]]]:
    """Yield the line's number and the fields of every row that is neither blank nor a comment."""
    begins = True

    def lines() -> Iterator[str]:
        """Yield each line, a comment as an empty one: its quotes are none of CSV's."""
        nonlocal begins
        for line in io.StringIO(text):
            comment, begins = begins and line.lstrip().startswith("#"), False
            yield "\n" if comment else line

    reader = csv.reader(lines(), delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        for fields in reader:
            begins = True
            if any(field.strip() for field in fields) and not fields[0].lstrip().startswith("#"):
                yield before + reader.line_num, fields
    except csv.Error as problem:
        line = before + reader.line_num
        raise ParseError(f"not a row of CSV ({problem})", source=source, line=line) from problem


def _row(header: Sequence[str], fields: Sequence[str], source: str, line: int) -> dict[str, str]:
    """Return a row by its columns' names; spreadsheets leave empty fields at a row's end."""
    number = len(fields)
    while number > len(header) and not fields[number - 1].strip():
        number -= 1
    fields = fields[:number]
    if len(fields) != len(header):
        hint = "; quote names that are separated by commas" if len(fields) > len(header) else ""
        what = f"{len(fields)} fields where the header has {len(header)}{hint}"
        raise ParseError(what, source=source, line=line, text=",".join(fields))
    return {name: field.strip() for name, field in zip(header, fields, strict=True)}


def _value(row: dict[str, str], source: str, line: int, *, lower_is_better: bool) -> GroupValue:
    def refuse(what: str, text: str) -> NoReturn:
        raise ParseError(what, source=source, line=line, text=text)

    status = NO_VALUE.get(row["value"].lower(), "ok")
    number, beside = _parts(row["value"])
    value = _number(number) if status == "ok" else 0.0
    if value is None or (status == "ok" and not is_measured(value)):
        refuse(
            "the value is no number over 0 such as 381.2, with a point before decimals; "
            "a group without one has 'failed' or 'timeout'",
            row["value"],
        )
    try:
        nodes = expand(row["nodes"].replace(";", ","))
    except UsageError as problem:
        raise ParseError(f"no node names ({problem})", source=source, line=line, text=row["nodes"]) from problem
    if beside and row.get("unit", beside) not in (beside, ""):
        refuse(f"the value is in {beside}, and its column says {row['unit']}", row["value"])
    unit = _unit(row.get("metric", ""), row.get("unit") or beside)
    inverse = status == "ok" and (lower_is_better or is_time(unit))
    return GroupValue(
        nodes=nodes,
        value=1 / value if inverse else value,
        unit=unit,
        rail=row.get("rail") or None,
        time=row.get("time") or None,
        status=status,
    )


def _unit(metric: str, unit: str) -> str | None:
    """Return what values must share to be compared: ``decode throughput, tok/s``."""
    return ", ".join(part for part in (metric, unit) if part) or None


def is_time(unit: str | None) -> bool:
    """Return whether a metric and unit, as ``_unit`` joins them, say that a value is a time."""
    metric, _, last = (unit or "").lower().rpartition(", ")
    measured = _RATIO.split(last)[0]
    return _names_a_time(measured) or (measured == last and _names_a_time(_RATIO.split(metric)[0]))


def _names_a_time(name: str) -> bool:
    words = [word for word in re.split(r"[^a-zµμ]+", name) if word]
    return bool(words) and (words[-1] in TIME_UNITS or not TIME_WORDS.isdisjoint(words))


def _inverted(values: Sequence[GroupValue]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value.unit for value in values if value.unit and is_time(value.unit)))


def _parts(value: str) -> tuple[str, str]:
    """Return a value's number and its unit; the whole of it where it is neither."""
    found = _MEASURED.fullmatch(value)
    return (found[1], found[2] or "") if found else (value, "")


def _with_point(value: str) -> str:
    number, _ = _parts(value)
    is_other = "," in number or _POINTS.fullmatch(number)
    return value.replace(number, number.replace(".", "").replace(",", "."), 1) if is_other else value


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", "") if _THOUSANDS.fullmatch(text) else text)
    except ValueError:
        return None


def _timed(values: Sequence[GroupValue], times: Sequence[tuple[int, str | None]]) -> Results:
    """Return the values by time, or without any where not every row has one that can be read."""
    bad = tuple(line for line, time in times if time is not None and math.isnan(parse_time(time)))
    some = any(time is None for _, time in times) and any(time is not None for _, time in times)
    if bad or some:
        values = [value.with_(time=None) for value in values]
    elif values[0].time is not None:
        values = sorted(dict.fromkeys(values), key=lambda value: parse_time(value.time or ""))
    return Results(values=tuple(values), bad_times=bad, some_times=some, repeated=len(times) - len(values))
