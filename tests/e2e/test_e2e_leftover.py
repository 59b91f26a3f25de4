"""What killed runs leave on the machine: a group whose leader lives, or has ended, or is another's by now."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from ncclprobe.e2e.leftover import end_leftover, started_now

LEAVES_ONE = "sleep 60 & echo $!; exec 1>&-; read wait"


@pytest.fixture
def left():
    """Yield a group's record, its leader and the process that outlives the leader."""
    leader = subprocess.Popen(
        ["sh", "-c", LEAVES_ONE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    child = int(leader.stdout.readline())
    yield started_now(0, leader.pid), leader, child
    leader.stdin.close()
    leader.stdout.close()
    for end in (leader.kill, lambda: os.kill(child, signal.SIGKILL)):
        with contextlib.suppress(ProcessLookupError):
            end()
    leader.wait()


def ends_by_itself(leader):
    leader.stdin.write(b"\n")
    leader.stdin.flush()
    leader.wait()


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_group_is_ended_with_its_leader(left):
    started, _, child = left
    assert end_leftover(started)
    assert not alive(child)


def test_a_group_is_ended_whose_leader_ended_by_itself(left):
    started, leader, child = left
    ends_by_itself(leader)
    assert alive(child)
    assert end_leftover(started)
    assert not alive(child)
    assert not end_leftover(started)


@pytest.mark.parametrize(
    "changes",
    [{"birth": ""}, {"birth": "edited"}, {"birth": "99999999999999"}, {"where": ""}, {"where": "another boot"}],
)
def test_what_may_be_anothers_is_left_alone(left, changes):
    started, leader, child = left
    ends_by_itself(leader)
    assert not end_leftover(started.with_(**changes))
    assert alive(child)


def test_a_number_that_was_taken_over_is_left_alone(left):
    started, leader, _ = left
    assert not end_leftover(started.with_(birth=str(int(started.birth) - 1)))
    assert leader.poll() is None


def test_a_resumed_run_ends_what_a_command_left_that_has_ended_itself(tmp_path):
    child, out = tmp_path / "child", tmp_path / "run"
    base = [sys.executable, "-m", "ncclprobe", "validate-e2e"]
    options = ["--workload", "command", "--metric", "v=(.*)", "--candidate", "A=1", "--trials", "1", "--warmup", "0"]
    script = f"if [ -e {child} ]; then echo v=1; exit; fi; sleep 60 & echo $! > {child}; sleep 1"
    command = [*base, *options, "--telemetry", "0", "--out", str(out), "--", "sh", "-c", script]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    wait_for(lambda: child.exists() and child.read_text().strip())
    wait_for(lambda: b'"started"' in (out / "journal.jsonl").read_bytes())
    process.kill()
    process.wait()
    time.sleep(1.2)
    assert alive(int(child.read_text()))
    subprocess.run([*base, "--resume", str(out)], capture_output=True, check=True)
    assert not alive(int(child.read_text()))


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
