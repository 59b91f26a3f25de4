"""Sums that are wrong for one size, on one rank, or once in many are caught, named and never recommended."""

from __future__ import annotations

import importlib
import pathlib
import re

import msgspec
import pytest
from click.testing import CliRunner

from ncclprobe.backends import make_backend
from ncclprobe.backends.base import BackendOptions
from ncclprobe.cli.nodes import command as nodes_command
from ncclprobe.cli.sweep import command as sweep_command
from ncclprobe.cli.validate_e2e import command as e2e_command
from ncclprobe.launchers import make_launcher
from ncclprobe.launchers.base import python_job
from ncclprobe.launchers.run import Session
from ncclprobe.nodes.messages import Done, FleetSettings, Grouped, Measure, Stop, answer_in, encode
from ncclprobe.records.sweep import DEFAULT_CELL, Block, Cell, Launch, Point, Status
from ncclprobe.sweep import pace

PLANTED = pathlib.Path(__file__).parent / "planted"
TREE, RING = Cell(algo="Tree"), Cell(algo="Ring")
FAST = """
name = "Tree is faster"
nodes = 2
gpus_per_node = 2
times.table = "times.csv"
noise.cv = 0.02
[[faults]]
kind = "wrong"
"""
TIMES = "collective,dtype,size_bytes,algo,proto,nchannels,time_us\n" + "".join(
    f"all_reduce,float32,{size},{algo},{proto},,{time}\n"
    for size in (1024, 32768, 1048576)
    for algo, proto, time in (("default", "", 20), ("Ring", "Simple", 20), ("Tree", "LL", 16))
)
TREE_LL = 'algo = "Tree"\n'


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch):
    def plant(**what: object) -> None:
        monkeypatch.setenv("PYTHONPATH", str(PLANTED))
        for name, value in what.items():
            monkeypatch.setenv(f"PLANTED_{name.upper()}", str(value))

    return plant


def swept(tmp_path: pathlib.Path, fault: str, seed: int) -> dict:
    file = tmp_path / "fabric.toml"
    file.write_text(FAST + fault)
    (tmp_path / "times.csv").write_text(TIMES)
    arguments = ["--backend", "sim", "--fabric", str(file), "--seed", str(seed), "--json"]
    done = CliRunner().invoke(sweep_command, [*arguments, "--out", str(tmp_path / "run")], standalone_mode=False)
    assert done.exception is None, done.exception
    return msgspec.json.decode(done.stdout)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("fault", ["size_bytes = 32768\n", "rate = 0.05\n"])
def test_the_fastest_setting_is_not_recommended_once_it_sums_wrongly(tmp_path, fault: str, seed: int) -> None:
    """A share of 5 % is seen within the samples that a winner takes; the setting is out at every size."""
    document = swept(tmp_path, TREE_LL + fault, seed)
    found = {(finding["code"], finding["subject"]) for finding in document["findings"]}
    assert ("wrong-result", "Tree/LL") in found
    assert not [row for row in document["choice"]["table"] if row["algo"] == "Tree"]


def test_without_its_fault_the_same_setting_is_recommended(tmp_path) -> None:
    document = swept(tmp_path, TREE_LL + "rate = 0.0\n", 0)
    assert document["choice"]["verdict"] == "change"
    assert {row["algo"] for row in document["choice"]["table"]} == {"Tree"}


def test_a_default_that_sums_wrongly_leaves_no_choice(tmp_path) -> None:
    document = swept(tmp_path, 'algo = "default"\n', 0)
    assert ("default-broken", "default") in {(finding["code"], finding["subject"]) for finding in document["findings"]}
    assert document["choice"]["verdict"] == "keep-defaults"
    assert document["choice"]["table"] == []


def launch(**changes: object) -> Launch:
    points = [Point(collective="all_reduce", dtype="float32", size_bytes=size) for size in (64, 40_000)]
    blocks = tuple(Block(point=point, cells=(DEFAULT_CELL, TREE, RING), repeat=3) for point in points)
    fixed = {"index": 0, "stage": "explore", "nranks": 4, "warmups": 0, "timeout_s": 20.0, "seed": 3, "blocks": blocks}
    return Launch(**{**fixed, **changes})


@pytest.mark.mpi
@pytest.mark.parametrize(("rank", "every"), [(2, 1), (0, 3)])
def test_one_rank_one_size_of_real_ranks_is_caught_and_named(planted, rank: int, every: int) -> None:
    planted(rank=rank, algo="Tree", size=40_000, every=every)
    backend = make_backend("mpi", BackendOptions(nranks=4))
    wrong = [(m.point.size_bytes, m.cells[0].algo, m.wrong[0], m.message)
             for m in backend.measure(launch()) if Status.WRONG in m.statuses]  # fmt: skip
    assert wrong == [(40_000, "Tree", 1, f"1 wrong elements on rank {rank}")]


@pytest.mark.mpi
def test_the_first_of_a_samples_operations_is_looked_at_as_the_last_one_is(planted) -> None:
    """Hundreds of operations follow it, which once wrote right sums over its wrong one."""
    planted(rank=1, algo="Tree", size=64, every=2, first="")
    backend = make_backend("mpi", BackendOptions(nranks=2))
    measured = list(backend.measure(launch(nranks=2, sample_s=0.02)))
    (wrong,) = [m for m in measured if Status.WRONG in m.statuses]
    assert (wrong.point.size_bytes, wrong.message) == (64, "1 wrong elements on rank 1")
    assert wrong.operations > 16


def test_every_operation_of_a_sample_can_have_a_buffer() -> None:
    pytest.importorskip("mpi4py")
    mpi_ranks = importlib.import_module("ncclprobe.backends.mpi_ranks")
    assert mpi_ranks.MOST_SLOTS == pace.MOST_OPERATIONS


@pytest.mark.mpi
def test_real_ranks_that_sum_rightly_are_not_accused(planted) -> None:
    planted(rank=1, algo="none", size=64)
    backend = make_backend("mpi", BackendOptions(nranks=4))
    assert {status for m in backend.measure(launch()) for status in m.statuses} == {Status.OK}


@pytest.mark.mpi
def test_a_groups_sum_that_is_wrong_once_fails_the_group(planted) -> None:
    """The wrong one is not the last of the group's all-reduces: a later right one must not hide it."""
    planted(rank=1, every=7)
    settings = FleetSettings(size_bytes=4096, window_s=0.05, timeout_s=10.0, patience_s=20.0)
    job, answers = python_job("ncclprobe.nodes.worker", ("mpi", settings.text()), nranks=2), []
    with Session(job, make_launcher("local")) as session:
        answer_in(session.receive(60.0))
        session.send(encode(Measure(groups=((0, 1),))))
        while not isinstance(answer := answer_in(session.receive(30.0)), Done):
            answers.append(answer)
        session.finish(encode(Stop()), 10.0)
    (grouped,) = answers
    assert isinstance(grouped, Grouped)
    assert grouped.outcome.status == "failed"
    assert "elements of the sums were wrong" in grouped.outcome.message
    assert grouped.outcome.wrong[0] == 0 < grouped.outcome.wrong[1]


@pytest.mark.mpi
def test_nodes_whose_sums_are_wrong_once_are_an_error_with_their_names(planted, tmp_path) -> None:
    planted(rank=1, every=41)
    words = ["--hosts", "part[1-2]", "--launcher", "local", "--backend", "mpi", "--size", "4K", "--rounds", "1"]
    arguments = [*words, "--json", "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(nodes_command, arguments, standalone_mode=False)
    assert done.exception is None, done.output
    (found,) = [one for one in msgspec.json.decode(done.stdout)["findings"] if one["code"] == "wrong-result"]
    assert (found["severity"], found["subject"]) == ("error", "part1–part2")
    assert re.fullmatch(
        r"\d+ elements? of their all-reduce w\w+ wrong in (round 0|\d rounds), on part2", found["message"]
    )


@pytest.mark.mpi
def test_a_trial_whose_ranks_disagree_fails(planted, tmp_path) -> None:
    planted(rank=1)
    arguments = ["--workload", "proxy", "--nranks", "2", "--candidate", "NCCL_ALGO=Ring", "--trials", "2", "--json"]
    done = CliRunner().invoke(e2e_command, [*arguments, "--out", str(tmp_path / "run")], standalone_mode=False)
    document = msgspec.json.decode(done.stdout)
    failed = {trial["message"].partition(":")[0] for trial in document["trials"]}
    assert failed == {"the ranks' results differ"}
    assert document["verdict"] == "inconclusive"
