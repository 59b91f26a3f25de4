"""A scan reaches other hosts over real ssh and real srun, and says which it cannot reach."""

from __future__ import annotations

import json

import pytest
from testbed import Cluster

pytestmark = pytest.mark.cluster

ALL = ["node1", "node2", "node3", "node4"]
SCAN = ("ncclprobe", "scan", "--hosts", "node[1-4]", "--json", "--out", "-")
SALLOC = ("salloc", "--quiet", "--nodes", "4")


def _names(stdout: str) -> list[str]:
    return [host["host"] for host in json.loads(stdout)["hosts"]]


def test_over_ssh(cluster: Cluster) -> None:
    ended = cluster.run("node1", SCAN)
    assert ended.status == 0, ended.stderr
    assert _names(ended.stdout) == ALL
    assert ended.stderr.splitlines()[0] == "4 of 4 hosts scanned over ssh"


@pytest.mark.slurm
@pytest.mark.parametrize(
    ("before", "options"), [((), ("--launcher", "srun")), (SALLOC, ())], ids=["srun", "in an allocation"]
)
def test_over_srun(slurm_cluster: Cluster, before: tuple[str, ...], options: tuple[str, ...]) -> None:
    ended = slurm_cluster.run("node1", [*before, *SCAN, *options])
    assert ended.status == 0, ended.stderr
    assert _names(ended.stdout) == ALL
    assert ended.stderr.splitlines()[0] == "4 of 4 hosts scanned over srun"


def test_a_cut_host_is_named(cluster: Cluster) -> None:
    cluster.cut("node3")
    ended = cluster.run("node1", [*SCAN, "--timeout", "5"])
    assert ended.status == 3
    assert _names(ended.stdout) == ["node1", "node2", "node4"]
    findings = json.loads(ended.stdout)["findings"]
    errors = [(finding["code"], finding["subject"]) for finding in findings if finding["severity"] == "error"]
    assert errors == [("host-unreachable", "node3")]


@pytest.mark.slurm
@pytest.mark.slow  # Slurm clears a host that did not answer only minutes later
def test_a_cut_host_is_named_over_srun_and_no_allocation_of_it_is_kept(slurm_cluster: Cluster) -> None:
    slurm_cluster.cut("node3")
    ended = slurm_cluster.run("node1", [*SCAN, "--launcher", "srun", "--timeout", "5"])
    assert (ended.status, _names(ended.stdout)) == (3, ["node1", "node2", "node4"])
    assert slurm_cluster.must("node1", "squeue", "--noheader", "--states=RUNNING,PENDING") == ""


def test_a_host_without_ncclprobe_is_named_with_what_to_do(cluster: Cluster) -> None:
    ended = cluster.run("node1", [*SCAN, "--remote-command", "/nonexistent/ncclprobe"])
    errors = [finding for finding in json.loads(ended.stdout)["findings"] if finding["severity"] == "error"]
    assert (ended.status, [finding["subject"] for finding in errors]) == (3, ALL)
    assert {finding["code"] for finding in errors} == {"remote-scan-failed"}
    assert "--remote-command" in errors[0]["hint"]
