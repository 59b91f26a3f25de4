"""The same outputs behind what launchers, collectors, terminals and people put around lines read the same."""

import pathlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncclprobe.inspect.recognise import inspect

DATA = pathlib.Path(__file__).parent.parent / "data" / "inspect"
SAMPLES = sorted(path.name for path in DATA.iterdir() if path.name != "torch_profiler.txt")
PROMPT = "[user@login01 ~]$ "


def each(before, after=""):
    return lambda text: "".join(f"{before}{line}{after}\n" for line in text.splitlines())


DECORATIONS = {
    "mpirun": each("[1,0]<stdout>:"),
    "srun": each("3: "),
    "srun padded": each(" 3: "),
    "timestamp": each("2026-11-20T10:11:12.345678Z "),
    "bracketed timestamp": each("[2026-11-20 10:11:12] "),
    "kubernetes": each("2026-11-20T10:11:12.345678901Z stdout F "),
    "pdsh": each("node017: "),
    "logging": each("2026-11-20 10:11:12,345 - bench - INFO - "),
    "loguru": each("2026-11-20 10:11:12.345 | INFO     | __main__:main:12 - "),
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "colour": each("\x1b[32m", "\x1b[0m"),
    "colour without ESC": each("[32m", "[0m"),
    "quoted": each("> "),
    "indented": each("    "),
    "trailing blanks": each("", "   "),
    "prompt": lambda text: f"{PROMPT}cat output.txt\n{text}{PROMPT}\n",
    "fence": lambda text: f"```\n{text}```\n",
    "byte order mark": lambda text: "\ufeff" + text,
    "no last newline": lambda text: text.rstrip("\n"),
}


def documents(name, text):
    return inspect(name, text.encode()).documents


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("decoration", DECORATIONS)
def test_one_decoration(name, decoration):
    text = (DATA / name).read_text()
    plain = documents(name, text)
    assert plain
    assert documents(name, DECORATIONS[decoration](text)) == plain


LAUNCHERS = ["mpirun", "srun", "timestamp", "bracketed timestamp", "colour", "indented"]


@given(
    name=st.sampled_from(SAMPLES),
    around=st.lists(st.sampled_from(LAUNCHERS), min_size=2, max_size=3, unique=True),
    ending=st.sampled_from(["CRLF", "trailing blanks", "no last newline"]),
)
@settings(max_examples=60, deadline=None)
def test_several_decorations(name, around, ending):
    text = (DATA / name).read_text()
    plain = documents(name, text)
    for decoration in (*around, ending):
        text = DECORATIONS[decoration](text)
    assert documents(name, text) == plain


@given(st.binary(max_size=400))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_read_or_refused(content):
    reading = inspect("x", content)
    assert reading.documents or [finding.code for finding in reading.findings] == ["unrecognised-input"]


@given(name=st.sampled_from(SAMPLES), cut=st.floats(0, 1), hole=st.integers(0, 40))
@settings(max_examples=100, deadline=None)
def test_cut_outputs_do_not_crash(name, cut, hole):
    content = (DATA / name).read_bytes()
    at = int(len(content) * cut)
    inspect(name, content[:at])
    inspect(name, content[:at] + content[at + hole :])


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"", "inspect reads NCCL logs"),
        (b"SQLite format 3\x00rest", "inspect what `nsys stats` prints"),
        (b"\x1f\x8b\x08rest", "unpack it with gunzip"),
        (b"hello\nworld\n", "inspect reads NCCL logs"),
    ],
)
def test_other_files_are_refused_with_a_hint(content, hint):
    (finding,) = inspect("x", content).findings
    assert finding.code == "unrecognised-input"
    assert hint in finding.hint


def test_utf_16_is_read():
    text = (DATA / "sglang_serving.txt").read_text()
    assert inspect("x", text.encode("utf-16")).documents == documents("x", text)
