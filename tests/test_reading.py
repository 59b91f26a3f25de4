"""What lies in a folder may be endless, a pipe, or a gigabyte that takes a megabyte: it is told, and nobody waits."""

from __future__ import annotations

import gzip
import os
import pathlib
import tracemalloc
from collections.abc import Callable

import pytest
from click.testing import CliRunner

from ncclprobe.cli import group
from ncclprobe.errors import ParseError, ProbeError, UsageError
from ncclprobe.reading import TEXT_BYTES, log_end, whole_file
from ncclprobe.records.nodes import GroupValue
from ncclprobe.store import (
    DOCUMENT,
    JOURNAL,
    MANIFEST,
    PACKED,
    RunDirectory,
    read_document,
    read_journal,
    read_manifest,
)

RUN = '{"command":"nodes","argv":["ncclprobe","nodes"],"seed":1}'
LINE = b'{"kind":"group-value","nodes":["a","b"],"value":1.5}\n'


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / MANIFEST).write_text(RUN)
    return tmp_path


@pytest.mark.parametrize("words", [["report"], ["env", "emit"], ["env", "check"], ["scan", "--from"]])
def test_a_device_that_never_ends_is_refused(words: list[str]) -> None:
    ended = CliRunner().invoke(group, [*words, "/dev/zero"], standalone_mode=False)
    assert "MiB, which is not read" in str(ended.exception)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        (MANIFEST, read_manifest),
        (JOURNAL, lambda folder: list(read_journal(folder, {}))),
        (JOURNAL, lambda folder: RunDirectory.resume(folder, "nodes")),
        (DOCUMENT, lambda folder: read_document(folder, [])),
    ],
)
def test_a_pipe_in_a_run_directory_is_not_waited_for(
    folder: pathlib.Path, name: str, read: Callable[[pathlib.Path], object]
) -> None:
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises((OSError, ProbeError), match="pipe or a device"):
        read(folder)


def test_a_pipe_among_captured_files_is_passed_over(tmp_path: pathlib.Path) -> None:
    os.mkfifo(tmp_path / "dgx001.txt")
    ended = CliRunner().invoke(group, ["scan", "--from", str(tmp_path)], standalone_mode=False)
    assert "holds no file to read" in str(ended.exception)


@pytest.mark.parametrize(
    "packed", [gzip.compress(LINE * 1000)[:-12], b"no gzip\n", gzip.compress(LINE * 9)[:20] + b"\xff" * 99]
)
def test_a_packed_journal_that_was_cut_is_told(folder: pathlib.Path, packed: bytes) -> None:
    (folder / PACKED).write_bytes(packed)
    with pytest.raises(ParseError, match=r"journal\.jsonl\.gz: it cannot be unpacked"):
        list(read_journal(folder, {"group-value": GroupValue}))


def test_a_packed_line_without_an_end_is_not_unpacked_whole(folder: pathlib.Path) -> None:
    with gzip.open(folder / PACKED, "wb", 1) as file:
        for _ in range(8):
            file.write(b" " * (TEXT_BYTES // 4))
    tracemalloc.start()
    with pytest.raises(ParseError, match="a line of over 32 MiB"):
        list(read_journal(folder, {}))
    assert tracemalloc.get_traced_memory()[1] < 3 * TEXT_BYTES
    tracemalloc.stop()


@pytest.mark.parametrize("torn", [b"", b"{", b"x" * (3 << 20)])
def test_a_torn_line_is_found_from_the_end_and_cut(folder: pathlib.Path, torn: bytes) -> None:
    (folder / JOURNAL).write_bytes(LINE * 50_000 + torn)
    with RunDirectory.resume(folder, "nodes") as run:
        assert run.dropped == len(torn)
    assert (folder / JOURNAL).read_bytes() == LINE * 50_000


def test_a_journal_of_nothing_but_a_torn_line_is_emptied(folder: pathlib.Path) -> None:
    (folder / JOURNAL).write_bytes(b"x" * (3 << 20))
    RunDirectory.resume(folder, "nodes").close()
    assert (folder / JOURNAL).read_bytes() == b""


@pytest.mark.parametrize(
    ("content", "end"), [(b"1234", "1234"), (b"12345678", "5678"), (b"a\r\nb\rc", "\nb\nc"), (b"", "")]
)
def test_of_a_log_the_end_is_read(tmp_path: pathlib.Path, content: bytes, end: str) -> None:
    (tmp_path / "log").write_bytes(content)
    assert log_end(tmp_path / "log", 5 if b"\r" in content else 4) == end


def test_the_output_of_a_trial_takes_memory_up_to_a_limit(tmp_path: pathlib.Path) -> None:
    with (tmp_path / "log").open("wb") as sparse:
        sparse.truncate(2 << 30)
        sparse.seek(0, os.SEEK_END)
        sparse.write(b"\n5 tok/s\n")
    tracemalloc.start()
    assert log_end(tmp_path / "log", 1 << 20).endswith("\n5 tok/s\n")
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_a_file_as_large_as_may_be_is_read(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a").write_bytes(b"1234")
    assert whole_file(tmp_path / "a", 4) == b"1234"
    with pytest.raises(UsageError):
        whole_file(tmp_path / "a", 3)
