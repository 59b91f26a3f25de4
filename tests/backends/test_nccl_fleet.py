"""A fleet on NCCL from end to end, with the real launcher, gang and worker; CuPy and NCCL are those of ``fake_gpu``."""

from __future__ import annotations

import os
import pathlib
import signal
import time

import pytest

from ncclprobe import processes
from ncclprobe.nodes.fleet import HostFleet, Kept
from ncclprobe.nodes.hosts import FleetOptions
from ncclprobe.records.nodes import Check, CheckValue, Group, GroupValue, Round, WrongSum
from ncclprobe.tuner.build import plugin_path

HERE = pathlib.Path(__file__).parent
NODES = ("a", "b", "c", "d")


@pytest.fixture
def kept() -> list[Kept]:
    return []


@pytest.fixture
def fleet(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, kept: list[Kept]) -> HostFleet:
    monkeypatch.setenv("PYTHONPATH", str(HERE / "fake_gpu"))
    monkeypatch.setenv("FAKE_NCCL_HELPERS", str(HERE.parent / "tuner"))
    monkeypatch.setenv("FAKE_GPU_FOLDER", str(tmp_path))
    monkeypatch.setenv("FAKE_GPUS", "4")
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    monkeypatch.setenv("NCCL_TUNER_PLUGIN", str(plugin_path()))
    options = FleetOptions(
        backend="nccl", launcher="local", hosts=NODES, ranks_per_node=1, size_bytes=1 << 16, timeout_s=3.0
    )
    return HostFleet(options, keep=kept.append, note=lambda _: None)


def planned(index: int, *pairs: tuple[str, str], stage: str = "survey") -> Round:
    return Round(index=index, stage=stage, groups=tuple(Group(nodes=pair) for pair in pairs))


def statuses(values: list[GroupValue]) -> dict[tuple[str, ...], str]:
    return {value.nodes: value.status for value in values}


def test_groups_of_a_round_have_a_value_each_and_gpus_check_themselves(fleet: HostFleet, kept: list[Kept]) -> None:
    with fleet:
        first = list(fleet.measure(planned(0, ("a", "b"), ("c", "d"))))
        second = list(fleet.measure(planned(1, ("b", "c"), stage="confirm")))
    assert statuses(first) == {("a", "b"): "ok", ("c", "d"): "ok"}
    assert statuses(second) == {("b", "c"): "ok"}
    assert all(value.unit == "GB/s" and len(value.samples) >= 3 for value in [*first, *second])
    checked = {(value.node, value.check, value.gpu) for value in kept if isinstance(value, CheckValue)}
    assert checked == {
        *((node, check, None) for node in NODES for check in (Check.HOST_MEMORY, Check.HOST_COMPUTE)),
        *((node, check, 0) for node in NODES for check in (Check.GPU_MEMORY, Check.GPU_COMPUTE)),
    }


@pytest.mark.parametrize("number", [2, 4, 5])
def test_one_wrong_sum_among_right_ones_fails_its_group_and_is_named(
    fleet: HostFleet, kept: list[Kept], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Of the warm-up, of a sample that is not the last, and of an all-reduce that only aligns the ranks."""
    monkeypatch.setenv("FAKE_NCCL_WRONG", f"1:{number}")
    with fleet:
        values = list(fleet.measure(planned(9, ("a", "b"), ("c", "d"))))
    assert statuses(values) == {("a", "b"): "failed", ("c", "d"): "failed"}
    wrong = [one for one in kept if isinstance(one, WrongSum)]
    assert wrong == [
        WrongSum(nodes=("a", "b"), on=("b",), elements=1, round=9),
        WrongSum(nodes=("c", "d"), on=("d",), elements=1, round=9),
    ]


def test_a_group_that_hangs_is_told_and_the_next_round_has_fresh_ranks(fleet: HostFleet) -> None:
    with fleet:
        assert set(statuses(list(fleet.measure(planned(0, ("a", "b"), ("c", "d"))))).values()) == {"ok"}
        ranks = [pid for pid in processes.descendants(os.getpid()) if b"nodes.worker" in _command(pid)]
        stopped = next(pid for pid in ranks if b"RANK=3" in _environment(pid).split(b"\0"))
        os.kill(stopped, signal.SIGSTOP)
        began = time.monotonic()
        second = list(fleet.measure(planned(1, ("a", "c"), ("b", "d"))))
        assert set(statuses(second)) == {("a", "c"), ("b", "d")}
        assert time.monotonic() - began < 200
    assert not [pid for pid in ranks if (pathlib.Path("/proc") / str(pid)).exists()]


def _command(pid: int) -> bytes:
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _environment(pid: int) -> bytes:
    return pathlib.Path(f"/proc/{pid}/environ").read_bytes()
