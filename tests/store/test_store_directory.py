"""Run directories: made, locked, resumed, read, and what is said when they cannot be."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pathlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncclprobe import __version__
from ncclprobe.errors import ParseError, RunDirectoryError
from ncclprobe.findings import warning
from ncclprobe.records.base import Record
from ncclprobe.records.env import EnvDocument
from ncclprobe.records.scan import ScanDocument
from ncclprobe.store import (
    DOCUMENT,
    JOURNAL,
    MANIFEST,
    Manifest,
    RunDirectory,
    default_directory,
    read_document,
    read_journal,
    read_manifest,
    relevant_environment,
    schema_of,
)


class Step(Record, frozen=True, kw_only=True):
    """A line of these tests' journals."""

    number: int
    """Running number."""
    text: str = ""
    """Anything."""


KINDS: dict[str, type[Record]] = {"step": Step}


def manifest(command: str = "sweep") -> Manifest:
    return Manifest(command=command, argv=("ncclprobe", command, "--seed", "7"), seed=7, options={"sizes": [8, 64]})


def steps(path: pathlib.Path) -> list[Record]:
    return list(read_journal(path, KINDS))


def written(path: pathlib.Path, count: int) -> list[Step]:
    """Return the steps of a run directory that this makes."""
    made = [Step(number=number, text="µs\n" * number) for number in range(count)]
    with RunDirectory.create(path, manifest()) as run:
        for step in made:
            run.append(step, "step")
    return made


def test_a_manifest_says_how_the_run_was_started(tmp_path: pathlib.Path) -> None:
    with RunDirectory.create(tmp_path / "a" / "run", manifest()) as run:
        read = read_manifest(run.path)
    assert read == run.manifest
    assert (read.schema, read.version, read.command) == ("ncclprobe.manifest/1", __version__, "sweep")
    assert (read.argv, read.seed, read.options) == (("ncclprobe", "sweep", "--seed", "7"), 7, {"sizes": [8, 64]})
    assert all((read.host, read.python, read.platform, read.created.endswith("Z")))


def test_what_is_appended_is_read_back_in_order(tmp_path: pathlib.Path) -> None:
    made = written(tmp_path / "run", 5)
    assert steps(tmp_path / "run") == made


def test_kinds_that_are_not_asked_for_are_left_out(tmp_path: pathlib.Path) -> None:
    with RunDirectory.create(tmp_path / "run", manifest()) as run:
        run.append(Step(number=1), "other")
        run.append(Step(number=2), "step")
    assert steps(tmp_path / "run") == [Step(number=2)]


def test_a_run_is_never_overwritten(tmp_path: pathlib.Path) -> None:
    written(tmp_path / "run", 2)
    with pytest.raises(RunDirectoryError, match=r"already holds a run; go on with --resume .*run"):
        RunDirectory.create(tmp_path / "run", manifest())
    assert len(steps(tmp_path / "run")) == 2


def test_a_run_is_resumed_where_it_stopped(tmp_path: pathlib.Path) -> None:
    made = written(tmp_path / "run", 3)
    with RunDirectory.resume(tmp_path / "run", "sweep") as run:
        assert run.manifest.options == {"sizes": [8, 64]}
        assert run.dropped == 0
        run.append(Step(number=3), "step")
    assert steps(tmp_path / "run") == [*made, Step(number=3)]


def test_only_the_same_command_resumes(tmp_path: pathlib.Path) -> None:
    written(tmp_path / "run", 1)
    with pytest.raises(RunDirectoryError, match="holds a run of 'sweep', not of 'tune'"):
        RunDirectory.resume(tmp_path / "run", "tune")


@pytest.mark.parametrize("content", [None, "", "{}", "not json", '{"command": 5}'])
def test_what_is_no_run_directory_is_said(tmp_path: pathlib.Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / MANIFEST).write_text(content)
    with pytest.raises(RunDirectoryError, match=r"is no run directory: .*; name one that holds manifest\.json"):
        RunDirectory.resume(tmp_path, "sweep")


def test_a_directory_that_cannot_be_made_is_said(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunDirectoryError, match=r"cannot write the run directory .*; choose another --out"):
        RunDirectory.create(tmp_path / "file" / "run", manifest())


def test_a_run_that_is_refused_leaves_the_manifest_of_the_one_that_was_faster(tmp_path: pathlib.Path) -> None:
    with RunDirectory.create(tmp_path, manifest()):
        (tmp_path / MANIFEST).unlink()  # as it is for a moment when two runs begin at the same time
        with pytest.raises(RunDirectoryError, match=r"another process is writing to .*; .* choose another --out"):
            RunDirectory.create(tmp_path, manifest())
        assert not (tmp_path / MANIFEST).exists()


def test_one_process_at_a_time(tmp_path: pathlib.Path) -> None:
    with (
        RunDirectory.create(tmp_path / "run", manifest()),
        pytest.raises(RunDirectoryError, match=r"another process is writing to .*run"),
    ):
        RunDirectory.resume(tmp_path / "run", "sweep")
    RunDirectory.resume(tmp_path / "run", "sweep").close()


def test_a_file_system_without_locks_is_told_as_such(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_descriptor: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", none)
    with pytest.raises(
        RunDirectoryError, match=r"run cannot be locked: No locks available; choose an --out on another"
    ):
        RunDirectory.create(tmp_path / "run", manifest())


# ---- torn and broken lines


def test_a_torn_last_line_is_dropped_wherever_it_was_torn(tmp_path: pathlib.Path) -> None:
    made = written(tmp_path / "run", 3)
    journal = tmp_path / "run" / JOURNAL
    whole = journal.read_bytes()
    third = whole.rfind(b"\n", 0, len(whole) - 1) + 1
    for end in range(third, len(whole)):
        journal.write_bytes(whole[:end])
        assert steps(tmp_path / "run") == made[:2]
        with RunDirectory.resume(tmp_path / "run", "sweep") as run:
            assert run.dropped == end - third
            run.append(Step(number=9), "step")
        assert steps(tmp_path / "run") == [*made[:2], Step(number=9)]


@pytest.mark.parametrize(
    "line", [b"not json\n", b"[]\n", b"{}\n", b'{"kind":"step"}\n', b'{"kind":"step","number":"x"}\n', b"\xff\xfe\n"]
)
def test_a_whole_line_that_was_not_written_so_is_an_error_with_its_place(tmp_path: pathlib.Path, line: bytes) -> None:
    written(tmp_path / "run", 1)
    with (tmp_path / "run" / JOURNAL).open("ab") as journal:
        journal.write(line)
    with pytest.raises(ParseError, match=r"journal\.jsonl:2: not a line of a journal"):
        steps(tmp_path / "run")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=40), max_size=6))
def test_any_text_survives(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.mktemp("run")
    made = [Step(number=number, text=text) for number, text in enumerate(texts)]
    with RunDirectory.create(path, manifest()) as run:
        for step in made:
            run.append(step, "step")
    assert steps(path) == made
    assert (path / JOURNAL).read_bytes().count(b"\n") == len(made)


# ---- documents


def test_a_document_is_read_from_a_directory_or_a_file(tmp_path: pathlib.Path) -> None:
    document = ScanDocument(findings=(warning("low-memlock", "node1", "64 KiB", "ulimit -l unlimited"),))
    with RunDirectory.create(tmp_path / "run", manifest("scan")) as run:
        run.finish(document)
        run.finish(document.with_(findings=()))
    assert read_document(tmp_path / "run", (ScanDocument,)) == document.with_(findings=())
    (tmp_path / "printed.json").write_bytes(msgspec.json.encode(document))
    assert read_document(tmp_path / "printed.json", (EnvDocument, ScanDocument)) == document
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [DOCUMENT, JOURNAL, MANIFEST]


@pytest.mark.parametrize("content", ["", "[]", '{"version": "1"}', "not json"])
def test_a_file_of_something_else_is_said(tmp_path: pathlib.Path, content: str) -> None:
    (tmp_path / DOCUMENT).write_text(content)
    with pytest.raises(RunDirectoryError, match=r"document\.json is no document of ncclprobe \(.*; name a run dir"):
        read_document(tmp_path, (ScanDocument,))


def test_a_missing_result_is_said(tmp_path: pathlib.Path) -> None:
    with pytest.raises(RunDirectoryError, match=r"is no run directory: it holds neither document\.json nor manifest"):
        read_document(tmp_path, (ScanDocument,))
    (tmp_path / MANIFEST).write_text("{}")
    with pytest.raises(RunDirectoryError, match=r"holds no finished result; an unfinished run goes on with --resume"):
        read_document(tmp_path, (ScanDocument,))


def test_a_document_of_another_command_is_said(tmp_path: pathlib.Path) -> None:
    (tmp_path / "scan.json").write_bytes(msgspec.json.encode(ScanDocument()))
    with pytest.raises(
        RunDirectoryError, match=r"holds ncclprobe\.scan/1, which does not serve here; it takes ncclpro"
    ):
        read_document(tmp_path / "scan.json", (EnvDocument,))


def test_a_document_that_breaks_its_schema_is_said(tmp_path: pathlib.Path) -> None:
    content = json.loads(msgspec.json.encode(ScanDocument()))
    content["hosts"] = "none"
    (tmp_path / "scan.json").write_text(json.dumps(content))
    with pytest.raises(RunDirectoryError, match=r"is no valid ncclprobe\.scan/1: Expected `array`.*hosts"):
        read_document(tmp_path / "scan.json", (ScanDocument,))


def test_schema_of_a_document_type() -> None:
    assert schema_of(ScanDocument) == "ncclprobe.scan/1"


def test_only_variables_that_matter_are_kept() -> None:
    environment = {"NCCL_ALGO": "Ring", "HOME": "/root", "MPIR_CVAR_NOLOCAL": "1", "PASSWORD": "x", "SLURM_JOB_ID": "5"}
    kept = relevant_environment(environment)
    assert list(kept) == ["MPIR_CVAR_NOLOCAL", "NCCL_ALGO", "SLURM_JOB_ID"]


def test_default_directories_sort_by_time() -> None:
    path = default_directory("sweep")
    assert path.parent == pathlib.Path("ncclprobe-runs")
    assert path.name.endswith("Z-sweep")
    assert len(path.name) == len("20261122T021100Z-sweep")
