"""How ranks and the process that started them talk: requests in on stdin, records out on rank 0's stdout.

A record is the byte RS, JSON, and a newline, so that it is found among anything else that a launcher, a library or a
site's profile prints to the same stdout. An empty record asks for the next chunk of the request: hydra gives up where
a rank's stdin is full, so nothing is sent that nobody waits for.

Source: RFC 7464, section 2.1
"""

from __future__ import annotations

import contextlib
import os
import platform
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from types import TracebackType

from ncclprobe.ranks import rank_from

_RECORD_SEPARATOR = b"\x1e"
_FORWARDED_S = 0.2
"""For a launcher to pass a rank's last words on: it ends all with the first that fails, and may not read on."""
CHUNK_BYTES = 4096
"""Of the request, sent at a time; every pipe takes as much (POSIX, PIPE_BUF on Linux)."""


def frame(payload: bytes) -> bytes:
    """Return the bytes that carry one JSON text without newlines."""
    return _RECORD_SEPARATOR + payload + b"\n"


def unframe(line: bytes) -> bytes | None:
    """Return the JSON text that a line carries, None where it carries none."""
    _, separator, payload = line.rpartition(_RECORD_SEPARATOR)
    return payload.rstrip(b"\r\n") if separator else None


class Channel:
    """A rank's end. Make it before anything else prints: from then on all other output goes to stderr.

    An exception that nobody catches ends the rank at once, and with it all the others; the interpreter's own way out
    would wait in MPI_Finalize for ranks that wait for this one.

    Attributes:
        abort: What ends all ranks at once, such as ``MPI.COMM_WORLD.Abort``, to be set as soon as there is one. Without
            it the launcher is trusted to end the others, which hydra does not do for those on other hosts.
    """

    def __init__(self) -> None:
        self.abort: Callable[[], object] | None = None
        sys.excepthook = self._die
        sys.stdout.flush()
        self._out = os.dup(1)
        os.dup2(2, 1)

    def send(self, payload: bytes) -> None:
        """Send one JSON text; on rank 0 only."""
        rest = frame(payload)
        while rest:
            rest = rest[os.write(self._out, rest) :]

    def receive(self) -> bytes:
        """Return the request, on rank 0 only; from then on this process ends when the starting one does.

        An MPI library waits by spinning: ranks whose starter was killed would take their cores for ever.
        """
        request = b""
        while not request.endswith(b"\n"):
            self.send(b"")
            request += self._chunk()
        threading.Thread(target=self._end_with_starter, daemon=True).start()
        return request.rstrip(b"\n")

    def requests(self, idle_s: float) -> Iterator[bytes]:
        """Yield one request after another, and nothing (``b""``) whenever none came for a while; on rank 0 only.

        A thread reads stdin all the time: this process ends when the starting one does, also while it is busy.
        """
        chunks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._read_all, args=(chunks,), daemon=True).start()
        while True:
            request = b""
            while not request.endswith(b"\n"):
                self.send(b"")
                chunk = yield from self._idling(chunks, idle_s)
                while len(chunk) < CHUNK_BYTES and not chunk.endswith(b"\n"):
                    chunk += chunks.get()
                request += chunk
            yield request.rstrip(b"\n")

    @staticmethod
    def _idling(chunks: queue.SimpleQueue[bytes], idle_s: float) -> Generator[bytes, None, bytes]:
        """Return the next part of stdin, having yielded nothing now and then while it did not come."""
        while True:
            try:
                return chunks.get(timeout=idle_s)
            except queue.Empty:
                yield b""

    def _read_all(self, chunks: queue.SimpleQueue[bytes]) -> None:
        while part := os.read(0, CHUNK_BYTES):
            chunks.put(part)
        self._end()

    @staticmethod
    def _chunk() -> bytes:
        """Return the next ``CHUNK_BYTES`` bytes, fewer at the request's end."""
        chunk = b""
        while len(chunk) < CHUNK_BYTES and not chunk.endswith(b"\n"):
            part = os.read(0, CHUNK_BYTES - len(chunk))
            if not part:
                raise EOFError("stdin ended before the request; ranks are started by ncclprobe, not by hand")
            chunk += part
        return chunk

    def _end_with_starter(self) -> None:
        while os.read(0, 1 << 16):
            pass
        self._end()

    def _die(self, kind: type[BaseException], problem: BaseException, trace: TracebackType | None) -> None:
        info = rank_from(os.environ)
        who = f"rank {info.rank if info else '?'} on {platform.node()}"
        with contextlib.suppress(OSError):  # nobody may be there to read it
            sys.stderr.write("".join(traceback.format_exception(kind, problem, trace)))
            sys.stderr.write(f"ncclprobe: {who}: {kind.__name__}: {problem}\n")
            sys.stderr.flush()
        time.sleep(_FORWARDED_S)
        self._end()

    def _end(self) -> None:
        """End all ranks."""
        if self.abort is not None:
            self.abort()
        os._exit(1)
