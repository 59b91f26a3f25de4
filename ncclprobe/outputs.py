"""What a command prints, read up to a limit of bytes."""

from __future__ import annotations

import os
import selectors
import time
from typing import IO

MOST_BYTES = 256 << 20
"""Of a command's output and errors together; what prints more is broken."""
_AT_ONCE = 1 << 16


class TooMuch(Exception):
    """A command printed more than MOST_BYTES; the text says so."""


class Output:
    """What comes by the two pipes of a command that nobody else reads."""

    def __init__(self, stdout: IO[bytes] | None, stderr: IO[bytes] | None) -> None:
        self._pipes = stdout, stderr
        self._found = {pipe: bytearray() for pipe in self._pipes if pipe is not None}

    def read(self, timeout_s: float) -> None:
        """Read to the end of both.

        Raises:
            TimeoutError: The time was over before.
            TooMuch: There was more than MOST_BYTES.
        """
        deadline = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            for pipe in self._found:
                if not pipe.closed:
                    selector.register(pipe, selectors.EVENT_READ)
            while selector.get_map():
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                if not ready and time.monotonic() >= deadline:
                    raise TimeoutError
                for key, _ in ready:
                    self._take(key.fileobj, selector)  # type: ignore[arg-type]

    def _take(self, pipe: IO[bytes], selector: selectors.BaseSelector) -> None:
        if not (part := os.read(pipe.fileno(), _AT_ONCE)):
            selector.unregister(pipe)
            pipe.close()
        elif sum(map(len, self._found.values())) + len(part) > MOST_BYTES:
            raise TooMuch(f"it printed over {MOST_BYTES >> 20} MiB")
        else:
            self._found[pipe] += part

    def close(self) -> None:
        """Read no more."""
        for pipe in self._found:
            pipe.close()

    def texts(self) -> tuple[str, str]:
        """Return what was printed so far: output, errors. Undecodable bytes are replaced."""
        output, errors = (b"" if pipe is None else self._found[pipe] for pipe in self._pipes)
        return output.decode("utf-8", "replace"), errors.decode("utf-8", "replace")
