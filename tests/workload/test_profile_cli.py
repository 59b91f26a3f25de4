"""``ncclprobe profile`` as a user calls it."""

import contextlib
import gzip
import json
import sqlite3
import time

import jsonschema
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from profile_samples import DATA, call, nsys_export

from ncclprobe.cli.profile import command
from ncclprobe.cli.profile_files import read_profile
from ncclprobe.cli.schema import document_schema
from ncclprobe.errors import UsageError
from ncclprobe.workload.recorded import ENTRY, HEADER, MAGIC, VERSION
from ncclprobe.workload.replays import Replays

LOG, SGLANG = DATA / "nccl_coll_two_ranks.log", DATA / "sglang_server.log"
TOKEN = 7168 * 2


def run(*arguments, stdin=None):
    """Return the exit status, the document, and stderr."""
    words = [*map(str, arguments), "--json"]
    done = CliRunner().invoke(command, words, input=stdin, standalone_mode=False)
    assert done.exception is None, done.exception
    document = json.loads(done.stdout)
    jsonschema.validate(document, document_schema("profile"))
    return done.return_value, document, done.stderr


def messages(document):
    return {
        (one["collective"], one["dtype"], one["size_bytes"]): (one["count"], one["basis"], one["seen"])
        for one in document["messages"]
    }


def codes(document):
    return [finding["code"] for finding in document["findings"]]


def measured(count):
    return count, "measured", count


def test_a_log_of_two_ranks_is_one_ranks_profile():
    status, document, _ = run(LOG)
    assert status == 0
    assert messages(document) == {
        ("all_reduce", "bfloat16", 300 * TOKEN): measured(4),
        ("all_reduce", "bfloat16", 4 * TOKEN): measured(12),
        ("all_reduce", "bfloat16", 2 * TOKEN): measured(12),
        ("all_reduce", "bfloat16", TOKEN): measured(12),
        ("all_gather", "float32", 2 * 4096): measured(1),
    }
    assert document["rank"] == "birch01:4100[0]"
    assert [
        (one["kind"], one["operations"], one["ranks"], one["alike"], one["used"]) for one in document["sources"]
    ] == [
        ("nccl-log", 82, 2, True, True),
        ("nccl-tuning", 9, 1, None, False),
    ]
    assert [
        (one["collective"], one["algo"], one["proto"], one["count"], one["time_us"]) for one in document["kernels"]
    ] == [("all_reduce", "Ring", "LL", 9, None)]
    assert (document["comm_share"], document["steps"], codes(document)) == (None, None, [])


def test_a_log_in_a_file_a_rank_is_the_same_profile(tmp_path):
    lines = LOG.read_text().splitlines(keepends=True)
    for rank in (0, 1):
        (tmp_path / f"nccl.{rank}").write_text("".join(line for line in lines if f" [{rank}] NCCL INFO" in line))
    _, whole, _ = run(LOG)
    _, split, _ = run(tmp_path)
    assert split["messages"] == whole["messages"]
    assert [one["files"] for one in split["sources"]] == [2, 1]


def test_decode_steps_of_sglang_replace_what_was_captured():
    _, document, _ = run(LOG, SGLANG)
    assert messages(document) == {
        ("all_reduce", "bfloat16", 300 * TOKEN): measured(4),
        ("all_reduce", "bfloat16", 4 * TOKEN): (4 * 80, "inferred", 12),
        ("all_reduce", "bfloat16", 2 * TOKEN): (4 * 40, "inferred", 12),
        ("all_reduce", "bfloat16", TOKEN): (4 * 80, "inferred", 12),
        ("all_gather", "float32", 8192): measured(1),
    }
    assert (document["steps"], codes(document)) == (240, [])


def test_one_batch_results_tell_steps_too(tmp_path):
    bench = tmp_path / "result.jsonl"
    result = {"run_name": "a", "batch_size": 2, "input_len": 64, "output_len": 101, "prefill_latency": 0.1}
    bench.write_text(f"Capture cuda graph bs [1, 2, 4]\n{json.dumps(result)}\n")
    _, document, _ = run(LOG, bench)
    assert messages(document)["all_reduce", "bfloat16", 2 * TOKEN] == (400, "inferred", 12)
    assert document["steps"] == 100


def test_a_graph_whose_replays_nobody_tells_is_a_warning(tmp_path):
    started = tmp_path / "sglang.log"
    started.write_text("Capture cuda graph bs [1, 2, 4]\n")
    _, document, _ = run(LOG, started)
    assert codes(document) == ["replays-unknown"]
    started.write_text("Capture cuda graph bs [1, 3]\nDecode batch. #running-req: 3, cuda graph: True\n")
    _, document, _ = run(LOG, started)
    assert codes(document) == ["replays-unknown"]
    assert "no message has a size for each" in document["findings"][0]["message"]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("10", {TOKEN: 120, 2 * TOKEN: 120}),
        ("14K=5", {TOKEN: 60, 2 * TOKEN: 12}),
        ("14K=5,2", {TOKEN: 60, 2 * TOKEN: 24}),
    ],
)
def test_replays_can_be_said(said, expected):
    _, document, _ = run(LOG, "--replays", said)
    found = messages(document)
    assert {size: found["all_reduce", "bfloat16", size][0] for size in expected} == expected


def test_only_what_a_trace_calls_captured_was_replayed():
    _, document, _ = run(DATA / "profiler_trace.json", "--replays", "7")
    assert messages(document) == {
        ("all_reduce", "bfloat16", 8192): (35, "inferred", 5),
        ("all_gather", "float32", 800): measured(1),
    }
    assert [
        (one["collective"], one["algo"], one["proto"], one["dtype"], one["count"]) for one in document["kernels"]
    ] == [
        ("all_reduce", "NVLS", "Simple", "bfloat16", 5),
        ("all_gather", "Ring", "LL", "float32", 1),
    ]
    _, document, _ = run(DATA / "profiler_trace.json")
    assert codes(document) == ["replays-unknown"]


@pytest.mark.parametrize("words", ["x", "1K", "=3", "5=", "a=3"])
def test_other_words_for_replays_are_refused(words):
    done = CliRunner().invoke(command, [str(LOG), "--replays", words], standalone_mode=False)
    assert isinstance(done.exception, UsageError)


def test_inspectors_json_has_times():
    status, document, _ = run(DATA / "inspector.jsonl")
    assert messages(document) == {
        ("all_reduce", None, 1 << 20): measured(6),
        ("reduce_scatter", None, 1 << 20): measured(1),
    }
    assert [(one["collective"], one["time_us"], one["count"]) for one in document["kernels"]] == [
        ("all_reduce", 255.0, 6),
        ("reduce_scatter", 33.0, 1),
    ]
    assert (status, document["rank"], codes(document)) == (0, "birch01:5100", ["small-messages-unseen"])


def test_inspectors_json_may_be_spread_over_lines(tmp_path):
    pretty = tmp_path / "pretty.json"
    lines = (DATA / "inspector.jsonl").read_text().splitlines()
    pretty.write_text("\n".join(json.dumps(json.loads(line), indent=2) for line in lines))
    assert run(pretty)[1]["messages"] == run(DATA / "inspector.jsonl")[1]["messages"]


def test_an_sqlite_export_gives_the_busiest_devices_kernels(tmp_path):
    path = tmp_path / "report.sqlite"
    reduce = "ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<(unsigned long)4096>)"
    nsys_export(path, [(0, reduce, 300, 10), (1, reduce, 600, 10), (1, "ncclDevKernel_SendRecv(x)", 100, 5),
                       (1, "gemm", 500, 11), (0, "gemm", 500, 1)])  # fmt: skip
    status, document, _ = run(path)
    assert document["kernels"] == [
        {"collective": "all_reduce", "algo": None, "proto": None, "dtype": "bfloat16", "time_us": 6.0, "count": 10,
         "name": "ncclDevKernel_AllReduce_Sum_bf16_RING_LL", "source": str(path)},
        {"collective": "sendrecv", "algo": None, "proto": None, "dtype": None, "time_us": 0.5, "count": 5,
         "name": "ncclDevKernel_SendRecv", "source": str(path)},
    ]  # fmt: skip
    assert document["comm_share"] == round(6500 / 12000, 6)
    assert (status, codes(document)) == (0, ["no-messages"])


NAMES = (
    "CREATE TABLE StringIds (id INTEGER, value TEXT)",
    "INSERT INTO StringIds VALUES (1, 'ncclDevKernel_SendRecv(x)')",
)
KERNELS = "CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (deviceId, start, end, demangledName)"
ENDLESS = """CREATE VIEW CUPTI_ACTIVITY_KIND_KERNEL AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)
SELECT 0 AS deviceId, x AS start, x + 1 AS "end", 1 AS demangledName FROM c"""
COMPUTED = "CREATE TABLE StringIds (id INTEGER, value TEXT GENERATED ALWAYS AS (hex(zeroblob(400000000))) VIRTUAL)"
COUNT = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 20000) INSERT INTO"


@pytest.mark.parametrize(
    ("statements", "code"),
    [
        ((*NAMES, ENDLESS), "unrecognised-input"),
        ((COMPUTED, "INSERT INTO StringIds VALUES (1)", KERNELS), "unrecognised-input"),
        ((*NAMES, KERNELS, "INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (9e999, 5, 25, 1)"), "unreadable-input"),
        ((*NAMES, KERNELS, "INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (0, 5, 9e999, 1)"), "unreadable-input"),
        ((*NAMES, KERNELS, "INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (0, 25, 5, 1)"), "unreadable-input"),
        ((*NAMES, KERNELS, f"{COUNT} CUPTI_ACTIVITY_KIND_KERNEL SELECT x, 5, 25, 1 FROM c",
          f"{COUNT} StringIds SELECT 1, x FROM c"), "no-messages"),
    ],
    ids=["endless view", "computed column", "device", "infinite", "negative", "one id for many names"],
)  # fmt: skip
def test_an_sqlite_file_that_computes_without_end_or_holds_no_times_is_told(tmp_path, statements, code):
    path = tmp_path / "report.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as base, base:
        for statement in statements:
            base.execute(statement)
    begun = time.process_time()
    _, document, _ = run(path)
    assert codes(document)[0] == code
    assert time.process_time() - begun < 5


def test_kernels_say_how_often_what_a_log_shows_was_replayed(tmp_path):
    path = tmp_path / "report.sqlite"
    nsys_export(path, [(0, "ncclDevKernel_AllReduce_Sum_bf16_RING_LL(x)", 10, 400), (0, "gemm", 10, 400)])
    _, document, _ = run(LOG, path)
    found = messages(document)
    assert found["all_reduce", "bfloat16", TOKEN] == (120, "inferred", 12)
    assert found["all_gather", "float32", 8192] == measured(1)
    assert (document["comm_share"], codes(document)) == (0.5, [])


def test_a_kernel_table_gives_share_and_kernels():
    _, document, _ = run(DATA.parent / "inspect" / "nsys_kernels.csv")
    assert document["comm_share"] == 0.75
    assert [(one["dtype"], one["algo"], one["count"]) for one in document["kernels"]] == [
        ("bfloat16", None, 1000), ("bfloat16", "Tree", 200), ("float32", None, 100), (None, None, 70),
    ]  # fmt: skip


def record(*entries):
    header = HEADER.pack(MAGIC, VERSION, HEADER.size, ENTRY.size, len(entries), 77, 10**18, 9, 0, b"birch01")
    return header + b"".join(ENTRY.pack(*entry) for entry in entries)


def test_the_plugins_record_is_read_and_groups_are_taken_apart(tmp_path):
    path = tmp_path / "record.77"
    path.write_bytes(
        record((50, 50, 14336, 4, 0, 0, 8, 0, 0, 4, 1, 5, 0), (10, 40, 4096, 2, 1, 2, 2, 0, 0, 4, 1, 5, 0))
    )
    _, document, _ = run(path)
    assert messages(document) == {("all_reduce", None, 14336): measured(50), ("all_gather", None, 1024): measured(40)}
    assert {one["nranks"] for one in document["messages"]} == {4}
    assert [(one["collective"], one["algo"], one["proto"], one["count"]) for one in document["kernels"]] == [
        ("all_reduce", "Tree", "LL", 50), ("all_gather", "Ring", "Simple", 40),
    ]  # fmt: skip


def test_a_cut_record_is_unreadable(tmp_path):
    path = tmp_path / "record.77"
    path.write_bytes(record((50, 50, 14336, 4, 0, 0, 8, 0, 0, 4, 1, 5, 0))[:-9])
    status, document, _ = run(path)
    assert (status, codes(document)) == (2, ["unreadable-input"])


def test_two_kinds_of_one_run_are_not_added_up(tmp_path):
    path = tmp_path / "record.77"
    path.write_bytes(record((50, 50, 14336, 4, 0, 0, 8, 0, 0, 4, 1, 5, 0)))
    _, document, _ = run(LOG, path)
    assert document["messages"] == run(LOG)[1]["messages"]
    assert codes(document) == ["messages-once"]


def test_a_profile_is_read_again(tmp_path):
    first = run(LOG, "--out", tmp_path / "run")[1]
    for again in (tmp_path / "run", tmp_path / "run" / "document.json"):
        second = run(again)[1]
        assert (second["messages"], second["rank"]) == (first["messages"], first["rank"])
        assert second["sources"][0]["kind"] == "profile"


@pytest.mark.parametrize("pack", [lambda b: gzip.compress(b), lambda b: b.decode().encode("utf-16")])
def test_gzip_and_utf16_are_unpacked_on_the_way(pack, tmp_path):
    path = tmp_path / "log"
    path.write_bytes(pack(LOG.read_bytes()))
    assert run(path)[1]["messages"] == run(LOG)[1]["messages"]


def test_standard_input_is_read():
    assert run("-", stdin=LOG.read_bytes())[1]["messages"] == run(LOG)[1]["messages"]


def test_a_file_of_no_known_kind_hides_nothing_of_the_others(tmp_path):
    notes = tmp_path / "notes.txt"
    notes.write_text("call the vendor\n")
    status, document, _ = run(notes, LOG)
    assert (status, codes(document)) == (3, ["unrecognised-input"])
    assert document["messages"] == run(LOG)[1]["messages"]
    status, document, _ = run(notes)
    assert (status, codes(document)) == (3, ["unrecognised-input"])


def test_a_log_without_calls_says_what_to_record(tmp_path):
    log = tmp_path / "nccl.log"
    log.write_text("birch01:1:1 [0] NCCL INFO NCCL version 2.28.9+cuda12.9\n")
    status, document, _ = run(log)
    assert (status, codes(document)) == (0, ["no-messages"])


@pytest.mark.parametrize("content", [b"SQLite format 3\x00 and no more", b"\x1f\x8b\x08broken", b"\x1f\x8b"])
def test_a_broken_file_is_unreadable_and_no_traceback(content, tmp_path):
    path = tmp_path / "broken"
    path.write_bytes(content)
    status, document, stderr = run(path)
    assert (status, codes(document)) == (2, ["unreadable-input"])
    assert "cannot read" in stderr


@given(
    start=st.sampled_from(
        [b"", b"SQLite format 3\x00", b"\x1f\x8b\x08", MAGIC, b"\xff\xfe", b'{"schema": "ncclprobe.profile/1"']
    ),
    rest=st.binary(max_size=300),
    middle=st.sampled_from(
        [b"", b'"schema"' + b"[" * 3000, b"Total Time,Instances,Name ncclDevKernel_x", LOG.read_bytes()]
    ),
)
@settings(max_examples=60, deadline=None)
def test_no_file_makes_it_fail_but_by_a_finding(tmp_path_factory, start, rest, middle):
    path = tmp_path_factory.mktemp("any") / "file"
    path.write_bytes(start + rest + middle)
    document, _ = read_profile([str(path)], Replays())
    assert document.messages or document.findings


def test_ranks_that_differ_give_the_busiest_ones_profile(tmp_path):
    log = tmp_path / "nccl.log"
    log.write_text(call(0) + call(1) + call(1, count=14336))
    _, document, _ = run(log)
    assert (document["rank"], codes(document)) == ("birch01:4001[1]", ["ranks-differ"])
    assert sum(one["count"] for one in document["messages"]) == 2
