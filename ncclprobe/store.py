"""Run directories: append-only JSON Lines plus a manifest.

A run directory holds ``manifest.json`` (written once), ``journal.jsonl`` (appended a line a finished step, each line
in one write) and ``document.json`` (the result, replaced atomically). A kill at any moment loses at most the line in
flight; a torn last line is dropped on opening, and that is said as a finding by the caller.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import itertools
import os
import pathlib
import platform
import shlex
import sys
import tempfile
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from ncclprobe import __version__
from ncclprobe.decoding import from_json, readable
from ncclprobe.errors import NoRunError, ParseError, RunDirectoryError, UsageError, reason
from ncclprobe.locking import locked
from ncclprobe.reading import LOG_BYTES, after_last_newline, file_within, lines_within, refuse_special, whole_file
from ncclprobe.records.base import Document, Record, now
from ncclprobe.records.normal import Hardware
from ncclprobe.secrecy import holds_secret, kept_json

Options = TypeVar("Options", bound=Record)
MANIFEST, JOURNAL, DOCUMENT = "manifest.json", "journal.jsonl", "document.json"
PACKED = f"{JOURNAL}.gz"
"""A journal that somebody compressed to keep it: it is read, but never written."""
MOST_NAMED = 6
"""Kinds of documents that a message lists; more would bury what it says."""
RESUMABLE = ("nodes", "sweep", "validate-e2e", "tune")
"""Commands that have --resume."""
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a full disk, a quota and a limit of the shell answer."""
ENVIRONMENT_PREFIXES = (
    "NCCL_",
    "CUDA_VISIBLE",
    "MPIR_CVAR_",
    "OMPI_MCA_",
    "UCX_",
    "SLURM_JOB",
    "SLURM_NNODES",
    "PBS_JOBID",
    "SGLANG_",
    "SGL_",
)


class Manifest(Record, frozen=True, kw_only=True):
    """How a run was started."""

    schema: str = "ncclprobe.manifest/1"
    version: str = __version__
    """Of ncclprobe."""
    command: str
    """``sweep``."""
    argv: tuple[str, ...]
    """The command line's tokens."""
    created: str = msgspec.field(default_factory=now)
    """UTC."""
    host: str = msgspec.field(default_factory=platform.node)
    """Where it was started."""
    python: str = msgspec.field(default_factory=platform.python_version)
    """Interpreter."""
    platform: str = msgspec.field(default_factory=platform.platform)
    """Operating system and kernel."""
    directory: str | None = None
    """The folder that it was started in, where what it starts finds relative paths; None where that is no matter."""
    seed: int
    """Every random order and draw follows from it."""
    environment: dict[str, str] = {}
    """Variables that matter to what is measured."""
    options: dict[str, Any] = {}
    """What --resume needs to go on in the same way."""
    hardware: Hardware | None = None
    """Of the nodes that ranks run on, as it was seen before the start; None where nothing was looked at."""


def relevant_environment(environment: dict[str, str]) -> dict[str, str]:
    """Return the variables that change what is measured."""
    relevant = ((name, value) for name, value in sorted(environment.items()) if name.startswith(ENVIRONMENT_PREFIXES))
    return {readable(name): readable(value) for name, value in relevant}


def default_directory(command: str, folder: pathlib.Path = pathlib.Path("ncclprobe-runs")) -> pathlib.Path:
    """Return ``<folder>/<UTC time>-<command>``, not made yet; ``-2`` follows where that second has a run."""
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    first = folder / f"{stamp}-{command}"
    later = (first.with_name(f"{first.name}-{number}") for number in itertools.count(2))
    return next(path for path in itertools.chain([first], later) if not path.exists())


class RunDirectory:
    """An open run directory; only one process has it at a time."""

    def __init__(self, path: pathlib.Path, manifest: Manifest, lock: int) -> None:
        self.path, self.manifest = path, manifest
        self.dropped = 0
        """Bytes of a torn last line that were dropped on opening."""
        self._lock = lock
        self.dropped = _drop_torn_line(path / JOURNAL)
        self._journal = (path / JOURNAL).open("ab", buffering=0)

    @classmethod
    def create(cls, path: pathlib.Path, manifest: Manifest) -> Self:
        """Return a new run directory with its manifest written.

        Raises:
            RunDirectoryError: It exists with another run in it, or cannot be written.
            UsageError: The command line has a text that no manifest can hold.
        """
        _refuse_bytes(manifest)
        try:
            path.mkdir(parents=True, exist_ok=True)
            with contextlib.ExitStack() as on_failure:
                lock = locked(path)
                on_failure.callback(os.close, lock)
                if (path / MANIFEST).exists():
                    go_on = f"go on with --resume {path}, or " if manifest.command in RESUMABLE else ""
                    raise RunDirectoryError(f"{path} already holds a run; {go_on}choose another --out")
                _replace(path / MANIFEST, msgspec.json.format(kept_json(manifest), indent=1))
                directory = cls(path, manifest, lock)
                on_failure.pop_all()
            return directory
        except OSError as problem:
            raise RunDirectoryError(
                f"cannot write the run directory {path}: {problem.strerror}; choose another --out"
            ) from problem

    @classmethod
    def resume(cls, path: pathlib.Path, command: str) -> Self:
        """Return the run directory of an earlier, unfinished run.

        Raises:
            RunDirectoryError: It holds no run of that command.
        """
        manifest = read_manifest(path)
        if manifest.command != command:
            raise RunDirectoryError(f"{path} holds a run of {manifest.command!r}, not of {command!r}")
        if holds_secret(manifest.options):
            raise RunDirectoryError(
                f"the options of {path} held a secret, which was not kept; start again with another --out, and hand "
                "secrets over in the environment"
            )
        if is_packed(path):
            raise RunDirectoryError(f"the journal of {path} is compressed; `{unpacking(path)}` first")
        return cls(path, manifest, locked(path))

    def append(self, record: Record, kind: str) -> None:
        """Write one line at the journal's end, whole or not at all.

        Raises:
            RunDirectoryError: The disk is full or gone; everything written before is kept.
        """
        line = kept_json({"kind": kind, **msgspec.structs.asdict(record)}) + b"\n"
        whole = self._journal.tell()
        try:
            if not os.fstat(self._journal.fileno()).st_nlink:
                raise OSError(errno.ENOENT, "it has been removed since this run began")
            written = self._journal.write(line)
            if written != len(line):
                self._journal.truncate(whole)
                self._journal.seek(whole)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as problem:
            raise self._unwritten(JOURNAL, problem) from problem

    def finish(self, document: Document) -> None:
        """Write the result beside the journal, replacing an earlier one.

        Raises:
            RunDirectoryError: It cannot be written.
        """
        try:
            _replace(self.path / DOCUMENT, kept_json(document) + b"\n")
        except OSError as problem:
            raise self._unwritten(DOCUMENT, problem) from problem

    @property
    def is_untouched(self) -> bool:
        """Return whether nothing has been written since it was made."""
        return not self._journal.tell() and not (self.path / DOCUMENT).exists()

    def abandon(self) -> None:
        """Make way for another run: what was made of this one goes, and the folder if nothing else is in it."""
        for name in (MANIFEST, JOURNAL):
            (self.path / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def _unwritten(self, name: str, problem: OSError) -> RunDirectoryError:
        """Return what to say where a file could not be written, with what to do next."""
        again = f"--resume {self.path}" if self.manifest.command in RESUMABLE else f"run {self.manifest.command} again"
        if problem.errno == errno.ENOENT:
            then = "start a new run"
        else:
            then = f"{'free space' if problem.errno in NO_SPACE else 'make it writable'}, then {again}"
        return RunDirectoryError(f"cannot write {self.path / name}: {problem.strerror}; {then}")

    def close(self) -> None:
        """Let go of the directory."""
        self._journal.close()
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _refuse_bytes(manifest: Manifest) -> None:
    """Raise UsageError where a run could not go on as it was begun, for its options are no UTF-8."""
    try:
        msgspec.json.encode(manifest)
    except UnicodeEncodeError as problem:
        raise UsageError(
            f"{problem.object!r} is no UTF-8, which is all that a run directory can hold; write it in other characters"
        ) from problem


def _drop_torn_line(path: pathlib.Path) -> int:
    """Cut what follows the last newline, and return its length in bytes."""
    if not path.exists():
        return 0
    refuse_special(path)
    with path.open("rb") as file:
        whole = after_last_newline(file, length := file.seek(0, os.SEEK_END))
    if whole < length:
        os.truncate(path, whole)
    return length - whole


def write_whole(path: pathlib.Path, text: str) -> None:
    """Write a text file that a reader sees whole or not at all, replacing an earlier one.

    Raises:
        RunDirectoryError: It cannot be written.
    """
    try:
        _replace(path, text.encode())
    except OSError as problem:
        raise RunDirectoryError(f"cannot write {path}: {problem.strerror}; choose another file") from problem


def _replace(path: pathlib.Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        pathlib.Path(temporary).chmod(0o644)
        pathlib.Path(temporary).replace(path)
    except OSError:
        pathlib.Path(temporary).unlink(missing_ok=True)
        raise


def read_manifest(path: pathlib.Path) -> Manifest:
    """Return how the run in a directory was started.

    Raises:
        NoRunError: There is no run.
    """
    try:
        return from_json(file_within(path / MANIFEST), Manifest)
    except (OSError, msgspec.DecodeError) as problem:
        raise NoRunError(f"{path} is no run directory: {reason(problem)}; name one that holds {MANIFEST}") from problem


def stored_options(path: pathlib.Path, manifest: Manifest, kind: type[Options]) -> Options:
    """Return what a manifest holds for --resume, or those of its fields that a record has.

    Raises:
        RunDirectoryError: It is something else.
    """
    try:
        return msgspec.convert(manifest.options, kind)
    except msgspec.ValidationError as problem:
        raise RunDirectoryError(
            f"{path / MANIFEST} has no valid options of {manifest.command}: {problem}; was it edited?"
        ) from problem


def is_packed(path: pathlib.Path) -> bool:
    """Return whether a run directory's journal is compressed."""
    return (path / PACKED).exists() and not (path / JOURNAL).exists()


def unpacking(path: pathlib.Path) -> str:
    """Return the command that unpacks a compressed journal."""
    return f"gunzip {shlex.quote(str(path / PACKED))}"


def read_journal(path: pathlib.Path, kinds: dict[str, type[Record]]) -> Iterator[Record]:
    """Yield the journal's records in order, those of the named kinds; a torn last line is left out.

    Raises:
        ParseError: A whole line is not what was written.
    """
    packed = is_packed(path)
    journal = path / (PACKED if packed else JOURNAL)
    if not journal.exists():
        return
    for number, line in enumerate(lines_within(journal, packed=packed), 1):
        if not line.endswith(b"\n"):
            return
        record = _decode_line(line, kinds, str(journal), number)
        if record is not None:
            yield record


def _decode_line(line: bytes, kinds: dict[str, type[Record]], source: str, number: int) -> Record | None:
    try:
        content = from_json(line, dict[str, Any])
        kind = kinds.get(content.pop("kind"))
        return None if kind is None else msgspec.convert(content, kind)
    except (msgspec.MsgspecError, KeyError, AttributeError, TypeError) as problem:
        raise ParseError(
            f"not a line of a journal ({problem})", source=source, line=number, text=line.decode("utf-8", "replace")
        ) from problem


def read_document(path: pathlib.Path, types: Iterable[type[Document]]) -> Document:
    """Return the result in a run directory or in a file that ``--json`` wrote.

    Raises:
        NoRunError: There is neither a result nor a run.
        RunDirectoryError: There is none yet, or it is of another command than asked for.
    """
    file = path / DOCUMENT if path.is_dir() else path
    try:
        content = from_json(_document_bytes(path), dict[str, Any])
        schema = str(content["schema"])
    except FileNotFoundError as problem:
        raise _without_result(path) from problem
    except OSError as problem:
        raise RunDirectoryError(f"cannot read {file}: {problem.strerror}") from problem
    except (msgspec.DecodeError, KeyError, TypeError) as problem:
        why = "it names no schema" if isinstance(problem, KeyError) else problem
        raise RunDirectoryError(
            f"{file} is no document of ncclprobe ({why}); name a run directory, or what a command printed with --json"
        ) from problem
    known = {schema_of(kind): kind for kind in types}
    if schema not in known:
        wanted = f"; it takes {', '.join(known)}" if len(known) < MOST_NAMED else ""
        raise RunDirectoryError(f"{path} holds {schema}, which does not serve here{wanted}")
    return _converted(content, known[schema], file)


def _document_bytes(path: pathlib.Path) -> bytes:
    return file_within(path / DOCUMENT, LOG_BYTES) if path.is_dir() else whole_file(path, LOG_BYTES)


def _without_result(path: pathlib.Path) -> RunDirectoryError:
    if (path / MANIFEST).is_file():
        return RunDirectoryError(f"{path} holds no finished result; an unfinished run goes on with --resume {path}")
    return NoRunError(f"{path} is no run directory: it holds neither {DOCUMENT} nor {MANIFEST}")


def _converted(content: Any, kind: type[Document], file: pathlib.Path) -> Document:
    try:
        document = msgspec.convert(content, kind)
    except msgspec.ValidationError as problem:
        raise RunDirectoryError(
            f"{file} is no valid {schema_of(kind)}: {problem}; `ncclprobe schema` prints what it must hold"
        ) from problem
    from ncclprobe.records.consistency import contradiction  # knows every command's document

    if wrong := contradiction(document):
        raise RunDirectoryError(f"{file} is no valid {schema_of(kind)}: {wrong}; was it edited?")
    return document


def schema_of(kind: type[Document]) -> str:
    """Return ``ncclprobe.<command>/<version>`` of a document type."""
    return next(str(field.default) for field in msgspec.structs.fields(kind) if field.name == "schema")


def command_line() -> tuple[str, ...]:
    """Return the tokens that started this process."""
    return tuple(sys.argv)
