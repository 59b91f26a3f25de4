"""What scripts/audit makes of pip-audit's answer: packages that nobody could be asked about are not without a fault."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).parents[2] / "scripts/audit_answer.py"
GOOD = {"name": "click", "version": "8.5.1", "vulns": []}
BAD = {"name": "bad", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}]}
SKIPPED = {"name": "numpy", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("packages", "status", "said"),
    [
        ([GOOD], 0, ["pypi: 1 packages were asked about, 0 vulnerabilities are known"]),
        ([GOOD, BAD], 1, ["vulnerable: bad 1.0: PYSEC-1; fixed in 1.1",
                          "pypi: 2 packages were asked about, 1 vulnerabilities are known"]),
        ([GOOD, SKIPPED], 0, ["pypi: 1 packages were asked about, 0 vulnerabilities are known",
                              "not asked about: numpy"]),
        ([SKIPPED], 2, ["not asked: pypi said nothing of any of 1 packages (Dependency not found on PyPI)"]),
        (None, 2, ["not asked: pypi said nothing of any of the packages (no route to host)"]),
    ],
)  # fmt: skip
def test_an_answer(tmp_path: pathlib.Path, packages: list[object] | None, status: int, said: list[str]) -> None:
    if packages is not None:
        (tmp_path / "answer.json").write_text(json.dumps({"dependencies": packages, "fixes": []}))
    (tmp_path / "log").write_text("trying\nno route to host\n")
    words = [sys.executable, str(SCRIPT), "pypi", str(tmp_path / "answer.json"), str(tmp_path / "log")]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout.splitlines()) == (status, said)
