"""What a person sees: captured panes of a terminal with 80 columns, a file that output is piped to, and NO_COLOR.

The panes are kept in tests/data/terminal. They come from a fabric without noise, so their figures do not depend on the
seed. Where a change of the text is wanted, look at the new pane and put it in the old one's place.
"""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

import pytest
from terminal import COLUMNS, Pane

DATA = pathlib.Path(__file__).parents[1] / "data" / "terminal"
NCCLPROBE = [sys.executable, "-m", "ncclprobe"]
SWEEP = [
    *NCCLPROBE,
    "sweep",
    "--fabric",
    str(DATA / "fabric.toml"),
    "--sizes",
    "8:1G:64",
    "--seed",
    "1",
    "--out",
    "run",
]
ESCAPE = "\x1b["


def kept(name: str) -> str:
    return (DATA / name).read_text(encoding="utf-8").rstrip("\n")


def finished(folder: pathlib.Path, command: list[str], env: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Return the exit status and what the pane shows in the end, without and with its escapes."""
    with Pane(folder, command, env) as pane:
        return pane.wait(), pane.text(), pane.text(with_escapes=True)


def coloured(escaped: str) -> list[tuple[str, str]]:
    """Return the words in colour with their colours' numbers: 31 red, 32 green, 33 yellow, 36 cyan."""
    return re.findall(r"\x1b\[(?:1m\x1b\[|1;)(\d+)m(\w+)", escaped)


@pytest.mark.tmux
def test_a_sweep_in_a_terminal(tmp_path: pathlib.Path) -> None:
    status, text, escaped = finished(tmp_path, SWEEP)
    assert (status, text) == (0, kept("sweep_pane.txt"))
    assert coloured(escaped) == coloured(kept("sweep_pane.ansi")) == [("32", "Change"), ("36", "info"), ("36", "Next")]
    assert max(map(len, text.splitlines())) <= COLUMNS


@pytest.mark.tmux
def test_a_sweep_under_no_color(tmp_path: pathlib.Path) -> None:
    status, text, escaped = finished(tmp_path, SWEEP, {"NO_COLOR": "1"})
    assert (status, text) == (0, kept("sweep_pane.txt"))
    assert escaped == text, "no escape at all"


@pytest.mark.tmux
def test_a_sweep_whose_output_goes_to_files(tmp_path: pathlib.Path) -> None:
    status, text, _ = finished(tmp_path, [*SWEEP, ">", "out.txt", "2>", "err.txt"])
    out, err = ((tmp_path / name).read_text(encoding="utf-8") for name in ("out.txt", "err.txt"))
    assert (status, text) == (0, ""), "nothing on the terminal"
    assert f"{err}{out}".rstrip() == kept("sweep_pane.txt"), "the same words as on a terminal"
    assert ESCAPE not in out + err
    assert "\r" not in out + err


def test_a_sweep_through_pipes_says_the_same(tmp_path: pathlib.Path) -> None:
    ended = subprocess.run(SWEEP, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert f"{ended.stderr}{ended.stdout}".rstrip() == kept("sweep_pane.txt")


@pytest.mark.tmux
def test_verdicts_on_nodes_are_coloured_by_word_and_not_by_colour_alone(tmp_path: pathlib.Path) -> None:
    fabric = DATA.parents[2] / "data" / "nodes_example" / "fabric.toml"
    command = [*NCCLPROBE, "nodes", "--fabric", str(fabric), "--seed", "1", "--out", "run"]
    status, text, escaped = finished(tmp_path, command)
    assert status == 3
    assert "slow: 1 of 8 nodes: dgx002" in text
    assert set(coloured(escaped)) == {("31", "slow"), ("36", "Next")}
    assert max(map(len, text.splitlines())) <= COLUMNS


@pytest.mark.tmux
@pytest.mark.mpi
def test_the_bar_says_what_is_measured_and_what_is_left(tmp_path: pathlib.Path) -> None:
    command = [*NCCLPROBE, "sweep", "--backend", "mpi", "--nranks", "2", "--sizes", "8,1M", "--budget", "6"]
    bar = re.compile(r"(?:explore|confirm) \d+: \d+ cells?, 2 sizes, (?:8|1M) +\d+%\|.+\| \d\d:\d\d left, budget \d s")
    with Pane(tmp_path, command) as pane:
        seen: list[str] = []

        def is_seen() -> bool:
            seen.extend(filter(bar.fullmatch, pane.text().splitlines()))
            return bool(seen)

        pane.wait(is_seen)
        assert len(seen[0]) <= COLUMNS
        assert pane.wait() == 0
        assert "%|" not in pane.text(), "the bar leaves nothing behind"


@pytest.mark.tmux
def test_the_tool_alone_fits_a_terminal(tmp_path: pathlib.Path) -> None:
    status, text, _ = finished(tmp_path, NCCLPROBE)
    assert status == 0
    assert text.startswith("ncclprobe ")
    assert "\nNext:\n  " in text
    assert max(map(len, text.splitlines())) <= COLUMNS
