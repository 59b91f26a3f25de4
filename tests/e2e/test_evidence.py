import os
import subprocess
import sys

import pytest

from ncclprobe.e2e.evidence import Evidence, Expected, in_force_of, not_in_force, spans_of, variables_of
from ncclprobe.e2e.workers import Workers
from ncclprobe.names import Collective
from ncclprobe.records.in_force import Change, Process
from ncclprobe.records.inspect import Choice, LogHca, NcclLog, Plugin
from ncclprobe.records.tuner import AnswerSource, Recorded, RecordedAnswer

TOKEN = 14336
"""Bytes of a token of DeepSeek-V3."""


def log(*sizes, version="2.28.9", env=None, **changes):
    choices = tuple(
        Choice(collective="all_reduce", size_bytes=size, algo="Ring", proto="LL", nchannels=8, count=4)
        for size in sizes
    )
    return NcclLog(source="nccl.a.1", version=version, choices=choices, env=env or {}, **changes)


def record(*sizes, count=4):
    answers = tuple(
        RecordedAnswer(
            count=count,
            operations=count,
            collective=Collective.ALL_REDUCE,
            size_bytes=size,
            nranks=2,
            nnodes=1,
            source=AnswerSource.LEFT_ALONE,
            refused=None,
            algo="Ring",
            proto="LL128",
            nchannels=None,
            api=5,
        )
        for size in sizes
    )
    return Recorded(source="tuner.1", host="a", pid=1, started="", asked=9, overflow=0, answers=answers)


def process(**env):
    return Process(pid=7, library="/venv/libnccl.so.2", env=env)


def in_force(logs=(), records=(), processes=(), wanted=None, named=(), expected=None):
    return in_force_of(Evidence(tuple(logs), tuple(records), tuple(processes)), wanted or {}, named, expected)


def test_sizes_that_ran_alike_are_one_span():
    logs = (log(TOKEN, 2 * TOKEN), log(4 * TOKEN, 2 * TOKEN))
    other = Choice(collective="all_reduce", size_bytes=3 * TOKEN, algo="Tree", proto="LL", nchannels=8, count=1)
    seen = in_force((*logs, NcclLog(source="x", choices=(other,))))
    shown = [
        (one.min_bytes // TOKEN, one.max_bytes // TOKEN, one.sizes, one.algo, one.operations) for one in seen.spans
    ]
    assert seen.source == "nccl-log"
    assert shown == [(1, 2, 2, "Ring", 12), (3, 3, 1, "Tree", 1), (4, 4, 1, "Ring", 4)]


def test_without_choices_in_the_log_the_record_says_what_nccl_was_told():
    seen = in_force((log(),), (record(TOKEN), record(TOKEN)))
    (span,) = seen.spans
    assert (seen.source, seen.recorded) == ("tuner-record", 2)
    assert (span.proto, span.nchannels, span.operations) == ("LL128", None, 8)


def test_nothing_seen_is_nothing_said():
    seen = in_force(expected=Expected(TOKEN, 4))
    assert (seen.logs, seen.version, seen.source, seen.spans, seen.traffic, seen.gdr) == (0, None, None, (), None, None)
    assert list(spans_of([])) == []


def test_ranks_are_merged():
    ib, plugin = LogHca(name="mlx5_0", port=1), Plugin(kind="tuner", name="ncclprobe", loaded=True)
    one = log(nranks=16, nnodes=2, hcas=(ib,), gdr=True, plugins=(plugin,), transports={"NET/IB": 4})
    other = log(version=None, nranks=16, hcas=(ib,), gdr=False, plugins=(plugin,), transports={"NET/IB": 2})
    seen = in_force((one, other))
    assert (seen.version, seen.nranks, seen.nnodes, seen.gdr) == ("2.28.9", 16, 2, False)
    assert (seen.hcas, seen.plugins, seen.transports) == ((ib,), (plugin,), {"NET/IB": 6})


@pytest.mark.parametrize(
    ("logs", "records", "seen"),
    [
        ((log(4, TOKEN, 2 * TOKEN),), (), 8),
        ((log(4, TOKEN + 2, 8192 * TOKEN),), (), 0),
        ((log(),), (), 0),
        ((log(version="2.21.5"),), (), None),
        ((log(version="2.21.5"),), (record(TOKEN), record(TOKEN, 2 * TOKEN)), 8),
        ((log(TOKEN),), (record(8192 * TOKEN),), 0),
        ((), (), None),
    ],
)
def test_the_all_reduces_of_whole_tokens_are_counted_on_one_rank(logs, records, seen):
    traffic = in_force(logs, records, expected=Expected(TOKEN, 4)).traffic
    assert (None if traffic is None else traffic.seen) == seen


def test_without_the_models_config_any_message_that_is_no_flag_counts():
    assert in_force((log(4, 512, 3000),), expected=Expected(None, 1)).traffic.seen == 4


def shown(logs=(), processes=(), wanted=None, named=()):
    found = variables_of(Evidence(tuple(logs), (), tuple(processes)), wanted or {}, named)
    return [(one.name, one.change, one.wanted, one.seen, one.processes) for one in found]


@pytest.mark.parametrize(
    ("logs", "processes", "wanted", "named", "found"),
    [
        ([log(env={"NCCL_PROTO": "LL"})], [], {"NCCL_PROTO": "LL"}, [], []),
        ([log(env={"NCCL_IB_TIMEOUT": "22"})], [], {"NCCL_IB_TIMEOUT": "0x16"}, [], []),
        (
            [log(env={"NCCL_PROTO": "LL"}), log(env={"NCCL_PROTO": "Simple"})],
            [process(NCCL_PROTO="LL")],
            {"NCCL_PROTO": "LL"},
            [],
            [("NCCL_PROTO", Change.CHANGED, "LL", "Simple", 1)],
        ),
        ([], [process(), process()], {"NCCL_PROTO": "LL"}, [], [("NCCL_PROTO", Change.DROPPED, "LL", None, 2)]),
        (
            [log(env={"NCCL_CUMEM_ENABLE": "0"})],
            [],
            {},
            [],
            [("NCCL_CUMEM_ENABLE", Change.ADDED, None, "0", 1)],
        ),
        ([log()], [], {"NCCL_PROTO": "LL"}, [], []),
        ([], [Process(pid=1, library="x", env=None)], {"NCCL_PROTO": "LL"}, [], []),
        ([log(env={"NCCL_P2P_LEVEL": "PXB"})], [process(NCCL_P2P_LEVEL="4")], {"NCCL_P2P_LEVEL": "4"}, [], []),
        ([], [process(OTHER="8")], {"OTHER": "1"}, [], []),
        ([], [process(OTHER="8")], {"OTHER": "1"}, ["OTHER"], [("OTHER", Change.CHANGED, "1", "8", 1)]),
        ([], [process(SGLANG_RUN_ID="x")], {}, [], []),
        ([log(env={"NCCL_DEBUG": "INFO"})], [process(NCCL_DEBUG_FILE="x")], {}, [], []),
    ],
)
def test_what_became_of_variables(logs, processes, wanted, named, found):
    assert shown(logs, processes, wanted, named) == found


def test_a_lost_setting_is_named_and_a_missing_plugin_too():
    seen = in_force((), (), [process()], {"NCCL_PROTO": "LL"}, ["NCCL_PROTO"])
    assert not_in_force(seen, ["NCCL_PROTO"], needs_plugin=False).startswith("NCCL_PROTO is not set in 1 processes")
    assert not_in_force(seen, [], needs_plugin=True) == ""
    assert "did not load the tuner plugin" in not_in_force(in_force((log(),)), [], needs_plugin=True)
    assert not_in_force(in_force((log(),), (record(TOKEN),)), [], needs_plugin=True) == ""
    loaded = log(plugins=(Plugin(kind="tuner", name="ncclprobe", loaded=True),))
    assert not_in_force(in_force((loaded,)), [], needs_plugin=True) == ""


@pytest.mark.parametrize("sign", [True, False])
def test_a_process_whose_environment_lacks_ours_is_not_believed(tmp_path, sign):
    library = tmp_path / "libnccl.so.2"
    library.write_bytes(b"\0" * 4096)
    code = "import mmap, sys, time; f = open(sys.argv[1]); m = mmap.mmap(f.fileno(), 4096, prot=1); time.sleep(20)"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}, {str(library)!r}])"
    env = {**os.environ, "NCCL_PROTO": "LL", "MINE": "1", **({"NCCL_DEBUG_FILE": "x"} if sign else {})}
    process = subprocess.Popen([sys.executable, "-c", outer], env=env, start_new_session=True)
    workers = Workers(["MINE"])
    try:
        assert workers.wait(process, 3.0) is None
    finally:
        os.killpg(process.pid, 9)
        process.wait()
    (found,) = workers.found([])
    assert found.library == str(library)
    seen = {name: value for name, value in (found.env or {}).items() if name in ("NCCL_PROTO", "MINE")}
    assert seen == ({"NCCL_PROTO": "LL", "MINE": "1"} if sign else {})
    assert workers.found([found.pid + 1]) == (found,)


def test_workers_that_still_die_are_waited_for(tmp_path):
    library = tmp_path / "libnccl.so.2"
    library.write_bytes(b"\0" * 4096)
    code = "import mmap, sys, time; f = open(sys.argv[1]); m = mmap.mmap(f.fileno(), 4096, prot=1); time.sleep(20)"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}, {str(library)!r}])"
    process = subprocess.Popen([sys.executable, "-c", outer], start_new_session=True)
    workers = Workers([])
    try:
        while not workers.found([]):
            assert workers.wait(process, 0.3) is None
        process.kill()
        process.wait()
        assert not workers.wait_until_gone(0.3)
    finally:
        os.killpg(process.pid, 9)
    assert workers.wait_until_gone()
