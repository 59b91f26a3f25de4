"""Numbers of one result that contradict each other.

Each check allows for what rounding to the printed digits can do, so that only a typing error, or figures of different
runs, fail it.

Source: SGLang 0.5.9, python/sglang/bench_serving.py (``calculate_metrics``): throughput = tokens / duration.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from ncclprobe.findings import Finding, warning

_DIGIT = 0.005
"""Half of the last printed digit of rates and durations."""
_SLACK = 3e-4
"""Relative; on top of rounding."""
_RATES = (
    ("request_throughput", ("successful_requests", "completed")),
    ("input_throughput", ("total_input_tokens",)),
    ("output_throughput", ("total_output_tokens",)),
)
_ORDERED = ("median", "p90", "p95", "p99", "max")


def contradictions(source: str, number: int, result: dict[str, float]) -> Iterator[Finding]:
    """Yield a finding for each pair of numbers that cannot both be right.

    Args:
        source: The file.
        number: The result's place in it, from 0.
        result: In SGLang's names.
    """
    for text in (*_sums(result), *_rates(result), *_orders(result), *_totals(result)):
        yield warning(
            "inconsistent-result",
            f"{source}: result {number + 1}",
            text,
            "the figures were typed over or come from different runs; take them from the run's own output",
        )


def _differs(one: float, other: float, rounding: float) -> bool:
    return abs(one - other) > rounding + _SLACK * max(abs(one), abs(other))


def _sums(result: dict[str, float]) -> Iterator[str]:
    parts, total = ("input_throughput", "output_throughput"), result.get("total_throughput")
    if total is not None and all(part in result for part in parts):
        expected = sum(result[part] for part in parts)
        if _differs(total, expected, 3 * _DIGIT):
            yield f"total_throughput {total:g} is not input_throughput + output_throughput = {expected:.2f}"


def _rates(result: dict[str, float]) -> Iterator[str]:
    duration = result.get("duration", result.get("total_latency"))
    if not duration:
        return
    for rate, amounts in _RATES:
        amount = next((result[name] for name in amounts if name in result), None)
        if rate in result and amount is not None:
            expected = amount / duration
            if _differs(result[rate], expected, _DIGIT + expected * _DIGIT / duration):
                yield f"{rate} {result[rate]:g} is not {amount:g} / {duration:g} s = {expected:.2f}"


def _orders(result: dict[str, float]) -> Iterator[str]:
    for metric in ("e2e_latency_ms", "ttft_ms", "tpot_ms", "itl_ms"):
        known = [(f"{part}_{metric}", result[f"{part}_{metric}"]) for part in _ORDERED if f"{part}_{metric}" in result]
        for (lower, low), (upper, high) in itertools.pairwise(known):
            if low > high + 2 * _DIGIT:
                yield f"{lower} {low:g} exceeds {upper} {high:g}"


def _totals(result: dict[str, float]) -> Iterator[str]:
    """Yield what contradicts in a bench_one_batch block: parts longer than the whole, a rate without its batch."""
    prefill, total = result.get("prefill_latency"), result.get("total_latency")
    if prefill is not None and total is not None and prefill > total + _DIGIT:
        yield f"prefill_latency {prefill:g} exceeds total_latency {total:g}"
    step, rate, batch = (
        result.get(name) for name in ("median_decode_latency", "median_decode_throughput", "batch_size")
    )
    if step and rate and batch and _differs(rate, batch / step, _DIGIT + batch / step * 1e-5 / step):
        yield f"median_decode_throughput {rate:g} is not batch_size {batch:g} / {step:g} s = {batch / step:.2f}"
