"""The hosts are hosts: names, networks and processes of their own, and nothing of them stays."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import time

import pytest
from testbed import Cluster, command_line, namespace, pids

pytestmark = pytest.mark.cluster


def _networks(cluster: Cluster) -> set[str]:
    return {namespace(host.pid, "net") for host in cluster.hosts}


def _left(networks: set[str], folder: pathlib.Path) -> list[str]:
    """Return processes in one of the networks, the folder, and mounts and processes that name it."""
    running = pids()
    found = [f"in a network: {command_line(pid)}" for pid in running if namespace(pid, "net") in networks]
    found += [f"names it: {pid}" for pid in running if folder.name in command_line(pid)]
    found += ["mount"] if folder.name in pathlib.Path("/proc/mounts").read_text() else []
    return [*found, *(["folder"] if folder.exists() else [])]


def _answers(cluster: Cluster, one: str, other: str) -> bool:
    return cluster.run(one, ["ssh", "-oConnectTimeout=1", other, "true"]).status == 0


def test_hosts_have_names_addresses_and_processes_of_their_own(cluster: Cluster) -> None:
    assert cluster.names == ("node1", "node2", "node3", "node4")
    assert [host.address for host in cluster.hosts] == ["10.78.0.1", "10.78.0.2", "10.78.0.3", "10.78.0.4"]
    assert [cluster.must(name, "hostname") for name in cluster.names] == ["node1\n", "node2\n", "node3\n", "node4\n"]
    assert cluster.must("node2", "ls", "/sys/class/net").split() == ["e0", "lo"]
    assert len(_networks(cluster)) == 4
    assert cluster.must("node3", "cat", "/proc/1/comm") == "sleep\n"
    assert [line.partition(" ")[0] for line in cluster.processes("node3")] == ["sshd:"]


def test_a_host_leaves_no_zombie_unreaped(cluster: Cluster) -> None:
    cluster.must("node2", "sh", "-c", "sh -c 'exit 3' & exec true")
    assert cluster.must("node2", "sh", "-c", "grep -L ') [SR] ' /proc/[0-9]*/stat || true") == ""


def test_hosts_reach_each_other_by_name(cluster: Cluster) -> None:
    assert cluster.must("node1", "ssh", "node4", "hostname; echo $SSH_CONNECTION").split()[:2] == ["node4", "10.78.0.1"]


def test_a_cut_host_is_alone_until_it_is_healed(cluster: Cluster) -> None:
    cluster.cut("node2")
    assert not _answers(cluster, "node1", "node2")
    assert _answers(cluster, "node1", "node3")
    cluster.heal("node2")
    assert _answers(cluster, "node1", "node2")


def test_nothing_is_left() -> None:
    with Cluster(2) as made:
        networks = _networks(made)
        made.start("node1", ["sleep", "600"])
        made.must("node2", "sh", "-c", "setsid sleep 600 >/dev/null 2>&1 </dev/null &")
        running = _left(networks, made.folder)
        assert sum(line.startswith("in a network") for line in running) > 2 * len(made.hosts)
        assert sum(line.startswith("names it") for line in running) >= len(made.hosts)
        assert running[-1] == "folder"
    assert _left(networks, made.folder) == []


def test_nothing_is_left_after_a_failure() -> None:
    with pytest.raises(RuntimeError), Cluster(2) as made:
        networks = _networks(made)
        raise RuntimeError
    assert _left(networks, made.folder) == []


@pytest.mark.slurm
def test_nothing_is_left_of_slurm() -> None:
    with Cluster(1) as made:
        made.slurm()
        networks = _networks(made)
    assert _left(networks, made.folder) == []


BODY = """
import time
from testbed import Cluster
with Cluster(2) as made:
    print(made.hosts[1].pid, flush=True)
    time.sleep(60)
"""


def test_only_files_are_left_of_a_killed_process(tmp_path: pathlib.Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", BODY],
        env={"PYTHONPATH": str(pathlib.Path(__file__).parent), "TMPDIR": str(tmp_path), "PATH": "/usr/sbin:/usr/bin"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    networks = {namespace(int(process.stdout.readline()), "net")}
    process.kill()
    process.communicate()
    (folder,) = tmp_path.iterdir()
    deadline = time.monotonic() + 10
    while len(_left(networks, folder)) > 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert _left(networks, folder) == ["folder"]


@pytest.mark.slurm
def test_slurm_runs_a_step_on_every_host(slurm_cluster: Cluster) -> None:
    assert sorted(slurm_cluster.must("node1", "srun", "-N4", "hostname").split()) == list(slurm_cluster.names)
