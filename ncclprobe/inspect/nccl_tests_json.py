"""What nccl-tests' ``-J FILE`` writes.

Source: nccl-tests 2.19.6, src/util.cu, ``JSON_FILE_VERSION`` 3: numbers may be the string ``nan``, ``nwrong`` is null
where validation is off.
"""

from __future__ import annotations

import pathlib
from typing import Any

from ncclprobe.decoding import finite, whole_number
from ncclprobe.inspect.nccl_tests_ranks import Bandwidths, ranks_of
from ncclprobe.inspect.source import Source
from ncclprobe.names import Collective
from ncclprobe.records.inspect import Half, NcclTests, Row

_HALFWIDTH = 5e-7
_MOST_RANKS, _MOST_COUNT = 1 << 24, 1 << 62
"""More is no number of ranks, bytes or elements."""


def read(source: Source) -> NcclTests | None:
    """Return the table of a JSON file, None where the text is none of nccl-tests'."""
    if '"results"' not in source.text or '"bus_bw"' not in source.text or not isinstance(source.json, dict):
        return None
    results = source.json.get("results")
    return _document(source.name, source.json, results) if isinstance(results, list) else None


def _document(name: str, content: dict[str, Any], results: list[Any]) -> NcclTests:
    rows = tuple(_row(entry) for entry in results if isinstance(entry, dict) and _has_half(entry))
    program = _program(content.get("args"))
    known = Collective.parse(program) if program else None
    ranks = [
        device["rank"]
        for device in _devices(content)
        if isinstance(device.get("rank"), int) and 0 <= device["rank"] < _MOST_RANKS
    ]
    halves = (half for row in rows for half in (row.out_of_place, row.in_place) if half)
    return NcclTests(
        source=name,
        collective=known.value if known else program,
        nranks=max(ranks) + 1 if ranks and max(ranks) < _MOST_RANKS else ranks_of(map(_bandwidths, halves), program),
        rows=rows,
        avg_busbw_gbps=_number(_object(content.get("average_bus_bandwidth")).get("bandwidth")),
    )


def _program(arguments: Any) -> str | None:
    """Return ``all_reduce`` of ``./build/all_reduce_perf``."""
    first = arguments[0] if isinstance(arguments, list) and arguments else ""
    name, found, _ = pathlib.PurePosixPath(str(first)).name.partition("_perf")
    return name if found else None


def _devices(content: dict[str, Any]) -> list[dict[str, Any]]:
    devices = _object(content.get("config")).get("devices")
    return [device for device in devices if isinstance(device, dict)] if isinstance(devices, list) else []


def _has_half(entry: dict[str, Any]) -> bool:
    return _whole(entry.get("size")) is not None and isinstance(
        entry.get("out_of_place") or entry.get("in_place"), dict
    )


def _row(entry: dict[str, Any]) -> Row:
    """Return a row; one that was only run in place has an empty first half."""
    out_of_place, in_place = _object(entry.get("out_of_place")), _object(entry.get("in_place"))
    redop = _word(entry.get("redop"))
    return Row(
        size_bytes=_whole(entry.get("size")) or 0,
        count=_whole(entry.get("count")),
        dtype=_word(entry.get("type")),
        redop=None if redop == "none" else redop,
        out_of_place=_half(out_of_place),
        in_place=_half(in_place) if in_place else None,
    )


def _half(entry: dict[str, Any]) -> Half:
    wrong = _number(entry.get("nwrong"))
    return Half(
        time_us=_number(entry.get("time", entry.get("cpu_time"))),
        algbw_gbps=_number(entry.get("alg_bw")),
        busbw_gbps=_number(entry.get("bus_bw")),
        wrong=None if wrong is None or abs(wrong) >= _MOST_COUNT else int(wrong),
    )


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _whole(value: Any) -> int | None:
    """Return a count, None for anything else; nccl-tests writes sizes as numbers or as text."""
    if isinstance(value, str):
        return whole_number(value)
    is_count = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _MOST_COUNT
    return int(value) if is_count else None


def _number(value: Any) -> float | None:
    """Return a finite number, None for null and ``"nan"``."""
    return None if isinstance(value, str) else finite(value)


def _bandwidths(half: Half) -> Bandwidths:
    return Bandwidths(half.algbw_gbps or 0.0, half.busbw_gbps or 0.0, _HALFWIDTH, _HALFWIDTH)
