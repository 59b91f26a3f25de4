"""Folders for temporary files, and owners that end in every way."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable

import pytest

from ncclprobe.errors import LaunchError
from ncclprobe.launchers.scratch import Scratch

OWNER = """
import time
from ncclprobe.launchers.scratch import Scratch
scratch = Scratch()
print(scratch.path, flush=True)
time.sleep(60)
"""

STARTER = """
import sys
from ncclprobe.launchers import make_launcher
from ncclprobe.launchers.base import Job
from ncclprobe.launchers.run import run_ranks
code = "import time; from ncclprobe.launchers.channel import Channel; Channel().receive(); time.sleep(60)"
list(run_ranks(Job(program=(sys.executable, "-c", code), nranks=1), make_launcher("local"), timeout_s=60))
"""


def _within(seconds: float, what: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not (so := what()) and time.monotonic() < deadline:
        time.sleep(0.002)
    return so


def _started(code: str, folder: pathlib.Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "TMPDIR": str(folder)}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE)


def test_a_folder_is_private_and_goes_with_all_that_is_in_it(tmp_path: pathlib.Path) -> None:
    with Scratch(tmp_path) as scratch:
        assert scratch.path.parent == tmp_path
        assert scratch.path.stat().st_mode & 0o777 == 0o700
        (scratch.path / "deep").mkdir()
        (scratch.path / "deep" / "file").write_text("something")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_owner_that_is_ended_leaves_no_folder(how: signal.Signals, tmp_path: pathlib.Path) -> None:
    with _started(OWNER, tmp_path) as owner:
        folder = pathlib.Path(owner.stdout.readline().decode().strip())
        (folder / "file").write_text("something")
        owner.send_signal(how)
    assert _within(10, lambda: not folder.exists())


@pytest.mark.mpi
@pytest.mark.parametrize("wait_s", [0.0, 0.005, 0.02, 0.05, 0.1])
def test_a_starter_that_is_killed_before_its_ranks_run_leaves_no_folder(tmp_path: pathlib.Path, wait_s: float) -> None:
    with _started(STARTER, tmp_path) as starter:
        assert _within(30, lambda: any(tmp_path.glob("ncclprobe-*")))  # Python tries it with a file first
        time.sleep(wait_s)
        starter.kill()
    assert _within(10, lambda: not any(tmp_path.iterdir()))


def test_whoever_still_writes_is_waited_for(tmp_path: pathlib.Path) -> None:
    scratch = Scratch(tmp_path)
    written: list[int] = []

    def write() -> None:
        with contextlib.suppress(FileNotFoundError):
            while True:
                (scratch.path / str(len(written))).write_text("still here")
                written.append(len(written))
                time.sleep(0.0005)

    writer = threading.Thread(target=write)
    writer.start()
    assert _within(10, lambda: len(written) > 100)
    scratch.remove()
    writer.join()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_goes_though_its_guard_was_killed(tmp_path: pathlib.Path) -> None:
    with Scratch(tmp_path) as scratch:
        scratch._guard.kill()
        scratch._guard.wait()
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LaunchError, match=f"temporary files in {tmp_path / 'file'}: Not a directory; set TMPDIR"):
        Scratch(tmp_path / "file")


def test_no_place_at_all_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/dev/full"])
    with pytest.raises(LaunchError, match=r"No usable temporary directory found .*; set TMPDIR"):
        Scratch()
