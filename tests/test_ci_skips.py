"""In CI, the skip of what CI can run is a failure."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

MARKED = """
import pytest

@pytest.mark.{marker}
def test_marked():
    pytest.skip("nothing here")
"""
SETTINGS = f"""
[pytest]
pythonpath = {pathlib.Path(__file__).parent / "cluster"} {pathlib.Path(__file__).parent}
markers =
  docs: x
  mpi: x
  cluster: x
  slurm: x
  browser: x
  gpu: x
  slow: x
"""
WHOLE = """
import pytest
pytest.importorskip("no_such_module")
def test_nothing(): ...
"""


def outcome(tmp_path: pathlib.Path, name: str, text: str, ci: str) -> tuple[int, str]:
    """Return the exit status and what pytest says of one module beside the project's conftest."""
    (tmp_path / "conftest.py").write_text((pathlib.Path(__file__).parent / "conftest.py").read_text())
    (tmp_path / "pytest.ini").write_text(SETTINGS)
    (tmp_path / name).write_text(text)
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider", str(tmp_path)],
        env={**os.environ, "CI": ci}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return ended.returncode, ended.stdout


@pytest.mark.parametrize(
    ("marker", "ci", "status", "said"),
    [
        ("mpi", "", 0, "1 skipped"),
        ("mpi", "true", 1, "CI must run tests marked mpi, but this was skipped: "),
        ("docs", "true", 1, "CI must run tests marked docs, but this was skipped: "),
        ("cluster", "", 0, "1 skipped"),
        ("cluster", "true", 1, "CI must run tests marked cluster, but this was skipped: "),
        ("slurm", "true", 1, "CI must run tests marked slurm, but this was skipped: "),
        ("browser", "true", 1, "CI must run tests marked browser, but this was skipped: "),
        ("gpu", "true", 0, "1 skipped"),
        ("slow", "true", 0, "1 skipped"),
    ],
)
def test_a_skipped_test(tmp_path: pathlib.Path, marker: str, ci: str, status: int, said: str) -> None:
    returncode, output = outcome(tmp_path, "test_one.py", MARKED.format(marker=marker), ci)
    assert returncode == status, output
    assert said in output


@pytest.mark.parametrize(
    ("name", "ci", "failed"),
    [("test_one.py", "", False), ("test_one.py", "true", True), ("test_gpu_one.py", "true", False)],
)
def test_a_skipped_module(tmp_path: pathlib.Path, name: str, ci: str, failed: bool) -> None:
    returncode, output = outcome(tmp_path, name, WHOLE, ci)
    assert ("CI must run" in output) == failed, output
    assert (returncode not in (0, 5)) == failed
