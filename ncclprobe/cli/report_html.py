"""``ncclprobe report --html``: reads what runs hold beside their documents, and writes the page."""

from __future__ import annotations

import importlib.resources
import pathlib
from collections.abc import Iterator, Sequence

from ncclprobe.errors import MissingDependencyError
from ncclprobe.records.base import Document
from ncclprobe.records.nodes import GroupValue, NodesDocument
from ncclprobe.records.tune import TuneDocument
from ncclprobe.report.html.page import page
from ncclprobe.report.html.part import Origin, Part, Shown
from ncclprobe.report.text.runs import Run, all_findings
from ncclprobe.report.text.verdict import DOCUMENTS
from ncclprobe.store import DOCUMENT, MANIFEST, read_document, read_journal, read_manifest, write_whole


def write_page(file: pathlib.Path, runs: Sequence[Run]) -> None:
    """Write runs as one HTML file, whole or not at all.

    Raises:
        MissingDependencyError: There is no Bokeh.
        RunDirectoryError: A run cannot be read, or the file cannot be written.
    """
    text = page([shown(run) for run in runs], all_findings(runs), plotting_library())
    # A path may hold bytes that are no UTF-8.
    write_whole(file, text.encode("utf-8", "replace").decode())


def plotting_library() -> str:
    """Return BokehJS without its widgets, which Bokeh's Python package brings.

    Raises:
        MissingDependencyError: It is not there.
    """
    try:
        folder = importlib.resources.files("bokeh") / "server" / "static" / "js"
        return (folder / "bokeh.min.js").read_text(encoding="utf-8")
    except (ModuleNotFoundError, OSError) as problem:
        raise MissingDependencyError(
            f"--html draws with Bokeh ({problem}): pip install 'ncclprobe[report]'"
        ) from problem


def shown(run: Run) -> Shown:
    """Return a run with what its directory holds beside its document."""
    path = pathlib.Path(run.source)
    return Shown(source=run.source, parts=tuple(_part(folder, document) for folder, document in _documents(path, run)))


def _documents(path: pathlib.Path, run: Run) -> Iterator[tuple[pathlib.Path, Document]]:
    yield path, run.document
    if isinstance(run.document, TuneDocument) and path.is_dir():
        folders = [path / stage.path for stage in run.document.stages if stage.path is not None]
        yield from ((folder, read_document(folder, DOCUMENTS)) for folder in folders if (folder / DOCUMENT).is_file())


def _part(path: pathlib.Path, document: Document) -> Part:
    if not (path / MANIFEST).is_file():
        return Part(document=document)
    return Part(document=document, origin=_origin(path), groups=_groups(path, document))


def _groups(path: pathlib.Path, document: Document) -> tuple[GroupValue, ...]:
    if not isinstance(document, NodesDocument):
        return ()
    return tuple(line for line in read_journal(path, {"group-value": GroupValue}) if isinstance(line, GroupValue))


def _origin(path: pathlib.Path) -> Origin:
    known = read_manifest(path)
    return Origin(
        argv=known.argv, created=known.created, host=known.host, python=known.python, platform=known.platform,
        seed=known.seed, environment=known.environment, hardware=known.hardware,
    )  # fmt: skip
