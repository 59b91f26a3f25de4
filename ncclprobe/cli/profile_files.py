"""How ``profile`` reads files: in pieces, whatever their size, each by its content; ``sweep --profile`` reads alike."""

from __future__ import annotations

import contextlib
import gzip
import pathlib
import sqlite3
import sys
import zlib
from collections.abc import Iterator, Sequence
from typing import IO, Protocol

import msgspec

from ncclprobe.cli.output import note
from ncclprobe.decoding import from_json
from ncclprobe.errors import ParseError, UsageError
from ncclprobe.findings import Finding, error
from ncclprobe.inspect import nsys
from ncclprobe.inspect.recognise import decode
from ncclprobe.inspect.source import Source
from ncclprobe.records.inspect import Nsys
from ncclprobe.records.prediction import Workload
from ncclprobe.records.profile import ProfileDocument
from ncclprobe.records.tuner import Recorded
from ncclprobe.store import DOCUMENT
from ncclprobe.sweep.weights import workload_of
from ncclprobe.workload.assemble import Gathered, profile_of
from ncclprobe.workload.nsys_rows import (
    KERNELS_TABLE,
    NAMES_TABLE,
    PLAIN,
    QUERY,
    KernelTable,
    kernel_sum,
    table_of_documents,
    table_of_sums,
)
from ncclprobe.workload.recorded import doubts, is_record, read_record
from ncclprobe.workload.replays import Replays
from ncclprobe.workload.streams import PIECE_BYTES, Streams, whole_lines

STDIN = "-"
_SQLITE, _GZIP = b"SQLite format 3\x00", b"\x1f\x8b"
_TABLE_BYTES = 16 << 20
"""Of a kernel table at most; what is larger is no table."""
_KERNELS = (b"ncclDevKernel", b"ncclKernel_", b"RingLLKernel", b"Total Time")
_SCHEMA = b'"schema"'
_READS = "NCCL logs, Inspector's and profiler plugins' JSON, nsys exports and kernel tables, tuner records, profiles"


class Bytes(Protocol):
    """A file that is read in pieces."""

    def read(self, size: int, /) -> bytes:
        """Return so many bytes, fewer at the end, none behind it."""
        ...


class Files:
    """Everything that was read so far."""

    def __init__(self) -> None:
        self.streams = Streams()
        self.records: list[Recorded] = []
        self.tables: list[KernelTable] = []
        self.profiles: list[tuple[str, ProfileDocument]] = []
        self.findings: list[Finding] = []
        self.unreadable = 0

    def document(self, said: Replays) -> ProfileDocument:
        """Return the profile of all that was read."""
        read = Gathered(self.streams, tuple(self.records), tuple(self.tables), tuple(self.profiles))
        document = profile_of(read, said)
        silent = not document.sources and not self.streams.logs  # what was said of the files says it all
        theirs = (one for one in document.findings if not (silent and one.code == "no-messages"))
        return document.with_(findings=(*self.findings, *theirs))

    def read(self, name: str) -> None:
        """Read a file, each in a folder, or the standard input; what cannot be read is a finding."""
        try:
            if name != STDIN and pathlib.Path(name).is_dir():
                self._read_folder(pathlib.Path(name))
            elif not self._read_file(name):
                self.findings.append(_unrecognised(name))
        except (OSError, EOFError, zlib.error) as problem:
            self._refuse(name, str(getattr(problem, "strerror", None) or problem))

    def _refuse(self, name: str, reason: str) -> None:
        note(f"Error: cannot read {name}: {reason}")
        hint = "check the name and the permissions; the other files were read"
        self.findings.append(error("unreadable-input", name, f"cannot read {name}: {reason}", hint))
        self.unreadable += 1

    def _read_folder(self, folder: pathlib.Path) -> None:
        """Read a run's directory, or a folder of files: of those, what is of no kind is passed over."""
        if (folder / DOCUMENT).is_file():
            if not self._read_file(str(folder / DOCUMENT), shown=str(folder)):
                self.findings.append(_unrecognised(str(folder)))
            return
        known = [self._read_file(str(file)) for file in sorted(folder.iterdir()) if file.is_file()]
        if not any(known):
            self.findings.append(_unrecognised(str(folder)))

    def _read_file(self, name: str, shown: str = "") -> bool:
        """Return whether a file is of a known kind."""
        shown = shown or name
        with contextlib.ExitStack() as stack:
            file: IO[bytes] = sys.stdin.buffer if name == STDIN else stack.enter_context(pathlib.Path(name).open("rb"))
            head = file.read(PIECE_BYTES)
            if is_record(head):
                return self._read_record(shown, head + file.read())
            if head.startswith(_SQLITE) and name != STDIN:
                return self._read_sqlite(shown, pathlib.Path(name))
            if head.startswith(_GZIP) and name != STDIN:
                unpacked = stack.enter_context(gzip.open(name, "rb"))
                return self._stream(shown, unpacked.read(PIECE_BYTES), unpacked)
            return self._stream(shown, head, file)

    def _stream(self, name: str, head: bytes, file: Bytes) -> bool:
        """Feed a file to the readers of what may be large; one that is small may be a table or a profile."""
        small = bytearray()
        for chunk in whole_lines(_chunks(head, file)):
            self.streams.feed(name, chunk)
            if len(small) <= _TABLE_BYTES:
                small += chunk
        if self.streams.knows(name) and not any(mark in small for mark in _KERNELS):
            return True
        small_enough = len(small) <= _TABLE_BYTES
        return (small_enough and self._read_small(name, bytes(small))) or self.streams.knows(name)

    def _read_small(self, name: str, content: bytes) -> bool:
        if _SCHEMA in content[:4000] and (document := _profile(content)):
            self.profiles.append((name, document))
            return True
        if not any(mark in content for mark in _KERNELS):
            return False
        reading = nsys.read(Source(name, decode(content)))
        if reading is None:
            return False
        self.tables += table_of_documents(one for one in reading.documents if isinstance(one, Nsys))
        self.findings += reading.findings
        return True

    def _read_record(self, name: str, content: bytes) -> bool:
        try:
            record = read_record(content, name)
        except ParseError as problem:
            self._refuse(name, str(problem))
            return True
        self.records.append(record)
        self.findings += doubts(record)
        return True

    def _read_sqlite(self, name: str, path: pathlib.Path) -> bool:
        try:
            with contextlib.closing(
                sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
            ) as base:
                has = all(base.execute(PLAIN, (table,)).fetchone() for table in (KERNELS_TABLE, NAMES_TABLE))
                rows = base.execute(QUERY).fetchall() if has else []
                sums = [kernel_sum(row) for row in rows]
        except (sqlite3.Error, TypeError, ValueError, OverflowError) as problem:
            self._refuse(name, f"{problem}; export it again: nsys export --type sqlite")
            return True
        if has:
            self.tables.append(table_of_sums(name, sums))
        return bool(has)


def _chunks(head: bytes, file: Bytes) -> Iterator[bytes]:
    chunk = head
    while chunk:
        yield chunk
        chunk = file.read(PIECE_BYTES)


def _profile(content: bytes) -> ProfileDocument | None:
    try:
        document = from_json(content, ProfileDocument)
    except msgspec.DecodeError:
        return None
    return document if document.schema == "ncclprobe.profile/1" else None


def _unrecognised(name: str) -> Finding:
    message = f"{name} is of no known kind, or says nothing of collectives"
    return error("unrecognised-input", name, message, f"profile reads {_READS}")


def read_profile(names: Sequence[str], said: Replays) -> tuple[ProfileDocument, int]:
    """Return the profile of files, and how many of them cannot be read."""
    files = Files()
    for name in dict.fromkeys(names):
        files.read(name)
    return files.document(said), files.unreadable


def workload_of_profile(name: pathlib.Path, collective: str | None, *, axes: bool, sizes: str | None) -> Workload:
    """Return the messages that a sweep is to measure.

    Args:
        name: A run of ``profile``, its document, or a file that it reads.
        collective: What to measure; None takes what carries most.
        axes: Whether variables of whole processes are tried, too.
        sizes: As given.

    Raises:
        UsageError: It cannot be read, tells of no such messages, or something else says what to measure.
    """
    if axes or sizes:
        why = "their gain is over sizes of equal weight" if axes else "the profile says which sizes are measured"
        raise UsageError(f"--profile and {'--env' if axes else '--sizes'} do not go together: {why}; leave one away")
    document, _ = read_profile([str(name)], Replays())
    if not document.messages:
        why = next((one.message for one in document.findings), "it is empty")
        raise UsageError(f"--profile {name}: no messages; {why}. See `ncclprobe profile {name}`")
    return workload_of(document, str(name), collective)
