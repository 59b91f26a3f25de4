"""How many decode steps SGLang made of which batch size, from its log or its one-batch results.

Source: SGLang 0.5.17, srt/managers/scheduler_components/metrics_reporter.py (``Decode batch``, one line in
``decode_log_interval`` steps, 40 by default), srt/model_executor/model_runner_components/cuda_graph_setup.py (``Capture
target decode CUDA graph begin``; before, ``Capture cuda graph bs``), srt/model_executor/runner_backend/
full_cuda_graph_backend.py (two warm-ups before each capture; a batch is padded to the next size captured),
bench_one_batch.py (the first token of ``output_len`` is the prefill's)
"""

from __future__ import annotations

import bisect
import collections
import re
from collections.abc import Iterator

import msgspec

from ncclprobe.decoding import from_json

LOG_INTERVAL = 40
"""Steps of a line, unless the log says otherwise."""
PASSES = 3
"""How often each captured size runs through NCCL at the start: twice to warm up, once to be captured."""
_DECODE = re.compile(rb"Decode batch[^\n]{0,40}?#running-req: (\d{1,9})(?:[^\n]{0,400}?cuda graph: (True|False))?")
_CAPTURE = re.compile(
    rb"Capture (?:cuda graph bs |(?!draft)[\w ]{0,20}decode [\w ]{0,20}begin\.[^\n\[]{0,200}\bbs=)\[([\d, ]{1,4000})\]"
)
_INTERVAL = re.compile(rb"\bdecode_log_interval=(\d{1,6})")
_REPLICA = re.compile(rb"\bDP(\d{1,4})\b[^\n]*\Z")
_BENCH = re.compile(rb'"batch_size": ?\d')
_PREFIX = 200
"""Bytes before a line's batch that are looked at."""
_LONGEST = 100_000
"""Bytes of a result's line."""


class _OneBatch(msgspec.Struct):
    """A line that ``bench_one_batch`` appends."""

    batch_size: int
    output_len: int


class SglangLines:
    """Feed it SGLang's log or JSONL in pieces of whole lines."""

    MARKS = (b"Decode batch", b"Capture ", b'"batch_size"')

    def __init__(self) -> None:
        self.captured: tuple[int, ...] = ()
        """Batch sizes, ascending; empty where the log shows none."""
        self.taken = 0
        """Lines that told of batches so far."""
        self._interval = LOG_INTERVAL
        self._logged: dict[bytes, collections.Counter[tuple[int, bool]]] = {}
        self._benched: collections.Counter[int] = collections.Counter()

    def feed(self, piece: bytes) -> None:
        """Take in whole lines."""
        if interval := _INTERVAL.search(piece):
            self._interval = max(1, int(interval[1]))
        for match in _CAPTURE.finditer(piece):
            self.taken += 1
            self.captured = tuple(sorted({int(word) for word in re.findall(rb"\d{1,9}", match[1])}))
        for match in _DECODE.finditer(piece):
            replica = _REPLICA.search(piece[max(0, match.start() - _PREFIX) : match.start()])
            counts = self._logged.setdefault(replica[1] if replica else b"", collections.Counter())
            self.taken += 1
            counts[int(match[1]), match[2] != b"False"] += 1
        for line in _bench_lines(piece):
            self._bench(line)

    def _bench(self, line: bytes) -> None:
        try:
            found = from_json(line, _OneBatch)
        except msgspec.DecodeError:
            return
        if found.batch_size > 0 and found.output_len > 1:
            self.taken += 1
            self._benched[found.batch_size] += found.output_len - 1

    @property
    def told(self) -> bool:
        """Return whether anything was found."""
        return self.taken > 0

    @property
    def steps(self) -> int:
        """Return the decode steps, with and without a graph, of the data-parallel replica that made the most."""
        return sum(self._benched.values()) or sum(self._decoded.values()) * self._interval

    @property
    def _decoded(self) -> collections.Counter[tuple[int, bool]]:
        """Return lines by batch size and whether a graph ran."""
        return max(self._logged.values(), key=lambda counts: counts.total(), default=collections.Counter())

    @property
    def replays(self) -> dict[int, int]:
        """Return how often the graph of each batch size was replayed; batches are padded to the next one captured."""
        ran = self._benched or {
            batch: lines * self._interval for (batch, graph), lines in self._decoded.items() if graph
        }
        found: collections.Counter[int] = collections.Counter()
        for batch, count in ran.items():
            at = bisect.bisect_left(self.captured, batch)
            if at < len(self.captured) or not self.captured:
                found[self.captured[at] if self.captured else batch] += count
        return dict(found)


def _bench_lines(piece: bytes) -> Iterator[bytes]:
    """Yield each line that may be a result once, from its first brace; what is too long for one is left out."""
    at = 0
    while match := _BENCH.search(piece, at):
        begin = piece.rfind(b"\n", at, match.start()) + 1 or at
        end = piece.find(b"\n", match.end())
        at = len(piece) if end < 0 else end
        if at - begin <= _LONGEST:
            yield piece[max(begin, piece.find(b"{", begin, at)) : at]
