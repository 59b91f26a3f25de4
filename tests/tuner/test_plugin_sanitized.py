"""The plugin under the compiler's sanitizers."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from ncclprobe.tuner.build import HERE
from ncclprobe.tuner.compiling import FLAGS, compilation

COMPILER = shutil.which("cc")
FOLDER = pathlib.Path(__file__).parent
DEBUG = ("-g", "-O1", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all")
MODULES = ("test_plugin_choices.py", "test_plugin_table.py", "test_plugin_process.py")


def compiled(command: list[str], what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode:
        assert "sanitize" in done.stderr or "san." in done.stderr or "cannot find -l" in done.stderr, done.stderr
        pytest.skip(f"the compiler has no {what}: {done.stderr.splitlines()[-1]}")


def runtimes() -> str:
    """Return what has to be loaded before the interpreter, which is not built with the sanitizers."""
    names = ("libasan.so", "libubsan.so")
    found = [subprocess.run([COMPILER, f"-print-file-name={name}"], capture_output=True, text=True) for name in names]
    paths = [done.stdout.strip() for done in found]
    if not all(pathlib.Path(path).is_absolute() for path in paths):
        pytest.skip("the compiler has no shared AddressSanitizer")
    return " ".join(paths)


def test_nothing_is_read_or_written_out_of_bounds_and_nothing_is_undefined(tmp_path):
    if COMPILER is None:
        pytest.skip("needs a C compiler")
    library = tmp_path / "sanitized.so"
    flags = (*DEBUG, "-fsanitize=address,undefined")
    compiled(compilation((COMPILER,), str(HERE / "plugin.c"), str(library), flags), "AddressSanitizer")
    environment = os.environ | {
        "LD_PRELOAD": runtimes(),
        "ASAN_OPTIONS": "detect_leaks=0:verify_asan_link_order=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "NCCLPROBE_TEST_PLUGIN": str(library),
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-s",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        *(str(FOLDER / name) for name in MODULES),
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=FOLDER.parents[1], timeout=240)
    said = (done.stdout + done.stderr)[-4000:]
    assert done.returncode == 0, said
    assert "passed" in said
    assert "skipped" not in said


@pytest.mark.parametrize("kind", ["thread", "address,undefined"])
def test_threads_race_for_nothing_and_nothing_leaks(tmp_path, kind):
    if COMPILER is None:
        pytest.skip("needs a C compiler")
    program, good, bad = tmp_path / "threads", tmp_path / "good.csv", tmp_path / "bad.csv"
    sources = [str(FOLDER / "plugin_threads.c"), str(HERE / "plugin.c")]
    command = [COMPILER, *FLAGS, *DEBUG, "-Wall", "-Wextra", "-Werror", f"-fsanitize={kind}", f"-I{HERE}"]
    compiled([*command, *sources, "-o", str(program)], f"-fsanitize={kind}")
    good.write_text("allreduce,0,4096,tree,simple,17,-1,-1\n")
    bad.write_text("allreduce,0,4096,tree,simple,17,-1,-1\nallreduce,1,0,tree,simple,17,-1,-1\n")
    environment = os.environ | {"NCCLPROBE_TUNER_RECORD": str(tmp_path / "record")}
    arguments = [str(program), str(good), str(bad), "1"]
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr[-4000:]
    assert done.stdout.endswith(" 0 torn\n")
