"""The readers of files in pieces: whatever comes, wherever a piece ends."""

import collections
import itertools
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profile_samples import DATA, call

from ncclprobe.kernels import kernel_dtype, nccl_kernel
from ncclprobe.names import Dtype
from ncclprobe.records.profile import Message
from ncclprobe.workload import tally as tally_module
from ncclprobe.workload.assemble import Gathered, profile_of
from ncclprobe.workload.calls import NcclLines
from ncclprobe.workload.replays import Replays, replayed_batches, scaled_to_kernels, token_bytes
from ncclprobe.workload.steps import SglangLines
from ncclprobe.workload.streams import Streams, whole_lines
from ncclprobe.workload.tally import Operation, Tally, operation_of

SAMPLES = sorted(DATA.iterdir())


def streamed(content: bytes, *cuts: int) -> Streams:
    streams, edges = Streams(), [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    for piece in whole_lines(content[a:b] for a, b in itertools.pairwise(edges)):
        streams.feed("file", piece)
    return streams


def profiled(streams: Streams) -> object:
    return profile_of(Gathered(streams), Replays()).with_(created="")


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
@given(cuts=st.lists(st.integers(0, 20000), max_size=6))
@settings(max_examples=15, deadline=None)
def test_it_does_not_matter_where_pieces_end(path, cuts):
    content = path.read_bytes()
    assert profiled(streamed(content, *cuts)) == profiled(streamed(content))


@given(
    ops=st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(["AllReduce", "AllGather", "Broadcast", "Send"]),
                  st.integers(1, 10**7), st.integers(0, 11)), max_size=40),
    noise=st.lists(st.text(alphabet="abc :[]0123456789-opCount\t", max_size=60), min_size=1, max_size=8),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_every_rank_is_counted_exactly_among_any_other_lines(ops, noise):
    text, expected = "", collections.defaultdict(collections.Counter)
    for number, (rank, word, count, dtype) in enumerate(ops):
        text += call(rank, word, count, dtype, at=number) + noise[number % len(noise)].replace(": opCount ", "") + "\n"
        operation = operation_of(word, list(Dtype)[dtype], count * list(Dtype)[dtype].item_bytes, 8)
        expected[f"birch01:{4000 + rank}[{rank}]"][operation] += 1
    assert streamed(text.encode()).nccl.calls.ranks == expected


@given(
    st.binary(max_size=3000), st.lists(st.integers(0, 4000), max_size=4), st.sampled_from(SAMPLES), st.integers(0, 9000)
)
@settings(max_examples=60, deadline=None)
def test_nothing_that_is_read_raises(garbage, cuts, sample, at):
    content = sample.read_bytes()
    for broken in (garbage, content[:at] + garbage + content[at:]):
        profiled(streamed(broken, *cuts))


@pytest.mark.parametrize(
    ("line", "rank"),
    [
        ("[2026-11-22 08:00:00] " + call(3), "birch01:4003[3]"),
        ("(Worker pid=7, ip=10.0.0.1) " + call(3), "birch01:4003[3]"),
        ("birch01:1:2 [0] NCCL INFO Channel 00/0 : 0[0] -> 1" + call(3), None),
        ("0: " + call(3).replace("NCCL INFO ", "NCCL INFO [3] "), "birch01:4003[3]"),
        (call(3).partition(" NCCL INFO ")[2], "comm 0x55d0003a0"),
        ("alder:9:9 [2] NCCL INFO NET/IB : " + call(3), "birch01:4003[3]"),
    ],
)
def test_whose_call_it_is_shows_through_prefixes(line, rank):
    found = streamed(line.encode()).nccl.calls
    assert found.operations == 1
    if rank:
        assert list(found.ranks) == [rank]


def test_cut_lines_are_counted_and_said():
    streams = streamed((call() + call()[:120] + "\n" + call(dtype=77)).encode())
    assert (streams.nccl.calls.operations, streams.nccl.cut) == (1, 2)
    assert [one.code for one in profile_of(Gathered(streams), Replays()).findings] == ["cut-lines"]


def test_receiving_is_the_other_half_of_sending():
    streams = streamed((call(word="Send", count=100, dtype=7) + call(word="Recv", count=100, dtype=7)).encode())
    assert streams.nccl.calls.ranks["birch01:4000[0]"] == {Operation("sendrecv", "float32", 400, 8): 1}


def test_sizes_are_rounded_rather_than_memory_filled(monkeypatch):
    monkeypatch.setattr(tally_module, "MOST_KEYS", 100)
    tally = Tally()
    for size in range(1000, 1500):
        tally.add("a", Operation("all_reduce", None, size, 2), 1)
    assert tally.rounded
    assert tally.operations == 500
    assert {op.size for op in tally.ranks["a"]} <= {1024, 1152, 1280, 1408, 1536}
    assert all(op.size >= 1000 for op in tally.ranks["a"])


def test_a_long_log_takes_no_more_memory_than_its_distinct_calls():
    lines = NcclLines()
    piece = "".join(call(rank, at=at) for at in range(200) for rank in range(8)).encode()
    for _ in range(20):
        lines.feed(piece)
    assert {rank: counts.total() for rank, counts in lines.calls.ranks.items()} == {
        f"birch01:{4000 + rank}[{rank}]": 4000 for rank in range(8)
    }
    assert all(len(counts) == 1 for counts in lines.calls.ranks.values())


@pytest.mark.parametrize(
    ("line", "taken"),
    [
        (b"{" + b'"batch_size":1,' * 6000 + b'"output_len":5}\n', 1),
        (b'{"batch_size":1,"output_len":5}' * 40_000, 0),
        (b"Decode batch. #running-req: 1 " * 60_000, 60_000),
    ],
    ids=["a key again and again", "results without lines", "steps without lines"],
)
def test_a_line_of_results_or_steps_is_looked_at_once(line, taken):
    lines, begun = SglangLines(), time.process_time()
    lines.feed(line)
    assert lines.taken == taken
    assert time.process_time() - begun < 10


def test_replicas_log_their_own_steps_and_one_is_taken():
    lines = SglangLines()
    lines.feed(b"Capture cuda graph bs [1, 8]\n")
    lines.feed(b"[DP1 TP0] Decode batch. #running-req: 3, cuda graph: True\n" * 3)
    lines.feed(b"[DP0 TP0] Decode batch. #running-req: 9, cuda graph: True\n" * 2 + b"decode_log_interval=10\n")
    assert (lines.steps, lines.replays) == (30, {8: 30})


@pytest.mark.parametrize(
    ("line", "batches"),
    [
        ("Capture cuda graph bs [1, 2, 4]", (1, 2, 4)),
        (
            "Capture target decode CUDA graph begin. backend=full, num_tokens_per_req=1, bs=[1, 2, 8], avail mem=3 GB",
            (1, 2, 8),
        ),
        ("Capture draft decode CUDA graph begin. backend=full, num_tokens_per_req=2, bs=[1, 2, 8], avail mem=3 GB", ()),
        ("Capture target decode CUDA graph end. elapsed=2.1 s", ()),
    ],
)
def test_what_was_captured_is_read_in_the_words_of_old_and_new_versions(line, batches):
    lines = SglangLines()
    lines.feed(line.encode() + b"\n")
    assert lines.captured == batches


def test_an_all_gather_of_each_step_is_replayed_too_and_further_operations_do_not_count():
    seen = [message(100 * b, 12 + (b == 8)) for b in (1, 2, 8)] + [message(64 * b, 3, "all_gather") for b in (1, 2, 8)]
    found = replayed_batches([*seen, message(7, 5)], (1, 2, 8), {2: 10, 8: 30})
    assert found is not None
    assert {(one.collective, one.size_bytes): one.count for one in found} == {
        ("all_reduce", 200): 40, ("all_reduce", 800): 120, ("all_gather", 128): 10, ("all_gather", 512): 30,
        ("all_reduce", 7): 5,
    }  # fmt: skip


def message(size: int, seen: int, collective: str = "all_reduce") -> Message:
    return Message(collective=collective, size_bytes=size, count=seen, seen=seen)


def test_a_tokens_bytes_fit_every_batch():
    messages = [message(size, 12) for size in (100, 200, 800, 6400)] + [message(99, 1000)]
    assert token_bytes(messages, "all_reduce", (1, 2, 8)) == 100
    assert token_bytes(messages, "all_reduce", (1, 3)) is None
    assert token_bytes(messages, "all_reduce", ()) is None
    assert token_bytes([], "all_reduce", (1,)) is None
    assert token_bytes([message(100, 12), message(200, 12)], "all_reduce", (2,)) is None


def test_fewer_kernels_than_calls_change_nothing():
    messages = (message(100, 12),)
    assert scaled_to_kernels(messages, ()) == messages


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ncclDevKernel_AllReduce_Sum_f8e4m3_TREE_LL", "float8e4m3"),
        ("ncclDevKernel_ReduceScatter_Sum_f32_RING_LL", "float32"),
        ("ncclKernel_AllReduce_RING_LL_Sum_half", "float16"),
        ("ncclKernel_AllReduce_RING_LL_Sum___nv_bfloat16", "bfloat16"),
        ("ncclDevKernel_AllReduce_Sum_u32_RING_LL", "uint32"),
        ("ncclDevKernel_AllGather_RING_LL", None),
    ],
)
def test_a_kernels_type_in_the_projects_spelling(name, expected):
    found = nccl_kernel(name)
    assert found
    assert kernel_dtype(found[1]) == expected


CHOICE = b"vm:7:7 [0] NCCL INFO AllGather: 512 Bytes -> Algo RING proto LL channel{Lo..Hi}={0..0}\n"
BEGUN = b"vm:7:7 [0] NCCL INFO ncclCommInitRank comm 0x2f rank 0 nranks %d cudaDev 0 commId 0xb1 - Init START\n"


@pytest.mark.parametrize(
    ("before", "size"), [(b"", 512), (BEGUN % 2, 1024), (BEGUN % 2 + BEGUN % 2, 1024), (BEGUN % 2 + BEGUN % 4, 512)]
)
def test_a_choices_size_is_of_the_whole_buffer_where_the_number_of_ranks_is_certain(before, size):
    lines = NcclLines()
    lines.feed(before + CHOICE)
    assert [operation.size for operation in lines.sized.ranks["vm:7[0]"]] == [size]
