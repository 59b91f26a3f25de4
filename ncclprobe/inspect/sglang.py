"""Results of SGLang's benchmarks: bench_offline_throughput, bench_one_batch and bench_serving, printed or as JSONL.

vLLM's ``vllm bench serve`` prints bench_serving's block, too, and is read with it.

Source: SGLang 0.5.9, python/sglang/bench_offline_throughput.py, bench_one_batch.py, bench_one_batch_server.py,
bench_serving.py and multimodal_gen/benchmarks/bench_serving.py (labels, and their names in JSONL).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

from ncclprobe.captured import Line, cells
from ncclprobe.decoding import any_json, finite
from ncclprobe.inspect.sglang_checks import contradictions
from ncclprobe.inspect.source import Reading, Source
from ncclprobe.records.inspect import SglangResults

Result = dict[str, float]

_HINTS = (
    "Benchmark Result",
    "Benchmark duration (s)",
    "Prefill. latency",
    "token/s",
    "input throughput: ",
    "_throughput",
    "median_ttft_ms",
)
_NUMBER = r"([\d,]+(?:\.\d+)?(?:[eE][-+]?\d+)?)"


def read(source: Source) -> Reading | None:
    """Return the results of a text, None where it has no sign of SGLang's benchmarks."""
    if not any(hint in source.text for hint in _HINTS):
        return None
    found = _json_document(source) or _printed(source.lines)
    found = found or _json_lines(source.whole_lines) or found
    if found is None:
        return None
    document = SglangResults(source=source.name, results=tuple(found))
    findings = [
        finding for number, result in enumerate(found) for finding in contradictions(source.name, number, result)
    ]
    return Reading(documents=(document,), findings=tuple(findings))


def _printed(lines: Iterable[Line]) -> list[Result] | None:
    """Return the printed results in order, None where there is no block at all, not even a warm-up's."""
    texts = [_unmarked(line.text) for line in lines]
    blocks = _Blocks(warming_up=_begins_warm(texts))
    for text in texts:
        blocks.take(text)
    blocks.end()
    return blocks.results if blocks.seen else None


def _unmarked(text: str) -> str:
    """Return a line without Markdown's bold type, a row of two cells as ``label: value``."""
    text = text.replace("**", "")
    pair = cells(text)
    return f"{pair[0].rstrip(':')}: {pair[1]}" if pair and len(pair) == _PAIR else text


# ---- printed blocks


_TITLE = re.compile(r"(?<!=)=+ *((?:Offline Throughput|Serving) Benchmark Result) *=+")
_RULE = re.compile(r"={10,}$")
_LABEL = re.compile(r"([A-Z#(][^:|]{1,60}?) *: +(\S.*)$")
_PREFILL = re.compile(rf"Prefill\. +latency: *{_NUMBER} s, +throughput: *{_NUMBER} token/s")
_DECODE = re.compile(rf"Decode\. +median latency: *{_NUMBER} s, +median throughput: *{_NUMBER} token/s")
_AMOUNT = re.compile(rf"{_NUMBER}(?:/\d+| ?%| ?[A-Za-z]+(?:/s)?)?$")
_STEP = re.compile(rf"Decode \d+\. +Batch size: *{_NUMBER}, ")
_TOTAL = re.compile(rf"Total\. +latency: *{_NUMBER} s, +throughput: *{_NUMBER} token/s")
_SERVER = re.compile(
    rf"(batch size|input_len|output_len|latency|ttft|last_ttft|last generation throughput|input throughput|"
    rf"output throughput|\(input \+ output\) throughput|acc_length|accept length|cache hit rate): *{_NUMBER}"
    r"(?: (?:s|tok(?:en)?s?/s))?$"
)
_SERVER_NAMES = {
    "last generation throughput": "last_gen_throughput",
    "(input + output) throughput": "overall_throughput",
    "ttft": "last_ttft",
    "accept length": "acc_length",
}
_WARM_UP = re.compile(r"\s*(?:=+ *)?Warm-?up *(?:\.\.\.|Begin\b)")
_MEASURED = re.compile(r"\s*(?:Benchmark ?\.\.\.|(?:=+ *)?Warm-?up End\b)")
_OPENERS = frozenset({"Successful requests", "Benchmark duration (s)"})
"""Labels that open a block whose title was lost."""
_OFFLINE = "Offline Throughput Benchmark Result"
_PAIR = 2
_PATIENCE = 3
"""Lines within a block that are no label, as a log's between them, before it counts as ended."""

_NAMES = {
    "Total input tokens": "total_input_tokens",
    "Total generated tokens": "total_output_tokens",
    "Total generated tokens (retokenized)": "total_output_tokens_retokenized",
    "Request throughput (req/s)": "request_throughput",
    "Input token throughput (tok/s)": "input_throughput",
    "Output token throughput (tok/s)": "output_throughput",
    "Total token throughput (tok/s)": "total_throughput",
}
_OFFLINE_NAMES = {
    "Successful requests": "successful_requests",
    "Benchmark duration (s)": "total_latency",
    "Last generation throughput (tok/s)": "last_gen_throughput",
}
_SERVING_NAMES = {
    "Successful requests": "completed",
    "Failed requests": "failed",
    "Benchmark duration (s)": "duration",
    "Traffic request rate": "request_rate",
    "Max request concurrency": "max_concurrency",
    "Concurrency": "concurrency",
    "Accept length": "accept_length",
    "Peak output token throughput (tok/s)": "max_output_tokens_per_s",
    "Peak concurrent requests": "max_concurrent_requests",
}
_DIFFUSION_NAMES = {
    "Successful requests": "completed_requests",
    "Benchmark duration (s)": "duration",
    "Request throughput (req/s)": "throughput_qps",
    "Latency Mean (s)": "latency_mean",
    "Latency Median (s)": "latency_median",
    "Latency P99 (s)": "latency_p99",
    "Peak Memory Max (MB)": "peak_memory_mb_max",
    "Peak Memory Mean (MB)": "peak_memory_mb_mean",
    "Peak Memory Median (MB)": "peak_memory_mb_median",
}


class _Blocks:
    """The blocks of a text, warm-ups left out."""

    def __init__(self, *, warming_up: bool) -> None:
        self.results: list[Result] = []
        self.seen = False
        self._warming_up = warming_up
        self._title: str | None = None
        self._labels: dict[str, str] = {}
        self._misses = 0
        self._batch: Result = {}
        self._server: Result = {}

    def take(self, text: str) -> None:
        """Read the next line."""
        if match := _TITLE.search(text):
            self.end()
            self._title = match[1]
        elif self._title is not None:
            self._take_label(text.strip())
        elif _MEASURED.match(text) or _WARM_UP.match(text):
            self.end()
            self._warming_up = _MEASURED.match(text) is None
        else:
            self._take_batch(text)

    def end(self) -> None:
        """Close whatever block is open."""
        if self._title is not None:
            self._keep(_named(self._title, self._labels))
        if self._batch.keys() & {"total_latency", "median_decode_latency"} and not self._warming_up:
            self._keep(self._batch)
        if "latency" in self._server and not self._warming_up:
            self._keep(self._server)
        self._title, self._labels, self._misses = None, {}, 0
        self._batch, self._server = {}, {}

    def _keep(self, result: Result) -> None:
        self.seen = True
        if finite_ones := _finite(result):
            self.results.append(finite_ones)

    def _take_label(self, text: str) -> None:
        if _RULE.match(text):
            self.end()
        elif match := _LABEL.match(text):
            self._labels.setdefault(match[1], match[2].strip())
            self._misses = 0
        elif text and not text.startswith("---"):
            self._misses += 1
            if self._misses >= _PATIENCE:
                self.end()

    def _take_batch(self, text: str) -> None:
        if match := _PREFILL.search(text):
            self.end()
            self._batch = {"prefill_latency": _value(match[1]), "prefill_throughput": _value(match[2])}
            self.seen = True
        elif match := _STEP.search(text):
            self._batch.setdefault("batch_size", _value(match[1]))
        elif match := _DECODE.search(text):
            self._batch |= {"median_decode_latency": _value(match[1]), "median_decode_throughput": _value(match[2])}
        elif match := _TOTAL.search(text):
            self._batch |= {"total_latency": _value(match[1]), "overall_throughput": _value(match[2])}
            self.end()
        elif match := _SERVER.match(text.strip()):
            self._take_server(match)
        elif (match := _LABEL.match(text.strip())) and match[1] in _OPENERS:
            self._title = ""
            self._take_label(text.strip())

    def _take_server(self, match: re.Match[str]) -> None:
        name = _SERVER_NAMES.get(match[1], match[1].replace(" ", "_"))
        if name == "batch_size":
            self.end()
        if name == "batch_size" or self._server:
            self._server[name] = _value(match[2])


def _begins_warm(texts: list[str]) -> bool:
    """Return whether the text begins in a warm-up: the first marker of the two is the one that ends it."""
    for text in texts:
        if _MEASURED.match(text):
            return True
        if _WARM_UP.match(text):
            return False
    return False


def _named(title: str, labels: dict[str, str]) -> Result:
    """Return a block's numbers in SGLang's names."""
    offline = title == _OFFLINE if title else "Last generation throughput (tok/s)" in labels
    diffusion = "Task" in labels
    own = _DIFFUSION_NAMES if diffusion else {**_NAMES, **(_OFFLINE_NAMES if offline else _SERVING_NAMES)}
    names = {label.lower(): name for label, name in own.items()}
    result = {}
    for label, word in labels.items():
        if match := _AMOUNT.match(word):
            result[names.get(label.lower()) or _snake_case(label)] = _value(match[1])
    return result


def _finite(result: Result) -> Result:
    return {name: value for name, value in result.items() if math.isfinite(value)}


def _snake_case(label: str) -> str:
    """Return ``max_itl_ms`` for ``Max ITL (ms)``."""
    return re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_")


def _value(word: str) -> float:
    """Return a number that may have thousands separators, nan for what is none."""
    value = finite(word.replace(",", ""))
    return math.nan if value is None else value


# ---- JSON


_KNOWN = frozenset(
    {
        "total_throughput",
        "output_throughput",
        "input_throughput",
        "request_throughput",
        "overall_throughput",
        "total_token_throughput",
        "throughput_qps",
        "total_latency",
        "prefill_latency",
        "prefill_throughput",
        "median_decode_latency",
        "median_ttft_ms",
        "mean_itl_ms",
        "last_gen_throughput",
        "successful_requests",
        "completed",
        "completed_requests",
        "duration",
        "latency_mean",
    }
)
_ENOUGH = 3
"""Known names that make an object a result."""


def _json_document(source: Source) -> list[Result] | None:
    """Return the results of a text that is one JSON document, None where it is none of them."""
    if not any(f'"{name}"' in source.text for name in _KNOWN):
        return None
    return [_numbers(entry) for entry in _objects([source.json])] or None


def _json_lines(lines: Iterable[Line]) -> list[Result] | None:
    """Return the results of JSON Lines, None where there are none."""
    texts = (line.text.strip() for line in lines)
    entries = (_decoded(text) for text in texts if text.startswith("{") and text.endswith("}"))
    return [_numbers(entry) for entry in _objects(entries)] or None


def _decoded(text: str) -> Any:
    try:
        return any_json(text)
    except ValueError:
        return None


def _objects(entries: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for entry in entries:
        if isinstance(entry, list):
            yield from _objects(entry)
        elif isinstance(entry, dict) and len(_KNOWN & entry.keys()) >= _ENOUGH:
            yield entry


def _numbers(entry: dict[str, Any]) -> Result:
    """Return the finite numbers of a result; lists of requests' times are left out."""
    numbers = ((name, finite(value)) for name, value in entry.items() if not isinstance(value, str))
    return {name: number for name, number in numbers if number is not None}
