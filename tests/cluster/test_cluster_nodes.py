"""Nodes measured over their real network: what is slow is named and only it, what is cut off is found."""

from __future__ import annotations

import json
import pathlib
import signal
import time
from typing import Any

import jsonschema
import pytest
from testbed import Cluster

from ncclprobe.cli.schema import document_schema

pytestmark = [pytest.mark.cluster, pytest.mark.mpi]

HOSTS = ("--hosts", "node[1-4]")
ALL = ("node1", "node2", "node3", "node4")
WORKER = "ncclprobe.nodes.worker"


def _command(cluster: Cluster, *options: str) -> list[str]:
    return ["ncclprobe", "nodes", "--json", "--out", str(cluster.folder / f"nodes-{time.time_ns()}"), *options]


def _measured(cluster: Cluster, *options: str, launcher: str = "mpirun") -> tuple[int, dict[str, Any]]:
    """Return the exit status and the document."""
    ended = cluster.run("node1", _command(cluster, *HOSTS, "--launcher", launcher, *options), timeout_s=200)
    assert ended.status in (0, 3), ended.stderr
    document = json.loads(ended.stdout)
    jsonschema.validate(document, document_schema("nodes"))
    return ended.status, document


def _slow_nodes(document: dict[str, Any]) -> set[str]:
    """Return the slow nodes, and slow links between others: of a slow node's own links, each may be slower still."""
    named = _named(document)
    nodes = {name for name in named if "–" not in name}
    return {name for name in named if name in nodes or not nodes & set(name.split("–"))}


def _named(document: dict[str, Any], status: str = "slow") -> set[str]:
    nodes = {node["node"] for node in document["nodes"] if node["status"] == status}
    return nodes | {"–".join(link["nodes"]) for link in document["links"] if link["status"] == status}


def _running(cluster: Cluster) -> list[str]:
    """Return where a rank runs."""
    return [name for name in cluster.names if any(WORKER in line for line in cluster.processes(name))]


def _wait_for(cluster: Cluster, where: list[str]) -> list[str]:
    """Return where a rank runs, as soon as it is where it is waited for."""
    deadline = time.monotonic() + 60
    while (found := _running(cluster)) != where and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def _wait_for_values(out: pathlib.Path, number: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if (out / "journal.jsonl").exists() and (out / "journal.jsonl").read_text().count('"group-value"') >= number:
            return
        time.sleep(0.02)
    pytest.fail(f"fewer than {number} values in {out} within 60 s")


def test_a_throttled_host_is_named_and_only_it(cluster: Cluster) -> None:
    cluster.slow("node3", "200mbit")
    status, document = _measured(cluster, "--seed", "1")
    assert (status, _slow_nodes(document), document["exclude"]) == (3, {"node3"}, ["node3"])
    slow = next(node for node in document["nodes"] if node["node"] == "node3")
    assert slow["slowdown"]["low"] > 0.2
    assert ("error", "slow-node", "node3") in {(f["severity"], f["code"], f["subject"]) for f in document["findings"]}
    assert {check["check"] for check in slow["checks"]} == {"host-memory", "host-compute"}


def test_a_throttled_path_is_named_as_a_link_and_not_as_a_node(cluster: Cluster) -> None:
    cluster.slow_link("node2", "node4", "200mbit")
    status, document = _measured(cluster, "--seed", "2")
    assert (status, _named(document), document["exclude"]) == (3, {"node2–node4"}, [])


@pytest.mark.parametrize("seed", range(2))
def test_a_healthy_cluster_has_no_name(cluster: Cluster, seed: int) -> None:
    status, document = _measured(cluster, "--seed", str(seed))
    assert (status, _named(document), _named(document, "unreachable")) == (0, set(), set())
    assert [node["node"] for node in document["nodes"]] == list(ALL)


@pytest.mark.slow
def test_several_ranks_a_node_check_the_way_between_them(cluster: Cluster) -> None:
    cluster.slow("node2", "200mbit")
    status, document = _measured(cluster, "--seed", "3", "--nranks-per-node", "2", "--size", "2M")
    assert (status, _slow_nodes(document)) == (3, {"node2"})
    assert {c["check"] for c in document["nodes"][0]["checks"]} == {"host-memory", "host-compute", "intra-node"}


def test_a_host_that_was_cut_off_before_is_unreachable_and_the_others_are_judged(cluster: Cluster) -> None:
    cluster.cut("node3")
    status, document = _measured(cluster, "--seed", "4", "--timeout", "5")
    assert (status, _named(document, "unreachable"), _named(document)) == (3, {"node3"}, set())
    assert {node["node"]: node["slowdown"] is None for node in document["nodes"]} == {
        "node1": False, "node2": False, "node3": True, "node4": False,
    }  # fmt: skip
    assert document["exclude"] == ["node3"]


def _cut_in_the_middle(cluster: Cluster, host: str, launcher: str) -> dict[str, Any]:
    """Return the document of a run in which a host's cable is pulled after some values."""
    command = _command(cluster, *HOSTS, "--launcher", launcher, "--seed", "5", "--timeout", "5")
    process = cluster.start("node1", command)
    _wait_for_values(pathlib.Path(command[4]), 4)
    cluster.cut(host)
    stdout, stderr = process.communicate(timeout=200)
    assert process.returncode == 3, stderr
    document: dict[str, Any] = json.loads(stdout)
    return document


def test_a_host_that_is_cut_off_in_the_middle_is_unreachable_and_leaves_no_rank(cluster: Cluster) -> None:
    document = _cut_in_the_middle(cluster, "node3", "mpirun")
    assert (_named(document, "unreachable"), _named(document)) == ({"node3"}, set())
    assert _named(document, "ok") >= set(ALL) - {"node3"}
    assert _wait_for(cluster, []) == []


def test_a_run_goes_on_after_a_kill_with_the_same_rounds(cluster: Cluster) -> None:
    cluster.slow("node3", "200mbit")
    command = _command(cluster, *HOSTS, "--launcher", "mpirun", "--seed", "6")
    out = pathlib.Path(command[4])
    process = cluster.start("node1", command)
    _wait_for_values(out, 5)
    cluster.must("node1", "pkill", "-KILL", "-f", f"ncclprobe nodes .*{out}")
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert _wait_for(cluster, []) == []
    before = (out / "journal.jsonl").read_text()
    ended = cluster.run("node1", ["ncclprobe", "nodes", "--json", "--resume", str(out)], timeout_s=200)
    assert (ended.status, _slow_nodes(json.loads(ended.stdout))) == (3, {"node3"}), ended.stderr
    journal = (out / "journal.jsonl").read_text()
    assert journal.startswith(before)
    lines = [json.loads(line) for line in journal.splitlines()]
    measured = [(line["round"], tuple(line["nodes"])) for line in lines if line["kind"] == "group-value"]
    assert len(set(measured)) == len(measured)
    assert (out / "exclude.slurm").read_text() == "--exclude=node3\n"
    assert (out / "exclude.pbs").read_text() == "node3\n"
    assert "node3" not in (out / "hostfile").read_text().split()


@pytest.mark.slurm
def test_a_throttled_host_is_named_through_slurm(slurm_cluster: Cluster) -> None:
    slurm_cluster.slow("node2", "200mbit")
    status, document = _measured(slurm_cluster, "--seed", "7", launcher="srun")
    assert (status, _slow_nodes(document)) == (3, {"node2"})


@pytest.mark.slurm
def test_the_hosts_of_an_allocation_are_taken_without_being_named(slurm_cluster: Cluster) -> None:
    slurm_cluster.slow_link("node1", "node4", "200mbit")
    command = _command(slurm_cluster, "--launcher", "srun", "--seed", "8")
    ended = slurm_cluster.run("node1", ["salloc", "--quiet", "--nodes", "4", *command], timeout_s=200)
    assert ended.status == 3, ended.stderr
    assert _named(json.loads(ended.stdout)) == {"node1–node4"}


@pytest.mark.slurm
def test_a_host_that_is_cut_off_before_is_unreachable_through_slurm(slurm_cluster: Cluster) -> None:
    slurm_cluster.cut("node4")
    status, document = _measured(slurm_cluster, "--seed", "9", "--timeout", "5", launcher="srun")
    assert (status, _named(document, "unreachable"), _named(document)) == (3, {"node4"}, set())


@pytest.mark.slow
@pytest.mark.slurm
def test_a_host_that_is_cut_off_in_the_middle_is_unreachable_through_slurm(slurm_cluster: Cluster) -> None:
    document = _cut_in_the_middle(slurm_cluster, "node3", "srun")
    assert (_named(document, "unreachable"), _named(document)) == ({"node3"}, set())
    slurm_cluster.heal("node3")
    assert _wait_for(slurm_cluster, []) == []


def test_a_throttled_rail_is_named_and_no_node_for_it() -> None:
    with Cluster(4) as cluster:
        cluster.add_rail("e1")
        cluster.slow_rail("e1", "200mbit")
        status, document = _measured(cluster, "--rails", "e0,e1", "--rounds", "8")
    rails = {rail["rail"]: rail["status"] for rail in document["rails"]}
    assert (status, rails, _named(document)) == (3, {"e0": "ok", "e1": "slow"}, set())
    assert all(
        value > 0.5 for value in (rail["slowdown"]["estimate"] for rail in document["rails"] if rail["rail"] == "e1")
    )
