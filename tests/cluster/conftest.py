"""Clusters of four hosts, made when first asked for; every test finds all links whole and at full rate."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from testbed import Cluster


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
    """Return four hosts of a running Slurm, node1 to node4."""
    yield four_slurm_hosts
    four_slurm_hosts.restore()
