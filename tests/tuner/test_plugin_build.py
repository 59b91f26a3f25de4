"""Where the plugin's library comes from: the wheel, the cache, or a compiler; and what a wheel carries."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import shutil
import stat
import subprocess
import sys
import zipfile

import pytest

from ncclprobe.errors import MissingDependencyError, UsageError
from ncclprobe.tuner import build
from ncclprobe.tuner.compiling import LIBRARY, SOURCES, machine, wheel_tag
from ncclprobe.tuner.live import LiveTuner

ROOT = pathlib.Path(__file__).parents[2]
ELF = b"\x7fELF\x02\x01" + bytes(12)
X86_64, AARCH64, RISC_V = (ELF + number.to_bytes(2, "little") for number in (62, 183, 243))


@pytest.fixture(autouse=True)
def compiler():
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")


@pytest.fixture
def environment(tmp_path: pathlib.Path) -> dict[str, str]:
    return {"XDG_CACHE_HOME": str(tmp_path / "cache")}


def test_it_is_compiled_once_and_kept_for_its_user_alone(environment, tmp_path):
    path = build.plugin_path(environment)
    kept = path.stat()
    assert path.parent == tmp_path / "cache" / "ncclprobe"
    assert (stat.S_IMODE(path.parent.stat().st_mode), stat.S_IMODE(kept.st_mode)) == (0o700, 0o500)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert LiveTuner(path).state.generation == 0
    again = build.plugin_path(environment).stat()
    assert (again.st_ino, again.st_mtime_ns) == (kept.st_ino, kept.st_mtime_ns)


def test_ranks_that_build_at_once_share_one_inode(environment):
    code = "from ncclprobe.tuner.build import plugin_path as p; import os; print(p(), os.stat(p()).st_ino)"
    ranks = [
        subprocess.Popen([sys.executable, "-c", code], env=os.environ | environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    told = {rank.communicate(timeout=120)[0] for rank in ranks}
    assert [rank.returncode for rank in ranks] == [0, 0, 0]
    assert len(told) == 1
    assert "tuner-" in told.pop()


def test_changed_sources_and_another_compiler_get_a_library_of_their_own(environment, tmp_path, monkeypatch):
    first = build.plugin_path(environment)
    with_flags = build.plugin_path(environment | {"CC": "cc -g0"})
    sources = tmp_path / "sources"
    sources.mkdir()
    for name in SOURCES:
        shutil.copy(build.HERE / name, sources / name)
    with (sources / SOURCES[-1]).open("a") as file:
        file.write("/* newer */\n")
    monkeypatch.setattr(build, "HERE", sources)
    assert len({first, with_flags, build.plugin_path(environment)}) == 3


def test_a_library_from_the_wheel_comes_first(environment, tmp_path, monkeypatch):
    shipped = tmp_path / LIBRARY
    shipped.write_bytes(b"built into the wheel")
    monkeypatch.setattr(build, "HERE", tmp_path)
    assert build.plugin_path(environment | {"CC": "absent"}) == shipped


@pytest.mark.parametrize(
    ("compiler_name", "kind", "words"),
    [
        ("no-such-compiler", MissingDependencyError, "there is no no-such-compiler here; install a C compiler"),
        ("false", MissingDependencyError, "false cannot compile the tuner plugin: exit status 1"),
        ("cc -DNCCLPROBE_TUNER_PLUGIN_H", MissingDependencyError, "cannot compile the tuner plugin: .*error"),
        ("cc 'unclosed", UsageError, "is no command: No closing quotation"),
    ],
)
def test_a_compiler_that_does_not_serve_is_named(environment, tmp_path, compiler_name, kind, words):
    with pytest.raises(kind, match=words):
        build.plugin_path(environment | {"CC": compiler_name})
    assert list((tmp_path / "cache").rglob("*.so")) == []


def test_without_any_compiler_the_message_says_what_to_install(environment, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(MissingDependencyError, match="no cc or gcc or clang here"):
        build.plugin_path(environment)


def spoil_by_mode(cache: pathlib.Path) -> None:
    cache.mkdir(parents=True)
    cache.chmod(0o770)


def spoil_by_link(cache: pathlib.Path) -> None:
    (cache.parent / "elsewhere").mkdir(parents=True)
    cache.symlink_to("elsewhere")


def spoil_by_owner(cache: pathlib.Path) -> None:
    if os.geteuid():
        pytest.skip("only root can give a folder away")
    cache.mkdir(parents=True)
    os.chown(cache, 65534, 65534)


@pytest.mark.parametrize("spoil", [spoil_by_mode, spoil_by_link, spoil_by_owner])
def test_a_cache_that_others_could_write_to_is_refused(environment, tmp_path, spoil):
    spoil(tmp_path / "cache" / "ncclprobe")
    with pytest.raises(UsageError, match="nothing is taken from there"):
        build.plugin_path(environment)


@pytest.mark.parametrize("spoil", [lambda path: path.chmod(0o702), lambda path: (path.unlink(), path.symlink_to("x"))])
def test_a_library_that_others_could_have_changed_is_refused(environment, spoil):
    path = build.plugin_path(environment)
    spoil(path)
    with pytest.raises(UsageError, match=rf"{path.name} is a link, belongs to someone else"):
        build.plugin_path(environment)


def test_a_cache_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot make the cache"):
        build.plugin_path({"XDG_CACHE_HOME": str(tmp_path / "file" / "below")})


def test_a_relative_cache_is_ignored_as_its_specification_says(tmp_path):
    path = build.plugin_path({"XDG_CACHE_HOME": "relative", "HOME": str(tmp_path)})
    assert path.parent == tmp_path / ".cache" / "ncclprobe"


def test_a_path_that_nccl_would_cut_is_refused(tmp_path):
    with pytest.raises(UsageError, match="NCCL cuts paths over 254 bytes"):
        build.plugin_path({"XDG_CACHE_HOME": str(tmp_path / ("x" * 120) / ("y" * 120))})


# ---- wheels


@pytest.mark.parametrize(
    ("library", "tag"),
    [
        (X86_64 + b"\0GLIBC_2.2.5\0GLIBC_2.33\0GLIBC_2.4\0", "py3-none-manylinux_2_33_x86_64"),
        (AARCH64 + b"\0GLIBC_2.17\0", "py3-none-manylinux_2_17_aarch64"),
        (X86_64 + b"\0GLIBC_2.2.5\0", "py3-none-manylinux_2_17_x86_64"),
        (X86_64 + b"\0GLIBC_2.100\0GLIBC_2.9\0", "py3-none-manylinux_2_100_x86_64"),
        (AARCH64 + b"\0libc.musl\0", "py3-none-linux_aarch64"),
        (RISC_V, None),
        (b"\xcf\xfa\xed\xfe not ELF", None),
        (b"", None),
    ],
)
def test_a_wheels_tag_says_what_its_library_needs(library, tag):
    assert wheel_tag(library) == tag


def wheel(folder: pathlib.Path, **variables: str) -> pathlib.Path:
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("hatchling is not installed: pip install -e '.[test]'")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | variables, cwd=ROOT, timeout=120)
    (built,) = folder.glob("*.whl")
    return built


def test_a_wheel_carries_the_library_under_the_tag_of_its_platform(tmp_path):
    built = wheel(tmp_path)
    with zipfile.ZipFile(built) as archive:
        library = archive.read(f"ncclprobe/tuner/{LIBRARY}")
        about = archive.read(next(name for name in archive.namelist() if name.endswith(".dist-info/WHEEL"))).decode()
        archive.extractall(tmp_path / "site")
    assert machine(library) == os.uname().machine
    assert built.name.endswith(f"-{wheel_tag(library)}.whl")
    assert f"Tag: {wheel_tag(library)}" in about
    assert "Root-Is-Purelib: false" in about
    code = (
        "from ncclprobe.tuner.build import plugin_path; from ncclprobe.tuner.live import LiveTuner; "
        "print(plugin_path(), LiveTuner(plugin_path()).state.generation)"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site"), "CC": "absent"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"{tmp_path}/site/ncclprobe/tuner/{LIBRARY} 0\n", "")


def test_a_wheel_is_pure_without_a_compiler_and_carries_the_sources(tmp_path):
    built = wheel(tmp_path, CC="absent")
    with zipfile.ZipFile(built) as archive:
        names = set(archive.namelist())
    assert built.name.endswith("-py3-none-any.whl")
    assert {f"ncclprobe/tuner/{source}" for source in SOURCES} <= names
    assert f"ncclprobe/tuner/{LIBRARY}" not in names
