"""Which of the known kinds a text is: by its content, never by its name."""

from __future__ import annotations

from collections.abc import Callable

from ncclprobe.findings import Finding, error
from ncclprobe.inspect import nccl_log, nccl_tests, nsys, sglang, tuner_csv
from ncclprobe.inspect.source import Reading, Source

READERS: tuple[Callable[[Source], Reading | None], ...] = (
    nccl_log.read,
    nccl_tests.read,
    sglang.read,
    nsys.read,
    tuner_csv.read,
)
"""Each returns None where the text is not of its kind; a text can be of several."""
_BINARY = {
    b"SQLite format 3\x00": "an SQLite export of Nsight Systems holds no table: inspect what `nsys stats` prints",
    b"\x1f\x8b": "the file is compressed: unpack it with gunzip",
    b"(\xb5/\xfd": "the file is compressed: unpack it with unzstd",
    b"PK\x03\x04": "the file is an archive: unpack it",
}
_HEAD = 4000
_KINDS = "NCCL logs, nccl-tests tables and JSON, SGLang results, nsys kernel tables and tuner CSVs"


def inspect(name: str, content: bytes) -> Reading:
    """Return what a file says, of every kind that it is; one of no known kind is an error-level finding."""
    source = Source(name, decode(content))
    readings = [reading for read in READERS if (reading := read(source))]
    if not readings:
        return Reading(documents=(), findings=(_unrecognised(name, content, source.text),))
    return Reading(
        documents=tuple(document for reading in readings for document in reading.documents),
        findings=tuple(finding for reading in readings for finding in reading.findings),
    )


def decode(content: bytes) -> str:
    """Return a file's text; UTF-16, which PowerShell writes, by its byte order mark, what is no UTF-8 replaced."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    return content.decode("utf-8-sig", "replace")


def _unrecognised(name: str, content: bytes, text: str) -> Finding:
    first = next((line.strip() for line in text[:_HEAD].splitlines() if line.strip()), "")
    what = f"its first line is {first[:80]!r}" if first else "it is empty"
    hint = next((hint for magic, hint in _BINARY.items() if content.startswith(magic)), None)
    return error("unrecognised-input", name, f"{name} is of no known kind: {what}", hint or f"inspect reads {_KINDS}")
