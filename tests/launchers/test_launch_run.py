"""Real processes, without MPI: a launcher that starts the program itself."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from ncclprobe.errors import LaunchError, MeasurementTimeout, MissingDependencyError
from ncclprobe.launchers.base import Job
from ncclprobe.launchers.run import run_ranks

HEAD = "import os, subprocess, sys, time\nfrom ncclprobe.launchers.channel import Channel\nchannel = Channel()\n"


class Direct:
    name = "direct"

    def command(self, job: Job) -> list[str]:
        return list(job.program)

    def environment(self, job: Job) -> dict[str, str]:
        return dict(job.env)


def _job(body: str) -> Job:
    return Job(program=(sys.executable, "-c", HEAD + textwrap.dedent(body)), nranks=1, env=(("SEEN", "yes"),))


def _run(body: str, **options) -> list[bytes]:
    return list(run_ranks(_job(body), Direct(), **{"timeout_s": 10, **options}))


def _alive(pid: int) -> bool:
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _gone(pid: int, within_s: float = 5.0) -> bool:
    end = time.monotonic() + within_s
    while _alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not _alive(pid)


def test_records_come_through_noise() -> None:
    lines = _run("""
        print("noise", flush=True); os.write(1, b"more"); os.system("echo child")
        channel.send(b"1"); channel.send(os.environ["SEEN"].encode())
    """)
    assert lines == [b"1", b"yes"]


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 1_000_000])
def test_requests_of_any_length_arrive(size: int) -> None:
    body = """
        time.sleep(0.05)
        request = channel.receive()
        channel.send(b"%d %d" % (len(request), request.count(b"x")))
    """
    assert _run(body, request=b"x" * size) == [b"%d %d" % (size, size)]


def test_records_come_as_they_are_sent() -> None:
    begin = time.monotonic()
    lines = run_ranks(_job("channel.send(b'1'); time.sleep(30)"), Direct(), timeout_s=60)
    assert next(lines) == b"1"
    lines.close()
    assert time.monotonic() - begin < 10


def test_an_error_is_told_with_its_cause() -> None:
    with pytest.raises(LaunchError, match=r"direct ended early: the launcher ended with exit status 3; .*\n  too bad"):
        _run("print('too bad', file=sys.stderr); sys.exit(3)")


def test_an_exception_names_rank_and_host() -> None:
    with pytest.raises(LaunchError, match=rf"rank \? on|rank 0 on {os.uname().nodename}: ZeroDivisionError"):
        _run("os.environ['PMI_RANK'] = '0'; 1 / 0")


def test_what_came_before_an_error_is_kept() -> None:
    lines = run_ranks(_job("channel.send(b'1'); sys.exit(1)"), Direct(), timeout_s=10)
    assert next(lines) == b"1"
    with pytest.raises(LaunchError):
        next(lines)


def test_an_absent_program_is_told() -> None:
    with pytest.raises(MissingDependencyError, match="'no-such-mpiexec' is not installed"):
        list(run_ranks(Job(program=("no-such-mpiexec",), nranks=1), Direct(), timeout_s=1))


GRANDCHILD = """
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    channel.send(str(child.pid).encode())
    {then}
    time.sleep(60)
"""


@pytest.mark.parametrize("then", ["", "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"])
def test_silence_ends_every_process_also_in_other_sessions(then: str) -> None:
    lines = run_ranks(_job(GRANDCHILD.format(then=then)), Direct(), timeout_s=0.5)
    child = int(next(lines))
    assert _alive(child)
    with pytest.raises(MeasurementTimeout, match=r"were silent for 500 ms and were ended"):
        next(lines)
    assert not _alive(child)


def test_close_ends_every_process() -> None:
    lines = run_ranks(_job(GRANDCHILD.format(then="")), Direct(), timeout_s=60)
    child = int(next(lines))
    lines.close()
    assert not _alive(child)


def test_the_limit_may_change_from_record_to_record() -> None:
    limits = iter([5.0, 0.3])
    lines = run_ranks(
        _job("channel.send(b'1'); time.sleep(1); channel.send(b'2'); time.sleep(60)"),
        Direct(),
        timeout_s=lambda: next(limits),
    )
    assert [next(lines), next(lines)] == [b"1", b"2"]
    begin = time.monotonic()
    with pytest.raises(MeasurementTimeout):
        next(lines)
    assert time.monotonic() - begin < 3


def _starter(body: str, tmp_path: pathlib.Path, timeout_s: float = 60) -> subprocess.Popen[bytes]:
    """Start a process that starts a rank, and prints what that sends."""
    script = tmp_path / "starter.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})\n"
        "import test_launch_run as t\n"
        f"for line in t.run_ranks(t._job({body!r}), t.Direct(), timeout_s={timeout_s}):\n"
        "    print(line.decode(), flush=True)\n"
    )
    return subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE)


def test_ranks_end_when_their_starter_is_killed(tmp_path) -> None:
    body = "channel.receive(); channel.send(str(os.getpid()).encode()); time.sleep(60)"
    with _starter(body, tmp_path) as starter:
        rank = int(starter.stdout.readline())
        starter.send_signal(signal.SIGKILL)
    assert _gone(rank)


@pytest.mark.parametrize("is_rank_stopped", [False, True])
def test_the_time_for_which_a_starter_is_stopped_is_no_silence(tmp_path, is_rank_stopped: bool) -> None:
    body = """
        channel.send(str(os.getpid()).encode())
        for _ in range(12):
            time.sleep(0.05)
        channel.send(b"done")
    """
    with _starter(body, tmp_path, timeout_s=1) as starter:
        rank = int(starter.stdout.readline())
        pids = [starter.pid, *[rank] * is_rank_stopped]
        time.sleep(0.2)
        for how in (signal.SIGSTOP, signal.SIGCONT):
            for pid in pids:
                os.kill(pid, how)
            time.sleep(1.5 * (how is signal.SIGSTOP))
        assert starter.stdout.read() == b"done\n"
    assert starter.returncode == 0
