import msgspec
import pytest

from ncclprobe.e2e.proxy import HERE, ProxyReport, misplaced, outcome_of, ranks_per_host
from ncclprobe.errors import UsageError
from ncclprobe.records.e2e import Placement, ProxyShape

SHAPE = ProxyShape(nranks=4)
TWO = Placement(launcher="mpirun", hosts=("a", "b"))


@pytest.mark.parametrize(
    ("placement", "expected"),
    [
        (HERE, None),
        (Placement(nnodes=1), None),
        (Placement(launcher="srun"), None),
        (Placement(launcher="srun", nnodes=4), 1),
        (Placement(launcher="pbs", nnodes=2), 2),
        (TWO, 2),
        (TWO.with_(nnodes=2), 2),
    ],
)
def test_each_host_gets_as_many_ranks(placement, expected):
    assert ranks_per_host(SHAPE, placement) == expected


@pytest.mark.parametrize(
    ("placement", "said"),
    [
        (TWO.with_(nnodes=4), "--hosts names 2 hosts, and --nnodes says 4"),
        (Placement(nnodes=2), "several nodes need a launcher"),
        (Placement(launcher="srun", nnodes=3), "4 ranks do not divide among 3 nodes"),
    ],
)
def test_a_placement_that_cannot_be_is_refused(placement, said):
    with pytest.raises(UsageError, match=said):
        ranks_per_host(SHAPE, placement)


def test_ranks_on_fewer_hosts_than_asked_for_fail_the_trial():
    assert misplaced(HERE, ("a", "a")) == ""
    assert misplaced(TWO, ("a", "a", "b", "b")) == ""
    report = ProxyReport(metrics={"tok_s": 1.0}, library="MPICH", in_force=(), hosts=("a",) * 4)
    outcome = outcome_of([msgspec.json.encode(report)], {}, TWO)
    assert (outcome.metrics, outcome.message) == ({}, "the ranks ran on 1 hosts, not on 2")
    assert outcome.effective["hosts"] == ["a"] * 4
