from __future__ import annotations

import pathlib

import pytest


@pytest.fixture(autouse=True)
def temporary_files_are_the_tests_own(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have workloads that are killed, and the stand-ins for them, leave theirs where pytest removes them."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
