"""Scanning other machines over a stand-in for ssh that is a real program, as ssh is."""

from __future__ import annotations

import json
import pathlib
import shlex
import sys
import time

import pytest
from scan_records import hca, host

from ncclprobe.errors import MissingDependencyError, UsageError
from ncclprobe.findings import info, warning
from ncclprobe.processes import Completed
from ncclprobe.records.scan import ScanDocument
from ncclprobe.scan.fleet import Reach, read_answer, remote_command, scan_fleet

SSH = """#!/bin/sh
# As ssh does: drop the options, take the host, hand the rest to a shell as one string.
while [ "${1#-}" != "$1" ]; do shift; done
export REMOTE_HOST=$1; shift
case $REMOTE_HOST in
  dead*) echo "ssh: connect to host $REMOTE_HOST port 22: No route to host" >&2; exit 255;;
  hung*) sleep 60;;
esac
echo "Welcome to $REMOTE_HOST, {authorised} users only"
exec sh -c "$*"
"""
REMOTE = """#!/bin/sh
echo "$REMOTE_HOST: $*" >> {log}
case $REMOTE_HOST in broken*) echo "no such option" >&2; exit 2;; esac
echo '{document}'
exit 3
"""


@pytest.fixture
def reach(tmp_path: pathlib.Path) -> Reach:
    """Return the way to hosts that all answer with the same document."""
    document = {"schema": "ncclprobe.scan/1", "hosts": [{"host": "localhost", "hcas": [{"name": "mlx5_0"}]}]}
    ssh, remote = tmp_path / "my ssh", tmp_path / "nccl probe"
    ssh.write_text(SSH)
    remote.write_text(REMOTE.format(log=shlex.quote(str(tmp_path / "log")), document=json.dumps(document)))
    for script in (ssh, remote):
        script.chmod(0o755)
    return Reach(launcher="ssh", ssh=(str(ssh),), program=(str(remote),), timeout_s=20)


def test_every_host_is_asked_and_named_as_it_was_asked_for(reach: Reach, tmp_path: pathlib.Path) -> None:
    done = []
    read = scan_fleet(["n1", "n2", "n10"], reach, lambda: done.append(1))
    assert [host.host for host in read.hosts] == ["n1", "n2", "n10"]
    assert (read.findings, len(done)) == ((), 3)
    log = (tmp_path / "log").read_text().splitlines()
    assert set(log) == {f"{name}: scan --json --out - --timeout 10" for name in ("n1", "n2", "n10")}


def test_hosts_that_fail_are_errors_and_hide_nothing(reach: Reach) -> None:
    read = scan_fleet(["n1", "dead2", "broken3", "n4"], reach)
    assert [host.host for host in read.hosts] == ["n1", "n4"]
    assert [(str(one.severity), one.code, one.subject) for one in read.findings] == [
        ("error", "host-unreachable", "dead2"),
        ("error", "remote-scan-failed", "broken3"),
    ]
    assert "No route to host" in read.findings[0].message
    assert "status 2: no such option" in read.findings[1].message


def test_a_host_that_hangs_is_given_up(reach: Reach) -> None:
    started = time.monotonic()
    read = scan_fleet(["hung1", "n2"], reach.with_(timeout_s=1.0))
    assert time.monotonic() - started < 15
    assert [host.host for host in read.hosts] == ["n2"]
    assert [(one.code, one.subject, one.message) for one in read.findings] == [
        ("host-unreachable", "hung1", "no answer within 1 s")
    ]


def test_an_absent_ssh_is_no_hosts_fault(reach: Reach) -> None:
    with pytest.raises(MissingDependencyError, match="--ssh"):
        scan_fleet(["n1"], reach.with_(ssh=("ncclprobe-has-no-such-ssh",)))


def test_ssh_command_is_quoted_once_for_the_shell_over_there() -> None:
    reach = Reach(launcher="ssh", ssh=("ssh", "-p", "2222"), program=("env", "A=b c", "ncclprobe"), timeout_s=60)
    command = remote_command(reach, "dgx001")
    assert command[:3] == ["ssh", "-p", "2222"]
    assert command[-3:-1] == ["--", "dgx001"]
    assert shlex.split(command[-1]) == ["env", "A=b c", "ncclprobe", "scan", "--json", "--out", "-", "--timeout", "30"]


def test_srun_command_stays_tokens() -> None:
    command = remote_command(Reach(launcher="srun", program=("env", "A=b c", "ncclprobe")), "dgx001")
    assert command == [
        "srun", "--overlap", "--nodes=1", "--ntasks=1", "--nodelist=dgx001",
        "env", "A=b c", "ncclprobe", "scan", "--json", "--out", "-", "--timeout", "30",
    ]  # fmt: skip


def test_a_host_is_never_an_option() -> None:
    with pytest.raises(UsageError):
        remote_command(Reach(launcher="ssh"), "-oProxyCommand=true")


def test_what_went_wrong_over_there_is_kept_and_the_rest_judged_again() -> None:
    import msgspec

    findings = (
        warning("nvml-unavailable", "localhost", "m", "h"),
        warning("gpu-unreadable", "localhost/GPU3", "m", "h"),
        info("port-down", "localhost/mlx5_0", "m", "h"),
    )
    document = ScanDocument(hosts=(host(hca("mlx5_0"), name="localhost"),), findings=findings)
    stdout = f"motd\n{msgspec.json.encode(document).decode()}\nbye\n"
    answer = read_answer("dgx001", Completed(returncode=0, stdout=stdout, stderr=""), Reach(launcher="ssh"))
    assert [one.host for one in answer.hosts] == ["dgx001"]
    assert [(one.code, one.subject) for one in answer.findings] == [
        ("nvml-unavailable", "dgx001"),
        ("gpu-unreadable", "dgx001/GPU3"),
    ]


@pytest.mark.parametrize("stdout", ["", "not json", "{broken", '{"schema": 1}'])
def test_no_document_is_an_error(stdout: str) -> None:
    answer = read_answer("n1", Completed(returncode=0, stdout=stdout, stderr=""), Reach(launcher="ssh"))
    assert [one.code for one in answer.findings] == ["remote-scan-failed"]


def test_the_whole_way_with_this_very_program(reach: Reach, tmp_path: pathlib.Path) -> None:
    """The stand-in for ssh starts the real ncclprobe."""
    program = ("env", "-C", str(tmp_path), sys.executable, "-m", "ncclprobe")
    read = scan_fleet(["here"], reach.with_(program=program))
    assert [one.host for one in read.hosts] == ["here"]
    assert not (tmp_path / "ncclprobe-runs").exists()
