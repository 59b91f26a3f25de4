"""A file of any size, in pieces, to whichever readers it concerns: what it is shows in what they find."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator

from ncclprobe.records.profile import ProfileKind
from ncclprobe.workload.calls import CHOSEN, MADE, MARK, NcclLines
from ncclprobe.workload.profiled import InspectorEvents, TraceEvents
from ncclprobe.workload.steps import SglangLines

PIECE_BYTES = 4 << 20
"""Of a file at once; a line that is longer may be cut."""
_LONGEST_LINE = 4 * PIECE_BYTES
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_LOG = b"NCCL INFO"


class Streams:
    """The readers of everything that may be too large to be read whole, and which files were whose."""

    def __init__(self) -> None:
        self.nccl, self.inspector, self.trace, self.sglang = (
            NcclLines(),
            InspectorEvents(),
            TraceEvents(),
            SglangLines(),
        )
        self.sources: dict[ProfileKind, dict[str, None]] = {}
        """Files by kind, in order."""
        self.logs: dict[str, None] = {}
        """Files with lines of NCCL's log, of calls or not."""

    def feed(self, source: str, piece: bytes) -> None:
        """Take in whole lines of a file; it is of the kinds of which something was found."""
        before = self._found()
        if MARK in piece or CHOSEN in piece or MADE in piece:
            self.nccl.feed(piece)
        if InspectorEvents.MARK in piece:
            self.inspector.feed(piece)
        if any(mark in piece for mark in TraceEvents.MARKS):
            self.trace.feed(piece)
        if any(mark in piece for mark in SglangLines.MARKS):
            self.sglang.feed(piece)
        for kind, count in self._found().items():
            if count > before[kind]:
                self.sources.setdefault(kind, {}).setdefault(source)
        if source not in self.logs and _LOG in piece:
            self.logs[source] = None

    def _found(self) -> dict[ProfileKind, int]:
        """Return how much was found so far."""
        return {
            ProfileKind.NCCL_LOG: self.nccl.taken + self.nccl.cut,
            ProfileKind.NCCL_TUNING: self.nccl.chosen,
            ProfileKind.NCCL_INSPECTOR: self.inspector.taken,
            ProfileKind.NCCL_PROFILER: self.trace.taken,
            ProfileKind.SGLANG: self.sglang.taken,
        }

    def knows(self, source: str) -> bool:
        """Return whether a file was of any kind so far."""
        return source in self.logs or any(source in files for files in self.sources.values())


def whole_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield pieces that end with a line; UTF-16, which PowerShell writes, as UTF-8."""
    rest = b""
    for chunk in _as_utf8(chunks):
        piece = rest + chunk
        cut = piece.rfind(b"\n") + 1
        if not cut and len(piece) < _LONGEST_LINE:
            rest = piece
            continue
        cut = cut or len(piece)
        rest = piece[cut:]
        yield piece[:cut]
    if rest:
        yield rest


def _as_utf8(chunks: Iterable[bytes]) -> Iterator[bytes]:
    decoder: codecs.IncrementalDecoder | None = None
    for number, chunk in enumerate(chunks):
        if number == 0 and chunk.startswith(_UTF16):
            decoder = codecs.getincrementaldecoder("utf-16")("replace")
        yield chunk if decoder is None else decoder.decode(chunk).encode()
