"""What surrounds measuring hosts: their own checks, replay, which rank is where, and lists of nodes."""

from __future__ import annotations

import json
import math
import pathlib
import shlex

import numpy as np
import pytest
from click.testing import CliRunner

from ncclprobe.cli.nodes import command
from ncclprobe.errors import LaunchError, UsageError
from ncclprobe.nodes.checks import explained, judge_checks
from ncclprobe.nodes.exclusion import exclusion_files
from ncclprobe.nodes.hosts import FleetOptions, hosts_here, ranks_of, settled
from ncclprobe.nodes.messages import Answered
from ncclprobe.nodes.replay import replayed
from ncclprobe.records.base import Interval
from ncclprobe.records.nodes import (
    Cause,
    Check,
    CheckValue,
    Group,
    GroupValue,
    NodesCost,
    NodesDocument,
    NodeStatus,
    NodeVerdict,
    Round,
)
from ncclprobe.report.text.nodes import exclusion_lines

NONE = Interval(estimate=0.0, low=-0.01, high=0.01)


def values(speeds: dict[str, float], check: Check, *, noise: float = 0.01, gpu: int | None = None, seed: int = 0):
    rng = np.random.default_rng(seed)
    return [
        CheckValue(
            node=node,
            check=check,
            gpu=gpu,
            value=100 * speed * math.exp(noise * rng.standard_normal()),
            unit="GB/s",
            round=index,
        )
        for index in range(5)
        for node, speed in speeds.items()
    ]


def slow(found) -> set[tuple[str, Check, int | None]]:
    return {(n, c.check, c.gpu) for n, own in found.items() for c in own if c.status is NodeStatus.SLOW}


def fleet(number: int, **speeds: float) -> dict[str, float]:
    return {f"n{i}": speeds.get(f"n{i}", 1.0) for i in range(1, number + 1)}


def verdict(node: str, status: NodeStatus, estimate: float = 0.0) -> NodeVerdict:
    interval = Interval(estimate=estimate, low=estimate - 0.02, high=estimate + 0.02)
    return NodeVerdict(node=node, status=status, slowdown=interval, evidence=f"{node}: as it is")


@pytest.mark.parametrize(("number", "speed"), [(2, 0.6), (4, 0.7), (16, 0.85), (256, 0.85)])
def test_a_slow_host_is_told_from_the_others(number: int, speed: float) -> None:
    found = judge_checks(values(fleet(number, n2=speed), Check.HOST_MEMORY), 0.05)
    assert slow(found) == {("n2", Check.HOST_MEMORY, None)}
    (check,) = found["n2"]
    assert check.slowdown.low < 1 - speed < check.slowdown.high


def test_healthy_hosts_that_differ_by_some_percent_have_no_name() -> None:
    rng = np.random.default_rng(1)
    for seed in range(100):
        speeds = {node: math.exp(0.02 * rng.standard_normal()) for node in fleet(16)}
        both = values(speeds, Check.HOST_MEMORY, noise=0.05, seed=seed)
        assert slow(judge_checks([*both, *values(speeds, Check.HOST_COMPUTE, seed=seed)], 0.05)) == set()


def test_noise_hides_a_slow_host_instead_of_naming_another() -> None:
    for seed in range(100):
        named = slow(judge_checks(values(fleet(4, n2=0.8), Check.HOST_COMPUTE, noise=0.4, seed=seed), 0.05))
        assert named <= {("n2", Check.HOST_COMPUTE, None)}


def test_one_gpu_of_one_node_is_named() -> None:
    gpus = [value for gpu in range(4) for value in values(fleet(8), Check.GPU_COMPUTE, gpu=gpu, seed=gpu)]
    struck = [v.with_(value=v.value * 0.8) if (v.node, v.gpu) == ("n3", 2) else v for v in gpus]
    found = judge_checks(struck, 0.05)
    assert slow(found) == {("n3", Check.GPU_COMPUTE, 2)}
    told = explained(verdict("n3", NodeStatus.SLOW, 0.19), found["n3"])
    assert told.cause is Cause.GPU
    assert told.evidence.startswith("n3: as it is; the matrix products of its GPU 2 are 2")
    assert told.evidence.endswith("below the fleet's: the GPU, not the network")


def test_a_slow_node_whose_checks_are_fine_has_a_slow_network() -> None:
    found = judge_checks(values(fleet(8), Check.HOST_MEMORY), 0.05)
    told = explained(verdict("n1", NodeStatus.SLOW, 0.4), found["n1"])
    assert (told.cause, told.status) == (Cause.NETWORK, NodeStatus.SLOW)
    assert told.evidence.endswith("its own checks are as fast as the fleet's: the network, not the host")


def test_a_host_that_slows_no_group_is_named_too() -> None:
    found = judge_checks(values(fleet(8, n5=0.6), Check.HOST_MEMORY), 0.05)
    told = explained(verdict("n5", NodeStatus.OK), found["n5"])
    assert (told.status, told.cause) == (NodeStatus.SLOW, Cause.HOST)
    assert told.slowdown == found["n5"][0].slowdown
    assert told.evidence.endswith("the host, not the network; its groups are no slower for it")


def test_two_rounds_of_checks_say_nothing() -> None:
    few = [value for value in values(fleet(8, n5=0.3), Check.HOST_MEMORY) if value.round < 2]
    assert judge_checks(few, 0.05) == {}


def test_ranks_are_found_by_name_or_by_place() -> None:
    assert ranks_of(("n2", "n1"), ("n1", "n1", "n2", "n2")) == {"n2": (2, 3), "n1": (0, 1)}
    assert ranks_of(("n2", "n1"), ("n1.site", "n2.site")) == {"n2": (1,), "n1": (0,)}
    assert ranks_of(("10.0.0.2", "10.0.0.1"), ("n2", "n2", "n1", "n1")) == {"10.0.0.2": (0, 1), "10.0.0.1": (2, 3)}
    with pytest.raises(LaunchError, match=r"unevenly \(n1 1, n2 3\)"):
        ranks_of(("n1", "n2"), ("n1", "n2", "n2", "n2"))


def test_hosts_settle_the_backend() -> None:
    options = FleetOptions(
        backend="auto", launcher="mpirun", hosts=("a", "b"), ranks_per_node=None, size_bytes=None, timeout_s=1.0
    )
    gpus = {"a": Answered(name="a", ngpus=8), "b": Answered(name="b", ngpus=8)}
    assert settled(options, gpus) == options.with_(backend="nccl", ranks_per_node=8, size_bytes=128 << 20)
    none = gpus | {"b": Answered(name="b", ngpus=0)}
    assert settled(options, none) == options.with_(backend="mpi", ranks_per_node=1, size_bytes=8 << 20)


def test_the_jobs_hosts_are_taken() -> None:
    assert hosts_here("srun", {"SLURM_JOB_NODELIST": "n[1-2,4]"}) == ("n1", "n2", "n4")
    with pytest.raises(UsageError, match="--hosts"):
        hosts_here("mpirun", {})


def test_what_was_measured_is_not_measured_again() -> None:
    pairs = (("a", "b"), ("c", "d"), ("e", "f"))
    planned = Round(index=3, stage="survey", groups=tuple(Group(nodes=pair) for pair in pairs))
    earlier = [
        GroupValue(nodes=("c", "d"), value=1.0, round=3),
        GroupValue(nodes=("f",), value=0.0, round=3, status="failed"),
    ]
    asked: list[Round] = []
    kept: list[GroupValue] = []

    def measure(left: Round) -> list[GroupValue]:
        asked.append(left)
        return [GroupValue(nodes=group.nodes, value=2.0, round=left.index) for group in left.groups]

    measured = replayed(earlier, measure, kept.append)
    assert [value.nodes for value in measured(planned)] == [("c", "d"), ("f",), ("a", "b")]
    assert [group.nodes for group in asked[0].groups] == [("a", "b")]
    assert [value.nodes for value in kept] == [("a", "b")]


def test_names_stay_data_in_lists() -> None:
    names = ("dgx002", "$(reboot)", "dgx003")
    assert list(exclusion_lines(names)) == [
        "Slurm: '--exclude=$(reboot),dgx[002-003]'",
        "PBS, as its operator: pbsnodes -o dgx002 '$(reboot)' dgx003",
    ]
    assert shlex.split(next(iter(exclusion_lines(names))))[1] == "--exclude=$(reboot),dgx[002-003]"
    assert list(exclusion_lines(())) == []


def test_lists_have_the_slow_the_unreachable_and_the_good() -> None:
    nodes = (verdict("n1", NodeStatus.OK), verdict("n2", NodeStatus.SLOW), verdict("n3", NodeStatus.SUSPECT))
    cost = NodesCost(rounds=1, measurements_per_node=1.0, gpu_minutes_per_node=0.0)
    document = NodesDocument(nodes=nodes, exclude=("n2", "n4"), cost=cost, source="here")
    assert exclusion_files(document) == {
        "hostfile": "n1\n", "exclude.slurm": "--exclude=n[2,4]\n", "exclude.pbs": "n2\nn4\n",
    }  # fmt: skip


def invoke(*arguments: object):
    return CliRunner().invoke(command, [str(argument) for argument in arguments], standalone_mode=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--hosts", "n1"), "two hosts or more"),
        (("--hosts", "n[1-2]", "--from", "x.csv"), "--from, --hosts exclude each other"),
        (("--hosts", "n[1-2]", "--fabric", "x.toml"), "--fabric, --hosts exclude each other"),
        (("--hosts", "n[1-2]", "--size", "much"), "no size"),
        (("--launcher", "pbs"), "PBS_NODEFILE"),
        (("--resume", "x", "--hosts", "n[1-2]"), "leave --hosts away"),
    ],
)
def test_contradictions_are_refused(arguments: tuple[str, ...], message: str) -> None:
    caught = invoke(*arguments).exception
    assert isinstance(caught, UsageError)
    assert message in str(caught)


@pytest.mark.mpi
def test_parts_of_this_host_are_measured_and_a_finished_run_is_judged_again(tmp_path: pathlib.Path) -> None:
    out = tmp_path / "run"
    options = ("--hosts", "part[1-4]", "--launcher", "local", "--backend", "mpi", "--size", "1M", "--rounds", "3")
    first = invoke(*options, "--budget", "3", "--seed", "1", "--json", "--out", out)
    document = json.loads(first.stdout)
    assert [node["node"] for node in document["nodes"]] == ["part1", "part2", "part3", "part4"]
    assert (document["cost"]["rounds"], document["cost"]["gpu_minutes_per_node"]) == (3, 0.0)
    journal = (out / "journal.jsonl").read_text()
    again = json.loads(invoke("--resume", out, "--json").stdout)
    assert (out / "journal.jsonl").read_text() == journal
    for one in (document, again):
        one.pop("created")
    assert again == document
