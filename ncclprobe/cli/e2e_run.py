"""How a comparison is run: with the readers of what a workload leaves behind, and the candidate's table in place."""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Iterator, Sequence

from ncclprobe.cli.e2e_arms import TABLE_FILE, inherited_by
from ncclprobe.cli.output import note
from ncclprobe.cli.profile_files import read_profile
from ncclprobe.decoding import readable
from ncclprobe.e2e.resumed import changes, said
from ncclprobe.e2e.run import compared
from ncclprobe.e2e.workload import Surroundings
from ncclprobe.errors import LaunchError, MissingDependencyError, RunDirectoryError
from ncclprobe.inspect import nccl_log
from ncclprobe.inspect.recognise import decode
from ncclprobe.inspect.source import Source
from ncclprobe.records.e2e import TABLE_VARIABLE, E2eDocument, E2eOptions, Resumed, Trial
from ncclprobe.records.inspect import NcclLog
from ncclprobe.records.profile import ProfileDocument
from ncclprobe.secrecy import open_variables
from ncclprobe.store import RunDirectory, read_journal, relevant_environment, stored_options
from ncclprobe.tuner.table import table_text
from ncclprobe.workload.recorded import read_record
from ncclprobe.workload.replays import Replays


def run_trials(directory: RunDirectory) -> E2eDocument:
    """Run what is left of a comparison and return its document, written to the run directory as well."""
    options = stored_options(directory.path, directory.manifest, E2eOptions)
    _write_table(directory, options)
    with _where_it_began(directory):
        _note_changes(directory, options)
        return compared(options, directory, surroundings(directory.path), note)


def working_directory() -> str | None:
    """Return the folder that this process is in, None where UTF-8 has no name for it."""
    here = str(pathlib.Path.cwd())
    return here if readable(here) == here else None


@contextlib.contextmanager
def _where_it_began(directory: RunDirectory) -> Iterator[None]:
    """Have what is started find relative paths where the run began.

    Raises:
        RunDirectoryError: That folder is gone.
    """
    before = pathlib.Path.cwd()
    try:
        os.chdir(directory.manifest.directory or before)
    except OSError as problem:
        raise RunDirectoryError(
            f"{directory.path} was begun in {directory.manifest.directory}: {problem.strerror}; its command's relative "
            "paths need that folder, so make it again, or start anew with another --out"
        ) from problem
    try:
        yield
    finally:
        os.chdir(before)


def _note_changes(directory: RunDirectory, options: E2eOptions) -> None:
    """Say and keep where a run goes on with other inherited variables than it began with."""
    begun = open_variables(directory.manifest.environment) | options.inherited
    now = open_variables(relevant_environment(dict(os.environ))) | inherited_by(options.arms.values(), os.environ)
    if changed := changes(options, begun, now):
        note(f"warning: environment-changed: since the start, {said(changed)}")
        done = sum(1 for _ in read_journal(directory.path, {"trial": Trial}))
        directory.append(Resumed(order=done, changed=changed), "resumed")


def run_anew(directory: RunDirectory) -> E2eDocument:
    """Run a new comparison; one whose first trial cannot be started leaves its folder to the corrected command."""
    try:
        return run_trials(directory)
    except (LaunchError, MissingDependencyError):
        if directory.is_untouched:
            (directory.path / TABLE_FILE).unlink(missing_ok=True)
            directory.abandon()
        raise


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
