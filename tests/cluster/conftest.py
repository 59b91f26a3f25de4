"""Clusters of four hosts, made when first asked for; every test finds all links whole and at full rate."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from slurm import wait_until_idle
from testbed import Cluster

CLEARED_S = 150.0
"""What Slurm may take to clear a host that did not answer for a while."""


@pytest.fixture(scope="session")
def four_hosts() -> Iterator[Cluster]:
    """Return a cluster that stays as tests leave it."""
    with Cluster(4) as made:
        yield made


@pytest.fixture(scope="session")
def four_slurm_hosts() -> Iterator[Cluster]:
    """Return a cluster with Slurm that stays as tests leave it."""
    with Cluster(4) as made:
        made.slurm()
        yield made


@pytest.fixture
def cluster(four_hosts: Cluster) -> Iterator[Cluster]:
    """Return four hosts, node1 to node4."""
    yield four_hosts
    four_hosts.restore()


@pytest.fixture
def slurm_cluster(four_slurm_hosts: Cluster) -> Iterator[Cluster]:
    """Return four hosts of a running Slurm, node1 to node4; the next test finds them cleared of all jobs."""
    yield four_slurm_hosts
    four_slurm_hosts.restore()
    wait_until_idle(four_slurm_hosts, CLEARED_S)
