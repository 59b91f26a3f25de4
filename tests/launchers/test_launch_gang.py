from __future__ import annotations

import contextlib
import json
import pathlib
import platform
import socket
import sys
import time

import pytest

from ncclprobe.errors import LaunchError, MeasurementTimeout, UsageError
from ncclprobe.launchers.base import Job, python_job
from ncclprobe.launchers.gang import MEET_VARIABLE, Gang, Meeting, own_address
from ncclprobe.launchers.run import run_ranks
from ncclprobe.launchers.spawn import SpawnLauncher, rank_environment
from ncclprobe.ranks import rank_from

RANK = str(pathlib.Path(__file__).with_name("gang_rank.py"))
HOST = platform.node()


def _answer(what: str, nranks: int = 3) -> tuple[object, float]:
    """Return what rank 0 got, and in how many seconds."""
    with Meeting(nranks, here=True) as meeting:
        job = python_job("unused", nranks=nranks).with_(
            program=(sys.executable, RANK, what), inherited=meeting.environment
        )
        for line in run_ranks(job, SpawnLauncher(), timeout_s=20):
            said, seconds = json.loads(line)
            return said, seconds
    raise AssertionError("rank 0 said nothing")


@pytest.mark.parametrize("patience", ["gather", "months"])
def test_every_rank_hears_all(patience: str) -> None:
    assert _answer(patience)[0] == ["from 0", "from 1", "from 2"]


def test_a_long_request_is_shared() -> None:
    assert _answer("share")[0] == "x" * 300_000


def test_ranks_of_a_host_are_counted() -> None:
    assert _answer("local")[0] == [HOST, 0, 1, 2]


def test_a_rank_that_stopped_is_named() -> None:
    said, seconds = _answer("stop")
    assert said == f"timeout: rank 1 on {HOST} stopped; it said nothing for 1 s"
    assert 0.9 < seconds < 5


def test_a_rank_that_is_gone_is_not_waited_for() -> None:
    said, seconds = _answer("die")
    assert str(said).startswith(f"timeout: rank 1 on {HOST} stopped")
    assert seconds < 30  # its patience


def test_trouble_reaches_ranks_that_are_fine() -> None:
    said, seconds = _answer("trouble")
    assert said == "timeout: rank 1 was stuck"
    assert seconds < 2


def test_ranks_in_trouble_tell_what_differs() -> None:
    said, seconds = _answer("all", 4)
    assert said == "timeout: rank 0 was stuck in Ring; rank 1 was stuck in Tree"
    assert seconds < 2


def test_an_exchange_takes_well_under_a_millisecond() -> None:
    assert float(str(_answer("fast", 2)[0])) < 2000  # microseconds, on a machine that is shared


def test_no_rank_without_a_starter() -> None:
    with pytest.raises(LaunchError, match="not by hand"):
        Gang({"RANK": "0", "WORLD_SIZE": "2"})
    with pytest.raises(LaunchError, match="not by hand"):
        Gang({MEET_VARIABLE: "a@1@127.0.0.1"})


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    environment = {"RANK": "0", MEET_VARIABLE: f"token@{port}@127.0.0.1", "NCCLPROBE_NRANKS": "2"}
    with pytest.raises(LaunchError, match=f"cannot reach port {port} from {HOST}"):
        Gang(environment)


def test_strangers_are_not_let_in() -> None:
    with Meeting(1, here=True) as meeting:
        value = dict(meeting.environment)[MEET_VARIABLE]
        _, port, _ = value.split("@")
        with socket.create_connection(("127.0.0.1", int(port))) as stranger:
            stranger.sendall(b"GET / HTTP/1.0\r\n\r\n")
            stranger.settimeout(10)
            with contextlib.suppress(ConnectionResetError):
                assert stranger.recv(100) == b""
        gang = Gang({"RANK": "0", "NCCLPROBE_NRANKS": "1", MEET_VARIABLE: value})
        assert gang.gather(b"alone") == [b"alone"]
        gang.close()


@pytest.mark.parametrize(
    "said",
    [b"GET / HTTP/1.1\r\n\r\n", b"+\xff\xff\xff\xff", b"+\x00\x00\x00\x02\xff\xfe", b"+\x00\x00\x07\xd0" + b"[" * 2000,
     b'+\x00\x00\x00\x22{"token":"\xc3\xa9","rank":0,"host":"h"}'],
    ids=["http", "4 GiB", "no UTF-8", "nested", "no ASCII"],
)  # fmt: skip
def test_the_meeting_outlives_what_strangers_say(said: bytes) -> None:
    with Meeting(2, here=True) as meeting:
        port = int(dict(meeting.environment)[MEET_VARIABLE].split("@")[1])
        with socket.create_connection(("127.0.0.1", port)) as stranger:
            stranger.sendall(said)
            with contextlib.suppress(OSError):  # it may have been sent away before it has ended what it says
                stranger.shutdown(socket.SHUT_WR)
                assert stranger.recv(1) == b""
        job = python_job("unused", nranks=2).with_(
            program=(sys.executable, RANK, "gather"), inherited=meeting.environment
        )
        line = next(run_ranks(job, SpawnLauncher(), timeout_s=20))
        assert json.loads(line)[0] == ["from 0", "from 1"]


def test_a_starter_of_ranks_elsewhere_listens_on_one_address_that_is_no_loopback() -> None:
    try:
        address = own_address(())
    except OSError:
        pytest.skip("this machine has no network")
    with Meeting(2, here=False) as meeting:
        _, port, host = dict(meeting.environment)[MEET_VARIABLE].split("@")
        assert host == address != "0.0.0.0"
        assert not address.startswith("127.")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(port)))


# ---- plain processes


def test_the_command_and_its_ranks() -> None:
    job = Job(program=("a", "b"), nranks=2, env=(("X", "1"),))
    assert SpawnLauncher().command(job) == [sys.executable, "-m", "ncclprobe.launchers.spawn", "2", "a", "b"]
    assert SpawnLauncher().environment(job) == {"X": "1"}
    with pytest.raises(UsageError, match="starts ranks here, not on b"):
        SpawnLauncher().command(job.with_(hosts=("b",)))


def test_an_outer_launcher_is_forgotten() -> None:
    info = rank_from(rank_environment(1, 2, {"PMI_RANK": "0", "SLURM_PROCID": "7", "PATH": "p"}))
    assert info is not None
    assert (info.rank, info.nranks, info.local_rank) == (1, 2, 1)


def _run(code: str, nranks: int = 2) -> list[bytes]:
    return list(run_ranks(Job(program=(sys.executable, "-c", code), nranks=nranks), SpawnLauncher(), timeout_s=20))


def test_ranks_that_end_well() -> None:
    assert _run("pass") == []


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os; os._exit(int(os.environ['RANK']) * 3)", "exit status 3"),
        ("import os; os.environ['RANK'] == '1' and os.kill(os.getpid(), 11); import time; time.sleep(60)", "SIGSEGV"),
    ],
)
def test_the_first_failure_ends_all(code: str, message: str) -> None:
    began = time.monotonic()
    with pytest.raises(LaunchError, match=message):
        _run(code)
    assert time.monotonic() - began < 20


def test_what_ranks_print_does_not_reach_the_records() -> None:
    assert _run("print('hello', flush=True)") == []


def test_no_rank_is_left(tmp_path: pathlib.Path) -> None:
    code = "import os,time; open(os.environ['PIDS'] + os.environ['RANK'], 'w').write(str(os.getpid())); time.sleep(60)"
    job = Job(program=(sys.executable, "-c", code), nranks=2, env=(("PIDS", f"{tmp_path}/"),))
    with pytest.raises(MeasurementTimeout, match="silent"):
        list(run_ranks(job, SpawnLauncher(), timeout_s=1, start_timeout_s=2))
    pids = [int(path.read_text()) for path in tmp_path.iterdir()]
    assert len(pids) == 2
    assert not any(pathlib.Path(f"/proc/{pid}").exists() for pid in pids)
