"""What earlier runs said of their nodes, kept in the cache: finding it takes most of the time of ``nodes --history``.

A file a history holds a line a run, under a digest of what its readings follow from: the run's values, and the sources
and libraries that make readings of values. So a line is either right or not found, and what was not asked for this
time is dropped. Without a cache the readings are the same, only slower.
"""

from __future__ import annotations

import hashlib
import pathlib
import platform
import stat
import sys
from types import TracebackType
from typing import Self

import msgspec
import numpy as np
import scipy

from ncclprobe.cache import cache_directory, trusted
from ncclprobe.cli.verbosity import detail
from ncclprobe.decoding import from_json
from ncclprobe.errors import ProbeError
from ncclprobe.nodes.history import PastRun
from ncclprobe.nodes.readings import Reading, digest, readings
from ncclprobe.store import write_whole

MODEL = (
    *(f"ncclprobe.nodes.{name}" for name in ("design", "drift", "intervals", "model", "noise", "readings", "state")),
    "ncclprobe.stats",
)
"""Modules that readings follow from."""


class KeptReadings:
    """Finds the readings of runs, or has them from an earlier look. Use it with ``with``: that keeps them."""

    def __init__(self, history: pathlib.Path) -> None:
        """Read what was kept.

        Args:
            history: The folder of the runs.
        """
        self._file, self._model = _file(history), _model()
        self._known = self._read()
        self._used: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        kept = self._used if kind is None else self._known | self._used
        if self._file is None or kept == self._known:
            return
        try:
            write_whole(self._file, "".join(f"{line}\n" for line in [self._model, *map(" ".join, kept.items())]))
        except ProbeError as hindrance:
            detail(f"what these runs say of their nodes is not kept: {hindrance}")

    def of(self, run: PastRun) -> tuple[Reading, ...]:
        """Return what a run's values say of each node."""
        key = digest(run.values)
        text = self._known.get(key, "")
        found = _decoded(text)
        if found is None:
            found = tuple(readings(run.values))
            text = msgspec.json.encode(found).decode()
        self._used[key] = text
        return found

    def _read(self) -> dict[str, str]:
        """Return each run's kept readings by the digest of its values; none where they follow from another model."""
        if self._file is None:
            return {}
        try:
            trusted(self._file, stat.S_ISREG)
            model, *lines = self._file.read_text(encoding="utf-8").splitlines() or [""]
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeError, ProbeError) as hindrance:
            detail(f"what was kept of these runs is not used: {hindrance}")
            return {}
        return {line[:64]: line[65:] for line in lines} if model == self._model else {}


def _decoded(text: str) -> tuple[Reading, ...] | None:
    """Return kept readings, None where there are none."""
    try:
        return from_json(text, tuple[Reading, ...])
    except msgspec.DecodeError:
        return None


def _file(history: pathlib.Path) -> pathlib.Path | None:
    """Return where a history's readings are kept, None where there is no cache."""
    name = hashlib.sha256(str(history.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:20]
    try:
        return cache_directory() / f"readings-{name}.jsonl"
    except ProbeError as hindrance:
        detail(f"what these runs say of their nodes is not kept: {hindrance}")
        return None


def _model() -> str:
    """Return a digest of all that readings follow from beside the values."""
    digested = hashlib.sha256(repr((np.__version__, scipy.__version__, platform.machine(), sys.version)).encode())
    for name in MODEL:
        digested.update(pathlib.Path(str(sys.modules[name].__file__)).read_bytes() + b"\0")
    return digested.hexdigest()
