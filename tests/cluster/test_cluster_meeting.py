"""Where ranks without MPI meet: on one address of the starter's host, with a token that no command line shows."""

from __future__ import annotations

import json
import pathlib
import sys

import pytest
from testbed import Cluster

pytestmark = pytest.mark.cluster

STARTER = str(pathlib.Path(__file__).with_name("meeting_rank.py"))


@pytest.mark.slurm
@pytest.mark.parametrize("launcher", ["mpirun", "srun"])
def test_the_starter_listens_on_one_address_and_nobody_shows_the_token(slurm_cluster: Cluster, launcher: str) -> None:
    ended = slurm_cluster.run("node1", [sys.executable, STARTER, launcher, "node2", "node3"])
    assert ended.status == 0, ended.stderr
    assert json.loads(ended.stdout) == [["node2", [], []], ["node3", [], []]]
    ended = slurm_cluster.run("node1", [sys.executable, STARTER, launcher, "node1", "node2"])
    assert ended.status == 0, ended.stderr
    (first, listening, shown), second = json.loads(ended.stdout)
    assert (first, listening, shown) == ("node1", [slurm_cluster.hosts[0].address], [])
    assert second == ["node2", [], []]
