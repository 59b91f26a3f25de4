"""Run directories on a full or read-only disk, removed while a run goes on, and wanted by two runs."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from fault_runs import Run, lines

from ncclprobe.errors import RunDirectoryError
from ncclprobe.records.sweep import LaunchBroken
from ncclprobe.store import Manifest, RunDirectory

FABRIC = pathlib.Path(__file__).parents[2] / "data/fabric_two_nodes/fabric.toml"
LOG = pathlib.Path(__file__).parents[1] / "data/inspect/nccl_failures.log"
SWEEP = ("sweep", "--backend", "sim", "--fabric", str(FABRIC), "--seed", "1")


@pytest.fixture
def small(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Return a file system of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def _remount(folder: pathlib.Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", str(folder)], check=True)


@pytest.mark.cluster
def test_a_full_disk_is_told_and_the_run_goes_on_once_there_is_room(small: pathlib.Path) -> None:
    with Run(small, *SWEEP) as run:
        ended = run.ended()
    assert ended.status == 1
    assert "journal.jsonl: No space left on device; free space, then --resume " in ended.stderr
    kept = len(lines(run.out, "measurement"))
    assert kept > 10
    _remount(small, "size=64m")
    with Run(small, "sweep", "--resume", str(run.out)) as again:
        ended = again.ended()
    assert ended.status == 0, ended.stderr
    assert len(lines(run.out, "measurement")) > kept


def test_a_command_that_cannot_resume_is_to_be_run_again(tmp_path: pathlib.Path) -> None:
    with Run(tmp_path, "inspect", str(LOG), before=("prlimit", "--fsize=4096")) as run:
        ended = run.ended()
    told = f"cannot write {run.out / 'document.json'}: File too large; free space, then run inspect again"
    assert (ended.status, ended.stderr) == (1, f"Error: {told}\n")


@pytest.mark.cluster
def test_a_read_only_disk_is_told(small: pathlib.Path) -> None:
    _remount(small, "ro")
    with Run(small, *SWEEP) as run:
        ended = run.ended()
    assert (ended.status, ended.stderr.count("\n")) == (1, 1)
    assert f"cannot write the run directory {run.out}: Read-only file system; choose another --out" in ended.stderr


def test_a_directory_that_vanishes_is_told_at_the_next_line(tmp_path: pathlib.Path) -> None:
    with RunDirectory.create(tmp_path / "run", Manifest(command="sweep", argv=(), seed=1)) as directory:
        shutil.rmtree(tmp_path / "run")
        with pytest.raises(RunDirectoryError, match=r"journal.jsonl: it has been removed since .*; start a new run"):
            directory.append(LaunchBroken(launch=0, message="lost"), "launch-broken")


def test_a_file_that_cannot_be_made_is_one_line(tmp_path: pathlib.Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/trials").touch()
    words = ("validate-e2e", "--workload", "command", "--metric", "([0-9]+)", "--candidate", "A=1", "--", "echo", "1")
    with Run(tmp_path, *words) as run:
        ended = run.ended()
    assert ended.status == 1
    assert ended.stderr == f"Error: {run.out / 'trials'}: File exists; what was measured is kept\n"


def test_a_second_run_in_one_directory_is_refused_at_once(tmp_path: pathlib.Path) -> None:
    manifest = Manifest(command="sweep", argv=(), seed=1)
    resume = ("sweep", "--resume", str(tmp_path / "run"))
    with RunDirectory.create(tmp_path / "run", manifest), Run(tmp_path, *resume) as other:
        ended = other.ended()
    assert (ended.status, ended.document) == (1, {})
    assert ended.stderr == (
        f"Error: another process is writing to {tmp_path / 'run'}; wait for it, or choose another --out\n"
    )
