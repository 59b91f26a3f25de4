"""The plugin in a process: variables, threads, forks, kills, and the record it leaves."""

from __future__ import annotations

import concurrent.futures
import ctypes
import itertools
import os
import pathlib
import resource
import signal
import stat
import struct
import subprocess
import sys
import threading
import time

import pytest
from fake_nccl import VERSIONS, FakeNccl, Ran

from ncclprobe.errors import ParseError
from ncclprobe.names import Algo, Collective, Proto
from ncclprobe.records.sweep import Cell
from ncclprobe.records.tuner import AnswerSource, Recorded, Refusal
from ncclprobe.tuner.live import Calls, LiveTuner
from ncclprobe.workload.recorded import ENTRY, HEADER, doubts, is_record, read_record

TREE_LL = Ran(Algo.TREE, Proto.LL, 0)
OWN = {2: Ran(None, None, 0), **dict.fromkeys(VERSIONS[1:], TREE_LL)}
ROW = "allreduce,0,65536,ring,simple,8,-1,-1\n"
CHILD = f"""
import os, pathlib, sys
sys.path[:0] = [{str(pathlib.Path(__file__).parent)!r}, {str(pathlib.Path(__file__).parents[2])!r}]
from fake_nccl import FakeNccl
"""


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in ("FORCE", "TABLE", "RECORD"):
        monkeypatch.delenv(f"NCCLPROBE_TUNER_{name}", raising=False)


def read(path: pathlib.Path) -> Recorded:
    return read_record(path.read_bytes(), path.name)


def child(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD + code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)


# ---- variables


@pytest.mark.parametrize("api", VERSIONS)
@pytest.mark.parametrize(
    ("text", "ran"),
    [
        ("ring,simple,5", Ran(Algo.RING, Proto.SIMPLE, 5)),
        ("Ring, Simple", Ran(Algo.RING, Proto.SIMPLE, 0)),
        ("-1,-1,4", None),
        ("-1", None),
    ],
)
def test_a_cell_is_forced_by_a_variable(plugin, monkeypatch, api, text, ran):
    monkeypatch.setenv("NCCLPROBE_TUNER_FORCE", text)
    nccl = FakeNccl(plugin, api)
    assert nccl.ask() == (ran or OWN[api]._replace(nchannels=4 if "4" in text else 0))
    assert nccl.warnings() == []


@pytest.mark.parametrize(
    "text", ["ring,simple,5,6", "gossip", "ring,simple,65", "ring,simple,many", ",", "ring;ll", "x" * 10**5]
)
def test_a_variable_that_says_nothing_known_forces_nothing(plugin, monkeypatch, text):
    monkeypatch.setenv("NCCLPROBE_TUNER_FORCE", text)
    nccl = FakeNccl(plugin, 5)
    assert nccl.ask() == TREE_LL
    assert nccl.warnings()[0].startswith("NCCLPROBE_TUNER_FORCE is algo[,proto[,channels]], not '")


@pytest.mark.parametrize("api", VERSIONS)
def test_a_table_is_loaded_by_a_variable(plugin, monkeypatch, tmp_path, api):
    (tmp_path / "t.csv").write_text(ROW)
    monkeypatch.setenv("NCCLPROBE_TUNER_TABLE", str(tmp_path / "t.csv"))
    nccl = FakeNccl(plugin, api)
    assert nccl.ask(size=65536) == Ran(Algo.RING, Proto.SIMPLE, 8)
    assert nccl.ask(size=65537) == OWN[api]
    assert [line.text for line in nccl.logged] == [
        f"interface {api}, ranks: 8, nodes: 1, a table is in force, not recording"
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file or directory"),
        ("gossip,0,65536,ring,simple,8,-1,-1\n" + ROW, "line 1: the first field is no collective"),
        (ROW + "allreduce,0,65536,ring\n", "line 2: a row has 8 to 10 fields"),
    ],
)
def test_a_table_that_is_none_leaves_nccl_alone_and_says_so_once(plugin, monkeypatch, tmp_path, content, words):
    path = tmp_path / "t\n.csv"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("NCCLPROBE_TUNER_TABLE", str(path))
    first, second = FakeNccl(plugin, 5), FakeNccl(plugin, 5)
    assert first.ask(size=64) == second.ask(size=64) == TREE_LL
    assert first.warnings() == [f"NCCLPROBE_TUNER_TABLE={tmp_path}/t?.csv: {words}; NCCL is left alone"]
    assert second.warnings() == []


def test_variables_are_read_once_and_what_ctypes_said_before_stands(plugin, monkeypatch, tmp_path):
    (tmp_path / "t.csv").write_text(ROW)
    monkeypatch.setenv("NCCLPROBE_TUNER_FORCE", "ring,ll")
    monkeypatch.setenv("NCCLPROBE_TUNER_TABLE", str(tmp_path / "t.csv"))
    tuner = LiveTuner(plugin)
    tuner.force(Cell(algo="Tree", proto="Simple"))
    assert FakeNccl(plugin, 5).ask() == Ran(Algo.TREE, Proto.SIMPLE, 0)
    assert tuner.state.table_rows == 1
    tuner.release()
    tuner.drop_table()
    assert FakeNccl(plugin, 5).ask(size=64) == TREE_LL


# ---- threads, forks, unloading


def ask_until(ended: threading.Event, plugin: pathlib.Path, api: int, ran: set[Ran]) -> int:
    """Return how often NCCL asked, in one communicator after the other."""
    for count in itertools.count(1):
        nccl = FakeNccl(plugin, api, logs=False)
        ran |= {nccl.ask() for _ in range(50)}
        nccl.close()
        if ended.is_set():
            return count * 50
    return 0


def test_threads_see_whole_wishes_while_they_change(plugin, monkeypatch, tmp_path):
    monkeypatch.setenv("NCCLPROBE_TUNER_RECORD", str(tmp_path / "record"))
    (tmp_path / "t.csv").write_text("allreduce,0,1048576,ring,ll,17,-1,-1\n")
    tuner, ended, ran = LiveTuner(plugin), threading.Event(), {api: set() for api in VERSIONS[1:]}
    cells = Cell(algo="Tree", proto="LL", nchannels=3), Cell(algo="Ring", proto="LL128", nchannels=9), Cell(algo="NVLS")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        workers = [pool.submit(ask_until, ended, plugin, api, seen) for api, seen in ran.items()]
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            for cell in cells:
                tuner.force(cell)
            tuner.release()
            tuner.load_table(tmp_path / "t.csv")
            tuner.answers(after=tuner.state.asked - 5)
            tuner.drop_table()
        ended.set()
    asked = sum(worker.result() for worker in workers)
    assert set().union(*ran.values()) <= {
        TREE_LL, Ran(Algo.TREE, Proto.LL, 3), Ran(Algo.RING, Proto.LL128, 9), Ran(Algo.RING, Proto.LL, 17)
    }  # fmt: skip
    assert tuner.state.asked == asked > 1000
    by_generation: dict[int, object] = {}
    for answer in tuner.answers():
        told = (answer.source, answer.algo, answer.proto, answer.nchannels, answer.refused)
        assert by_generation.setdefault(answer.generation, told) == told
    recorded = read(tmp_path / f"record.{os.getpid()}")
    assert (recorded.asked, sum(answer.count for answer in recorded.answers)) == (asked, asked)


FORK = """
import threading
nccl = FakeNccl(pathlib.Path(sys.argv[1]), 5)
threads = [threading.Thread(target=lambda: [nccl.ask(size=1) for _ in range(4000)], daemon=True) for _ in range(2)]
for thread in threads: thread.start()
for _ in range(8):
    pid = os.fork()
    if pid == 0:
        for _ in range(7): nccl.ask(size=4096)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
for thread in threads: thread.join()
print(os.getpid(), pid, flush=True)
"""


def test_a_forked_child_never_waits_and_counts_in_a_file_of_its_own(plugin, monkeypatch, tmp_path):
    monkeypatch.setenv("NCCLPROBE_TUNER_RECORD", str(tmp_path / "record"))
    with child(FORK, plugin) as process:
        out, _ = process.communicate(timeout=60)
    parent, forked = map(int, out.split())
    assert [(answer.size_bytes, answer.count) for answer in read(tmp_path / f"record.{parent}").answers] == [(1, 8000)]
    inherited = read(tmp_path / f"record.{forked}")
    assert (inherited.pid, inherited.asked, len(list(tmp_path.glob("record.*")))) == (forked, 7, 9)
    assert [(answer.size_bytes, answer.count) for answer in inherited.answers] == [(4096, 7)]


def test_state_outlives_the_unloading_of_the_last_communicator(plugin, monkeypatch, tmp_path):
    monkeypatch.setenv("NCCLPROBE_TUNER_RECORD", str(tmp_path / "record"))
    libc = ctypes.CDLL(None)
    libc.dlopen.restype, libc.dlopen.argtypes = ctypes.c_void_p, [ctypes.c_char_p, ctypes.c_int]
    libc.dlclose.argtypes = [ctypes.c_void_p]
    for _ in range(3):
        handle = libc.dlopen(os.fsencode(plugin), os.RTLD_LAZY)
        library = ctypes.CDLL(None, handle=handle)
        library.ncclprobe_force(-1, 1, 2, 4)
        assert libc.dlclose(handle) == 0
    assert LiveTuner(plugin).state.generation == 3
    assert FakeNccl(plugin, 5).ask() == Ran(Algo.RING, Proto.SIMPLE, 4)


# ---- the record


def test_the_record_counts_each_distinct_question_and_answer(plugin, monkeypatch, tmp_path):
    monkeypatch.setenv("NCCLPROBE_TUNER_RECORD", str(tmp_path / "record"))
    (tmp_path / "t.csv").write_text(ROW)
    tuner = LiveTuner(plugin)
    nccl, other = FakeNccl(plugin, 5), FakeNccl(plugin, 6, nranks=2, nnodes=2)
    for _ in range(5):
        nccl.ask(size=14336)
    other.ask(Collective.ALL_GATHER, size=4096, operations=3)
    other.ask(Collective.ALL_GATHER, size=4096)
    tuner.force(Cell(algo="NVLS", proto="Simple"))
    nccl.ask(size=2**40)
    tuner.release()
    tuner.load_table(tmp_path / "t.csv")
    nccl.ask(size=64)
    path = tmp_path / f"record.{os.getpid()}"
    recorded = read(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (recorded.pid, recorded.host, recorded.asked, recorded.overflow) == (os.getpid(), os.uname().nodename, 9, 0)
    assert abs(time.time() - time.mktime(time.strptime(recorded.started, "%Y-%m-%dT%H:%M:%SZ")) + time.timezone) < 60
    left, forced, table = AnswerSource.LEFT_ALONE, AnswerSource.FORCED, AnswerSource.TABLE
    assert [
        (a.count, a.operations, a.collective, a.size_bytes, a.nranks, a.nnodes, a.source, a.refused, a.nchannels)
        for a in recorded.answers
    ] == [
        (5, 5, "all_reduce", 14336, 8, 1, left, None, None),
        (2, 4, "all_gather", 4096, 2, 2, left, None, None),
        (1, 1, "all_reduce", 64, 8, 1, table, None, 8),
        (1, 1, "all_reduce", 2**40, 8, 1, forced, Refusal.UNAVAILABLE, None),
    ]
    assert [(a.algo, a.proto, a.api) for a in recorded.answers] == [
        ("Tree", "LL", 5), ("Tree", "LL", 6), ("Ring", "Simple", 5), ("Tree", "LL", 5),
    ]  # fmt: skip
    (doubt,) = doubts(recorded)
    assert (doubt.code, doubt.severity) == ("tuner-refused", "warning")
    assert doubt.message.startswith("1 of 9 questions had an answer that NCCL cannot run (unavailable)")
    assert "all_reduce of 1T on 8 ranks and 1 nodes" in doubt.message


KILLED = """
import itertools
nccl = FakeNccl(pathlib.Path(sys.argv[1]), 5)
for step in itertools.count():
    nccl.ask(size=step % 100)
    if step == 1000: print(os.getpid(), flush=True)
"""


def test_a_killed_process_leaves_all_that_it_counted(plugin, monkeypatch, tmp_path):
    monkeypatch.setenv("NCCLPROBE_TUNER_RECORD", str(tmp_path / "record"))
    with child(KILLED, plugin) as process:
        pid = int(process.stdout.readline())
        time.sleep(0.05)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    recorded = read(tmp_path / f"record.{pid}")
    assert recorded.asked > 1000
    assert recorded.asked - sum(answer.count for answer in recorded.answers) in (0, 1)
    assert [answer.size_bytes for answer in recorded.answers if answer.count < recorded.asked // 100] == []


def test_distinct_questions_without_room_are_counted_as_such(plugin, monkeypatch, tmp_path):
    monkeypatch.setenv("NCCLPROBE_TUNER_RECORD", str(tmp_path / "record"))
    nccl = FakeNccl(plugin, 5)
    for size in range(4000):
        nccl.ask(size=size)
    for _ in range(10):
        nccl.ask(size=0)
    recorded = read(tmp_path / f"record.{os.getpid()}")
    assert (recorded.asked, recorded.overflow, len(recorded.answers)) == (4010, 4000 - 3072, 3072)
    assert (recorded.answers[0].size_bytes, recorded.answers[0].count) == (0, 11)
    (doubt,) = doubts(recorded)
    assert doubt.code == "record-overflow"
    assert doubt.message.startswith("928 of 4010 questions had no room left")


def test_a_record_never_touches_a_file_that_is_there(plugin, monkeypatch, tmp_path):
    monkeypatch.setenv("NCCLPROBE_TUNER_RECORD", str(tmp_path / "record"))
    pid = os.getpid()
    (tmp_path / "precious").write_text("precious")
    (tmp_path / f"record.{pid}").symlink_to("precious")
    (tmp_path / f"record.{pid}.1").symlink_to("dangling")
    (tmp_path / f"record.{pid}.2").write_text("older")
    FakeNccl(plugin, 5).ask()
    assert read(tmp_path / f"record.{pid}.3").asked == 1
    assert (tmp_path / "precious").read_text() == "precious"
    assert (tmp_path / f"record.{pid}.2").read_text() == "older"
    assert not (tmp_path / "dangling").exists()


@pytest.mark.parametrize(
    ("prefix", "words"),
    [
        ("absent/record", "No such file"),
        ("x" * 300, "too long"),
        ("x" * 5000, "too long"),
        ("t.csv/record", "Not a dir"),
    ],
)
def test_a_record_that_cannot_be_written_is_said_and_does_no_harm(plugin, monkeypatch, tmp_path, prefix, words):
    (tmp_path / "t.csv").write_text(ROW)
    monkeypatch.setenv("NCCLPROBE_TUNER_RECORD", str(tmp_path / prefix))
    nccl = FakeNccl(plugin, 5)
    assert nccl.ask() == TREE_LL
    (said,) = nccl.warnings()
    assert words in said or prefix.startswith("x" * 5000)
    assert not LiveTuner(plugin).state.recording


LIMITED = """
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
nccl = FakeNccl(pathlib.Path(sys.argv[1]), 5)
print(nccl.ask().nchannels, *nccl.warnings())
"""


def test_a_limit_on_files_ends_no_process(plugin, monkeypatch, tmp_path):
    monkeypatch.setenv("NCCLPROBE_TUNER_RECORD", str(tmp_path / "record"))
    command = [sys.executable, "-c", CHILD + LIMITED, str(plugin)]
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))  # noqa: E731
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip().endswith("record: File too large; nothing is recorded")
    assert list(tmp_path.glob("record.*")) == []


@pytest.fixture
def content(plugin, monkeypatch, tmp_path) -> bytes:
    monkeypatch.setenv("NCCLPROBE_TUNER_RECORD", str(tmp_path / "record"))
    FakeNccl(plugin, 5).ask()
    return (tmp_path / f"record.{os.getpid()}").read_bytes()


def test_the_layout_is_the_plugins(content):
    assert is_record(content)
    assert len(content) == HEADER.size + 4096 * ENTRY.size


@pytest.mark.parametrize(
    ("at", "form", "value", "words"),
    [
        (0, "8s", b"elsewise", "no record of the tuner plugin"),
        (8, "I", 2, "a record of version 2"),
        (16, "I", 60, "a record of version 1"),
        (20, "I", 2**32 - 1, "do not hold 4294967295 entries"),
    ],
)
def test_a_header_that_cannot_be_is_refused(content, at, form, value, words):
    changed = bytearray(content)
    struct.pack_into("<" + form, changed, at, value)
    with pytest.raises(ParseError, match=words):
        read_record(bytes(changed), "record")


@pytest.mark.parametrize("length", [0, 8, 100, HEADER.size, HEADER.size + 63, -1])
def test_a_cut_file_is_refused(content, length):
    with pytest.raises(ParseError, match=r"cut|no record"):
        read_record(content[:length], "record")


def test_an_entry_that_cannot_be_is_refused_and_one_to_come_is_read(content):
    changed = bytearray(content)
    ENTRY.pack_into(changed, HEADER.size, 3, 3, 64, 11, 9, 5, 128, 1, 0, 4, 1, 7, 0)
    (answer, *_) = read_record(bytes(changed), "record").answers
    assert (answer.collective, answer.algo, answer.proto, answer.nchannels, answer.api) == (None, None, None, 128, 7)
    for source, refused in ((3, 0), (-1, 0), (1, 4), (1, -1)):
        ENTRY.pack_into(changed, HEADER.size, 3, 3, 64, 4, 0, 0, 0, source, refused, 4, 1, 5, 0)
        with pytest.raises(ParseError, match=f"the source {source} and the refusal {refused}"):
            read_record(bytes(changed), "record")


_REDUCE = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_void_p,
    ctypes.c_void_p,
)  # fmt: skip
_GATHER = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p
)


@pytest.mark.parametrize(("kind", "op", "fifth"), [(_REDUCE, 0, (0,)), (_REDUCE, 3, (3,)), (_GATHER, None, ())])
def test_a_collective_is_called_again_and_again_with_the_buffers_in_turn(plugin, kind, op, fifth):
    seen: list[tuple[int, ...]] = []

    def called(*arguments: int) -> int:
        seen.append(arguments)
        return 5 if len(seen) == 7 else 0

    function = kind(called)
    calls = Calls(
        function=ctypes.cast(function, ctypes.c_void_p).value, op=op, buffers=((16, 32), (48, 64), (80, 96)),
        count=1 << 33, dtype=7, comm=112, stream=128,
    )  # fmt: skip
    repeat = LiveTuner(plugin).repeated(calls)
    assert (repeat(0), seen) == (0, [])
    assert repeat(4) == 0
    turns = [(16, 32), (48, 64), (80, 96), (16, 32)]
    assert seen == [(*buffers, 1 << 33, 7, *fifth, 112, 128) for buffers in turns]
    assert repeat(100) == 5, "it stops at the first failure"
    assert len(seen) == 7
