"""What the plugin does with NCCL's question, as each version of NCCL would ask it."""

from __future__ import annotations

import pathlib
import shutil

import pytest
from fake_nccl import ALL_REDUCE_COSTS, NO, VERSIONS, FakeNccl, Ran

from ncclprobe.errors import BackendError, UsageError
from ncclprobe.names import Algo, Collective, Proto
from ncclprobe.records.sweep import DEFAULT_CELL, Cell
from ncclprobe.records.tuner import TUNED_COLLECTIVES, AnswerSource, Refusal
from ncclprobe.tuner.live import ROOM, LiveTuner

WITH_COSTS = VERSIONS[1:]
SHAPES = [(2, 6), (3, 6), (3, 7), (4, 7), (5, 7), (6, 7), (6, 9)]
"""Interface and number of algorithms: 6 up to NCCL 2.22, 7 since, more in one to come."""
TREE_LL = Ran(Algo.TREE, Proto.LL, 0)
OWN = {2: Ran(None, None, 0), **dict.fromkeys(WITH_COSTS, TREE_LL)}
"""What NCCL runs where it is left alone."""
EVERYTHING = {(algo, proto): 10.0 + 3 * algo.number + proto.number for algo in Algo for proto in Proto}
"""A cost for every entry; the first is the cheapest."""


@pytest.fixture
def tuner(plugin: pathlib.Path) -> LiveTuner:
    return LiveTuner(plugin)


@pytest.mark.parametrize(("api", "algos"), SHAPES)
def test_nccl_is_left_alone_where_nothing_was_said(tuner, api, algos):
    nccl = FakeNccl(tuner.path, api, algos=algos)
    assert nccl.ask(size=4096, operations=3, registered=1) == OWN[api]
    assert nccl.left_costs == nccl.asked_costs
    answer = tuner.last()
    assert (answer.api, answer.collective, answer.size_bytes, answer.num_pipe_ops) == (api, "all_reduce", 4096, 3)
    assert (answer.nranks, answer.nnodes, answer.comm_id) == (8, 1, 0xABC if api >= 5 else 0)
    assert (answer.source, answer.refused, answer.nchannels) == (AnswerSource.LEFT_ALONE, None, None)
    assert (answer.algo, answer.proto) == ((None, None) if api == 2 else ("Tree", "LL"))
    assert answer.reg_buff is (True if api >= 4 else None)


@pytest.mark.parametrize(("api", "algos"), SHAPES)
def test_every_cell_runs_as_forced_or_is_refused_and_changes_nothing(tuner, api, algos):
    nccl = FakeNccl(tuner.path, api, algos=algos)
    for algo in Algo:
        for proto in Proto:
            for nchannels in (None, 1, 64):
                generation = tuner.force(Cell(algo=algo, proto=proto, nchannels=nchannels))
                ran = nccl.ask()
                (answer,) = tuner.answers(generation=generation)
                blind_ll128 = api == 2 and proto is Proto.LL128
                if algo in (Algo.RING, Algo.TREE) and not blind_ll128:
                    assert ran == Ran(algo, proto, nchannels or 0)
                    assert (answer.algo, answer.proto, answer.nchannels) == (algo, proto, nchannels)
                    assert (answer.source, answer.refused) == (AnswerSource.FORCED, None)
                else:
                    reason = Refusal.UNCHECKED if algo in (Algo.RING, Algo.TREE) else Refusal.UNAVAILABLE
                    assert ran == OWN[api]
                    assert nccl.left_costs == nccl.asked_costs
                    assert (answer.source, answer.refused) == (AnswerSource.FORCED, reason)
                    assert answer.nchannels is None


@pytest.mark.parametrize("api", WITH_COSTS)
def test_an_entry_that_nccl_cannot_run_stays_so(tuner, api):
    nccl = FakeNccl(tuner.path, api)
    entries = [(algo, proto) for algo in Algo for proto in Proto]
    for absent in entries:
        costs = {entry: cost for entry, cost in EVERYTHING.items() if entry != absent}
        for algo, proto in entries:
            tuner.force(Cell(algo=algo, proto=proto))
            ran = nccl.ask(costs=costs)
            index = entries.index(absent)
            assert nccl.left_costs[index] == NO
            assert [cost == NO for cost in nccl.left_costs] == [cost == NO for cost in nccl.asked_costs]
            assert (ran.algo, ran.proto) != absent
            assert (tuner.last().refused is not None) == ((algo, proto) == absent)


@pytest.mark.parametrize("api", WITH_COSTS)
@pytest.mark.parametrize("odd", [-2.0, float("nan"), float("inf")])
def test_no_cost_that_nccl_would_pass_over_is_made_the_cheapest(tuner, api, odd):
    nccl = FakeNccl(tuner.path, api)
    tuner.force(Cell(algo="Ring", proto="LL"))
    assert nccl.ask(costs=ALL_REDUCE_COSTS | {(Algo.RING, Proto.LL): odd}) == TREE_LL
    assert tuner.last().refused is Refusal.UNAVAILABLE


@pytest.mark.parametrize("api", WITH_COSTS)
def test_nothing_runs_where_nccl_can_run_nothing(tuner, api):
    nccl = FakeNccl(tuner.path, api)
    tuner.force(Cell(algo="Ring", proto="LL", nchannels=4))
    assert nccl.ask(costs={}) == Ran(None, None, 0)
    assert tuner.last().refused is Refusal.UNAVAILABLE
    tuner.release()
    assert nccl.ask(costs={}) == Ran(None, None, 0)
    assert (tuner.last().refused, tuner.last().algo) == (None, None)


@pytest.mark.parametrize("api", WITH_COSTS)
def test_a_cost_of_zero_elsewhere_does_not_win(tuner, api):
    nccl = FakeNccl(tuner.path, api)
    tuner.force(Cell(algo="Ring", proto="Simple"))
    assert nccl.ask(costs=dict.fromkeys(EVERYTHING, 0.0)) == Ran(Algo.RING, Proto.SIMPLE, 0)


@pytest.mark.parametrize(
    ("cell", "ran"),
    [
        (Cell(algo="Ring"), Ran(Algo.RING, Proto.LL, 0)),
        (Cell(proto="Simple"), Ran(Algo.RING, Proto.SIMPLE, 0)),
        (Cell(algo="Ring", nchannels=3), Ran(Algo.RING, Proto.LL, 3)),
        (Cell(nchannels=24), Ran(Algo.TREE, Proto.LL, 24)),
    ],
)
@pytest.mark.parametrize("api", WITH_COSTS)
def test_a_part_of_a_cell_leaves_the_rest_to_nccl(tuner, api, cell, ran):
    nccl = FakeNccl(tuner.path, api)
    tuner.force(cell)
    assert nccl.ask() == ran


def test_channels_alone_leave_the_costs_as_they_are(tuner):
    nccl = FakeNccl(tuner.path, 5)
    tuner.force(Cell(nchannels=2))
    nccl.ask()
    assert nccl.left_costs == nccl.asked_costs


@pytest.mark.parametrize("api", WITH_COSTS)
@pytest.mark.parametrize(
    ("algo", "nnodes", "refused"),
    [
        (Algo.COLLNET_DIRECT, 2, True), (Algo.COLLNET_CHAIN, 2, True), (Algo.NVLS, 2, True), (Algo.NVLS, 1, False),
        (Algo.NVLS_TREE, 2, False), (Algo.RING, 2, False), (Algo.PAT, 2, False),
    ],
)  # fmt: skip
def test_no_channels_are_set_where_nccl_would_take_any_number(tuner, api, algo, nnodes, refused):
    nccl = FakeNccl(tuner.path, api, nnodes=nnodes)
    tuner.force(Cell(algo=algo, proto="Simple", nchannels=32))
    ran = nccl.ask(costs=EVERYTHING)
    assert ran == (TREE_LL if refused else Ran(algo, Proto.SIMPLE, 32))
    assert tuner.last().refused is (Refusal.UNCHECKED if refused else None)
    tuner.force(Cell(algo=algo, proto="Simple"))
    assert nccl.ask(costs=EVERYTHING) == Ran(algo, Proto.SIMPLE, 0)
    tuner.force(Cell(nchannels=32))
    assert nccl.ask(costs={(algo, Proto.SIMPLE): 1.0}).nchannels == (0 if refused else 32)


BLIND = [
    # collective, algo, proto, nranks, nnodes, collnet, nvls, whether NCCL 2.21 has it
    (Collective.ALL_REDUCE, Algo.TREE, Proto.LL, 8, 1, 0, 0, True),
    (Collective.ALL_GATHER, Algo.TREE, Proto.LL, 8, 1, 0, 0, False),
    (Collective.BROADCAST, Algo.RING, Proto.SIMPLE, 8, 1, 0, 0, True),
    (Collective.BROADCAST, Algo.NVLS, Proto.SIMPLE, 8, 1, 1, 1, False),
    (Collective.ALL_REDUCE, Algo.NVLS, Proto.SIMPLE, 8, 1, 0, 1, True),
    (Collective.ALL_REDUCE, Algo.NVLS, Proto.SIMPLE, 8, 1, 0, 0, False),
    (Collective.ALL_REDUCE, Algo.NVLS, Proto.LL, 8, 1, 0, 1, False),
    (Collective.ALL_REDUCE, Algo.NVLS, Proto.SIMPLE, 16, 2, 0, 1, False),
    (Collective.ALL_REDUCE, Algo.NVLS, Proto.SIMPLE, 16, 2, 1, 1, True),
    (Collective.REDUCE_SCATTER, Algo.NVLS, Proto.SIMPLE, 8, 1, 0, 1, True),
    (Collective.REDUCE_SCATTER, Algo.NVLS, Proto.SIMPLE, 16, 2, 1, 1, False),
    (Collective.ALL_REDUCE, Algo.NVLS_TREE, Proto.SIMPLE, 16, 2, 0, 1, True),
    (Collective.ALL_REDUCE, Algo.NVLS_TREE, Proto.SIMPLE, 8, 1, 0, 1, False),
    (Collective.ALL_REDUCE, Algo.COLLNET_DIRECT, Proto.SIMPLE, 16, 2, 1, 0, True),
    (Collective.ALL_REDUCE, Algo.COLLNET_DIRECT, Proto.SIMPLE, 16, 2, 0, 0, False),
    (Collective.REDUCE, Algo.COLLNET_DIRECT, Proto.SIMPLE, 16, 2, 1, 0, False),
    (Collective.ALL_GATHER, Algo.COLLNET_CHAIN, Proto.SIMPLE, 16, 2, 1, 0, False),
    (Collective.ALL_REDUCE, Algo.COLLNET_CHAIN, Proto.SIMPLE, 16, 2, 1, 0, True),
    (Collective.ALL_REDUCE, Algo.PAT, Proto.SIMPLE, 16, 2, 1, 1, False),
    (Collective.ALL_REDUCE, Algo.TREE, Proto.SIMPLE, 1, 1, 0, 0, False),
    (Collective.ALL_REDUCE, Algo.RING, Proto.SIMPLE, 1, 1, 0, 0, True),
]


@pytest.mark.parametrize(("collective", "algo", "proto", "nranks", "nnodes", "collnet", "nvls", "there"), BLIND)
def test_without_costs_only_what_exists_is_set(tuner, collective, algo, proto, nranks, nnodes, collnet, nvls, there):
    nccl = FakeNccl(tuner.path, 2, nranks=nranks, nnodes=nnodes)
    tuner.force(Cell(algo=algo, proto=proto, nchannels=4))
    ran = nccl.ask(collective, collnet=collnet, nvls=nvls)
    assert ran == (Ran(algo, proto, 4) if there else Ran(None, None, 0))
    assert tuner.last().refused is (None if there else Refusal.UNAVAILABLE)


@pytest.mark.parametrize("cell", [Cell(algo="Ring"), Cell(proto="LL"), Cell(proto="LL128", nchannels=2)])
def test_without_costs_half_a_choice_is_none(tuner, cell):
    nccl = FakeNccl(tuner.path, 2)
    tuner.force(cell)
    assert nccl.ask() == Ran(None, None, 0)
    assert tuner.last().refused is Refusal.HALF_A_CHOICE
    tuner.force(Cell(nchannels=6))
    assert nccl.ask() == Ran(None, None, 6)


@pytest.mark.parametrize("api", VERSIONS)
def test_a_collective_is_forced_alone_and_released_alone(tuner, api):
    nccl = FakeNccl(tuner.path, api)
    tuner.force(Cell(algo="Ring", proto="Simple"), Collective.ALL_GATHER)
    costs = {entry: cost for entry, cost in ALL_REDUCE_COSTS.items() if entry[0] is Algo.RING}
    assert nccl.ask(Collective.ALL_GATHER, costs=costs) == Ran(Algo.RING, Proto.SIMPLE, 0)
    assert nccl.ask(Collective.ALL_REDUCE) == OWN[api]
    tuner.force(Cell(algo="Ring", proto="LL"))
    tuner.force(DEFAULT_CELL, Collective.ALL_REDUCE)
    assert nccl.ask(Collective.ALL_REDUCE) == OWN[api]
    assert {nccl.ask(one, costs=costs) for one in TUNED_COLLECTIVES[:4]} == {Ran(Algo.RING, Proto.LL, 0)}
    tuner.release()
    assert nccl.ask(Collective.REDUCE) == OWN[api]


@pytest.mark.parametrize("api", VERSIONS)
@pytest.mark.parametrize("collective", [-1, 5, 15, 16, 1000])
def test_collectives_to_come_do_no_harm(tuner, api, collective):
    nccl = FakeNccl(tuner.path, api)
    tuner.force(Cell(nchannels=2))
    assert nccl.ask(collective).nchannels in (0, 2)
    assert tuner.last().collective is None


@pytest.mark.parametrize("size", [0, 1, 2**40, 2**64 - 1])
def test_any_size_is_answered(tuner, size):
    nccl = FakeNccl(tuner.path, 6)
    assert nccl.ask(size=size) == TREE_LL
    assert tuner.last().size_bytes == size


def test_every_change_raises_the_generation_and_answers_carry_it(tuner, tmp_path):
    nccl = FakeNccl(tuner.path, 5)
    (tmp_path / "t.csv").write_text("allreduce,0,4096,ring,ll,-1,-1,-1\n")
    first = tuner.force(Cell(algo="Ring", proto="Simple"))
    nccl.ask()
    second = tuner.force(Cell(algo="NVLS", proto="Simple"))
    nccl.ask()
    third = tuner.release()
    nccl.ask()
    assert tuner.load_table(tmp_path / "t.csv") == 1
    nccl.ask(size=4096)
    fifth = tuner.drop_table()
    nccl.ask(size=4096)
    assert (first, second, third, fifth, tuner.state.generation) == (1, 2, 3, 5, 5)
    told = [(answer.generation, answer.source, answer.refused) for answer in tuner.answers()]
    assert told == [
        (1, AnswerSource.FORCED, None),
        (2, AnswerSource.FORCED, Refusal.UNAVAILABLE),
        (3, AnswerSource.LEFT_ALONE, None),
        (4, AnswerSource.TABLE, None),
        (5, AnswerSource.LEFT_ALONE, None),
    ]
    assert [answer.number for answer in tuner.answers(after=3)] == [4, 5]
    assert [answer.number for answer in tuner.answers(generation=second)] == [2]


def test_the_latest_answers_are_kept(tuner):
    nccl = FakeNccl(tuner.path, 5)
    for size in range(ROOM + 10):
        nccl.ask(size=size)
    assert [answer.size_bytes for answer in tuner.answers()] == list(range(10, ROOM + 10))
    assert tuner.answers(after=10**12) == ()


def test_state_tells_whether_nccl_loaded_this_very_file(tuner, plugin, tmp_path):
    assert (tuner.state.opened, tuner.last()) == (0, None)
    other = FakeNccl(shutil.copy(plugin, tmp_path / "copy.so"), 5)
    tuner.force(Cell(algo="Ring", proto="LL"))
    assert (other.ask(), tuner.state.opened) == (TREE_LL, 0)
    (tmp_path / "link.so").symlink_to(plugin)
    same = FakeNccl(tmp_path / "link.so", 5)
    assert (same.ask(), tuner.state.opened) == (Ran(Algo.RING, Proto.LL, 0), 1)
    same.close()
    assert (tuner.state.closed, tuner.state.asked) == (1, 1)


@pytest.mark.parametrize(
    ("cell", "collective", "words"),
    [
        (Cell(algo="recursive_doubling"), None, "no algo 'recursive_doubling'"),
        (Cell(algo="Ring", proto="LL256"), None, "no proto 'LL256'"),
        (Cell(algo="Ring", nchannels=0), None, "1 to 64 channels, not 0"),
        (Cell(algo="Ring", nchannels=65), None, "1 to 64 channels, not 65"),
        (Cell(algo="Ring"), Collective.ALLTOALL, "no tuner about alltoall"),
    ],
)
def test_what_nccl_does_not_have_is_refused_at_once(tuner, cell, collective, words):
    with pytest.raises(UsageError, match=words):
        tuner.force(cell, collective)
    assert tuner.state.generation == 0


def test_a_library_that_is_no_plugin_is_refused(tmp_path):
    (tmp_path / "broken.so").write_bytes(b"\x7fELF")
    for path in (tmp_path / "broken.so", tmp_path / "absent.so", pathlib.Path("libc.so.6")):
        with pytest.raises(BackendError, match=r"cannot load the tuner plugin"):
            LiveTuner(path)


@pytest.mark.parametrize("api", VERSIONS)
def test_a_null_context_and_no_logger_are_borne(tuner, api):
    nccl = FakeNccl(tuner.path, api, logs=False)
    nccl.close()
    nccl._context.value = None
    tuner.force(Cell(algo="Ring", proto="LL"))
    assert nccl.ask() == Ran(Algo.RING, Proto.LL, 0)
    nccl.close()


def test_the_sixth_version_leaves_chunk_sizes_to_nccl(tuner):
    nccl = FakeNccl(tuner.path, 6)
    assert nccl.table.chunk_size is None
    assert nccl.table.name == b"ncclprobe"


def test_each_communicator_says_how_it_stands(tuner):
    nccl = FakeNccl(tuner.path, 5, nranks=16, nnodes=2)
    assert [line.text for line in nccl.logged] == ["interface 5, ranks: 16, nodes: 2, no table, not recording"]
