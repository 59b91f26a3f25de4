"""A file of one line of a gigabyte is refused, or read in pieces: memory stays far below its size."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

LIMIT_BYTES = 2 << 30
RUN = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({LIMIT_BYTES}, {LIMIT_BYTES}))
from ncclprobe.cli import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect"],
        ["env", "lint"],
        *(
            pytest.param(words, marks=pytest.mark.slow)
            for words in (["nodes", "--from"], ["scan", "--from"], ["sweep", "--fabric"])
        ),
    ],
    ids=lambda words: words[0],
)
def test_a_line_of_a_gigabyte_is_refused(arguments: list[str], tmp_path: pathlib.Path) -> None:
    file = tmp_path / "large.txt"
    with file.open("wb") as sparse:
        sparse.truncate(1 << 30)
    ended = subprocess.run(
        [sys.executable, "-c", RUN, *arguments, str(file)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2, ended.stderr
    assert "MiB" in ended.stderr
