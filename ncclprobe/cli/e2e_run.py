"""How a comparison is run: with the readers of what a workload leaves behind, and the candidate's table in place."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from ncclprobe.cli.e2e_arms import TABLE_FILE
from ncclprobe.cli.output import note
from ncclprobe.cli.profile_files import read_profile
from ncclprobe.e2e.run import compared
from ncclprobe.e2e.workload import Surroundings
from ncclprobe.errors import RunDirectoryError
from ncclprobe.inspect import nccl_log
from ncclprobe.inspect.recognise import decode
from ncclprobe.inspect.source import Source
from ncclprobe.records.e2e import TABLE_VARIABLE, E2eDocument, E2eOptions
from ncclprobe.records.inspect import NcclLog
from ncclprobe.records.profile import ProfileDocument
from ncclprobe.store import RunDirectory, stored_options
from ncclprobe.tuner.table import table_text
from ncclprobe.workload.recorded import read_record
from ncclprobe.workload.replays import Replays


def run_trials(directory: RunDirectory) -> E2eDocument:
    """Run what is left of a comparison and return its document, written to the run directory as well."""
    options = stored_options(directory.path, directory.manifest, E2eOptions)
    _write_table(directory, options)
    return compared(options, directory, surroundings(directory.path.absolute()), note)


def surroundings(path: pathlib.Path) -> Surroundings:
    """Return what a workload is lent.

    Args:
        path: The run directory, which may not be there yet.
    """
    return Surroundings(directory=path, read_log=_read_log, read_record=read_record, read_profile=_read_profile)


def _read_profile(paths: Sequence[pathlib.Path]) -> ProfileDocument:
    return read_profile([str(path) for path in paths if path.exists()], Replays())[0]


def _read_log(name: str, content: bytes) -> NcclLog | None:
    reading = nccl_log.read(Source(name, decode(content)))
    logs = [] if reading is None else [document for document in reading.documents if isinstance(document, NcclLog)]
    return logs[0] if logs else None


def _write_table(directory: RunDirectory, options: E2eOptions) -> None:
    """Write the candidate's table to the run directory, if that is where its environment names it."""
    path = directory.path / TABLE_FILE
    tables = [arm.table for arm in options.arms.values() if arm.table and arm.env.get(TABLE_VARIABLE) == str(path)]
    if tables:
        try:
            path.write_text(table_text(tables[0]), encoding="utf-8")
        except OSError as problem:
            raise RunDirectoryError(f"cannot write {path}: {problem.strerror}") from problem
