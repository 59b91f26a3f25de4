from ncclprobe.nodes.failures import explain
from ncclprobe.records.nodes import GroupValue


def group(nodes, status="ok"):
    return GroupValue(nodes=tuple(nodes), value=1.0 if status == "ok" else 0.0, status=status)


def test_no_failure_explains_nothing():
    found = explain([group("ab"), group("cd")])
    assert (found.unreachable, found.links, found.unexplained, found.pending) == ({}, {}, (), frozenset())


def test_a_node_that_fails_with_two_partners_is_unreachable_and_they_are_not():
    found = explain([group("ax", "timeout"), group("bc"), group("bx", "failed"), group("ac")])
    assert list(found.unreachable) == ["x"]
    assert len(found.unreachable["x"]) == 2
    assert (found.links, found.unsteady, found.pending) == ({}, {}, frozenset())


def test_a_node_that_dies_in_the_middle_is_unreachable():
    values = [group("ax"), group("bc"), group("bx"), group("ac"), group("cx", "failed"), group("ax", "timeout")]
    assert list(explain(values).unreachable) == ["x"]


def test_two_dead_nodes_are_both_found_though_they_met():
    values = [group("xy", "failed"), group("ax", "failed"), group("by", "failed"), group("ab"), group("cx", "failed")]
    assert set(explain([*values, group("cy", "failed"), group("ac")]).unreachable) == {"x", "y"}


def test_one_failed_pair_leaves_both_nodes_pending():
    found = explain([group("ax", "failed"), group("bc")])
    assert not found.unreachable
    assert found.pending == {"a", "x"}
    assert len(found.unexplained) == 1


def test_a_pair_that_never_works_though_both_nodes_do_is_a_broken_link():
    values = [group("ab", "failed"), group("ac"), group("bd"), group("ba", "timeout"), group("ad"), group("bc")]
    found = explain(values)
    assert found.links == {("a", "b"): 2}
    assert not found.unreachable and not found.unsteady


def test_a_node_that_fails_now_and_then_is_unsteady():
    values = [group("ax", "failed"), group("bx"), group("cx", "failed"), group("dx"), group("ab"), group("cd")]
    assert explain(values).unsteady == {"x": 2}


def test_a_node_measured_alone_needs_no_partner():
    assert list(explain([group("x", "failed"), group("ab")]).unreachable) == ["x"]
