"""The run directory of a command that reads files and answers at once."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

from ncclprobe.cli.output import drawn_seed
from ncclprobe.records.base import Document
from ncclprobe.store import Manifest, RunDirectory, command_line, relevant_environment


def keep(command: str, document: Document, files: Sequence[str], out: pathlib.Path | None, seed: int | None) -> str:
    """Return the run directory that was written; empty where none was asked for.

    Args:
        command: Its name.
        document: The answer.
        files: What was read.
        out: The directory, None for none.
        seed: As given.
    """
    if out is None:
        return ""
    manifest = Manifest(
        command=command,
        argv=command_line(),
        seed=drawn_seed(seed),
        environment=relevant_environment(dict(os.environ)),
        options={"files": list(files)},
    )
    with RunDirectory.create(out, manifest) as directory:
        directory.finish(document)
    return str(out)
