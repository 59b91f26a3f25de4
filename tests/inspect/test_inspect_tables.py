"""nccl-tests, SGLang, nsys and tuner tables."""

import json
import pathlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncclprobe.inspect import nccl_tests, nsys, sglang, tuner_csv
from ncclprobe.inspect.nccl_tests_ranks import Bandwidths, halfwidth, ranks_of
from ncclprobe.inspect.source import Source
from ncclprobe.records.inspect import Half, Kernel, Row, TunerRow

DATA = pathlib.Path(__file__).parent.parent / "data" / "inspect"


def read(reader, name):
    return reader.read(Source(name, (DATA / name).read_text()))


def codes(reading):
    return [finding.code for finding in reading.findings]


# ---- nccl-tests


def test_several_tables_are_several_documents():
    first, second = read(nccl_tests, "nccl_tests_two_tables.txt").documents
    assert (first.collective, first.nranks, first.avg_busbw_gbps) == ("all_reduce", 16, 152.733)
    assert (second.collective, second.nranks, second.avg_busbw_gbps) == ("all_gather", 16, 150.128)
    assert [row.size_bytes for row in first.rows] == [1024, 32768, 1048576, 33554432, 1073741824]
    assert first.rows[-1] == Row(
        size_bytes=1073741824,
        count=268435456,
        dtype="float",
        redop="sum",
        out_of_place=Half(time_us=4521.0, algbw_gbps=237.50, busbw_gbps=445.31, wrong=0),
        in_place=Half(time_us=4566.21, algbw_gbps=235.15, busbw_gbps=440.91, wrong=0),
    )
    assert second.rows[0].redop is None


def test_ranks_follow_from_the_bandwidths_where_the_devices_are_cut():
    (table,) = read(nccl_tests, "nccl_tests_trimmed.txt").documents
    assert (table.nranks, table.collective, table.avg_busbw_gbps, len(table.rows)) == (16, None, None, 3)


def test_ranks_that_each_ran_alone_are_said():
    device = "#  Rank  {0} Group  0 Pid     11 on     n1 device  {0} [0x1a] NVIDIA H100\n"
    head = "#       size         count      type   redop    root     time   algbw   busbw #wrong\n"
    row = "    33554432       8388608     float     sum      -1    19.56  1715.44    0.00      0\n"
    alone, two = device.format(0), device.format(0) + device.format(1)
    assert codes(nccl_tests.read(Source("x", alone + head + row))) == ["nccl-tests-one-rank"]
    assert codes(nccl_tests.read(Source("x", two + head + row))) == []


def test_an_old_error_column_is_no_count():
    (table,) = read(nccl_tests, "nccl_tests_old_error_column.txt").documents
    assert (table.nranks, table.avg_busbw_gbps) == (4, 0.0655)
    assert [row.out_of_place.wrong for row in table.rows] == [None, None, None]
    assert table.rows[2].in_place == Half(time_us=16.40, algbw_gbps=0.12, busbw_gbps=0.19)


def test_wrong_values_are_an_error():
    reading = read(nccl_tests, "nccl_tests_wrong.txt")
    assert codes(reading) == ["wrong-results"]
    assert "15 elements at sizes 1M, 2M" in reading.findings[0].message


def test_rows_into_which_nccl_spoke_are_whole():
    (table,) = read(nccl_tests, "nccl_tests_interrupted_rows.txt").documents
    assert [(row.size_bytes, row.out_of_place.time_us) for row in table.rows] == [(8, 12.34), (128, 12.50)]


def test_a_row_that_is_cut_between_its_halves_keeps_them_apart():
    said = "h1:8:8 [0] NCCL INFO 8 Bytes -> Algo 0 proto 0 time 25.2\n"
    head = "#  size  count  type  redop  root  time  algbw  busbw #wrong  time  algbw  busbw #wrong\n"
    text = f"{head}  8  2  float  sum  -1{said}{said}   64.18    0.00    0.00      0{said}"
    (row,) = nccl_tests.read(Source("x", f"{text}   62.50    0.00    0.00      0\n")).documents[0].rows
    assert (row.out_of_place.time_us, row.in_place.time_us) == (64.18, 62.50)
    (row,) = nccl_tests.read(Source("x", text)).documents[0].rows
    assert (row.out_of_place.time_us, row.in_place) == (64.18, None), "the end is lost"
    after = "  16  4  float  sum  -1   65.00    0.00    0.00      0   63.00    0.00    0.00      0\n"
    rows = nccl_tests.read(Source("x", f"{text}{after}")).documents[0].rows
    assert [row.size_bytes for row in rows] == [8, 16]


def test_a_row_that_is_cut_behind_its_first_half_has_both():
    said = "h1:8:8 [0] NCCL INFO 8 Bytes -> Algo 0 proto 0 time 25.2\n"
    head = "#  size  count  type  redop  root  time  algbw  busbw #wrong  time  algbw  busbw #wrong\n"
    text = f"{head}  8  2  float  sum  -1   64.18    0.00    0.00      0{said}   62.50    0.00    0.00      0\n"
    (row,) = nccl_tests.read(Source("x", text)).documents[0].rows
    assert (row.out_of_place.time_us, row.in_place.time_us) == (64.18, 62.50)


def test_columns_per_iteration_and_a_timestamp():
    (table,) = read(nccl_tests, "nccl_tests_per_iteration.txt").documents
    (row,) = table.rows
    assert row.out_of_place == Half(time_us=91.20, algbw_gbps=183.96, busbw_gbps=160.97, wrong=0)
    assert row.in_place == Half(time_us=92.00, algbw_gbps=182.36, busbw_gbps=159.57)
    assert table.nranks == 8


def test_json():
    (table,) = read(nccl_tests, "nccl_tests.json").documents
    assert (table.collective, table.nranks, table.avg_busbw_gbps) == ("all_reduce", 4, 271.3)
    assert table.rows[0].in_place == Half(time_us=None, algbw_gbps=None, busbw_gbps=None)
    assert table.rows[1].out_of_place == Half(time_us=90.0, algbw_gbps=186.413511, busbw_gbps=279.620267, wrong=0)


def test_a_table_of_one_half():
    head = "#  size  count  type  redop  root  time  algbw  busbw #wrong\n"
    text = head + "  1024  256  float  sum  -1  10.0  0.10  0.19  0\n"
    (table,) = nccl_tests.read(Source("x", text)).documents
    assert table.rows[0].in_place is None
    assert table.rows[0].out_of_place.busbw_gbps == 0.19


def test_each_rank_s_own_table_is_read_apart():
    table = (DATA / "nccl_tests_trimmed.txt").read_text().splitlines()
    text = "\n".join(f"[1,{rank}]<stdout>:{line}" for line in table for rank in range(2))
    documents = nccl_tests.read(Source("x", text)).documents
    assert [len(document.rows) for document in documents] == [3, 3]


def test_a_test_that_ended_early_is_said():
    text = (
        "# nThread 1 nGpus 1 minBytes 8 maxBytes 8 step: 2(factor)\n#  Rank  0 Group  0 Pid 1 on h device  0 [0x1] X\n"
    )
    assert codes(nccl_tests.read(Source("x", text))) == ["nccl-tests-no-rows"]
    failed = text + "h: Test NCCL failure common.cu:961 'unhandled system error'\n"
    assert codes(nccl_tests.read(Source("x", failed))) == ["nccl-tests-failed"]


@given(
    nranks=st.integers(2, 64), size=st.sampled_from([1 << 20, 1 << 28]), time_us=st.floats(200, 900), many=st.booleans()
)
@settings(max_examples=100, deadline=None)
def test_ranks_of_what_is_printed_are_right_or_open(nranks, size, time_us, many):
    factor = 2 * (nranks - 1) / nranks if many else (nranks - 1) / nranks
    words = [(f"{size / time / 1e3:.2f}", f"{size / time / 1e3 * factor:.2f}") for time in (time_us, time_us * 1.07)]
    printed = [Bandwidths(float(a), float(b), halfwidth(a), halfwidth(b)) for a, b in words]
    assert ranks_of(printed, "all_reduce" if many else "alltoall") in (nranks, None)


@pytest.mark.parametrize("program", ["broadcast", "reduce", "sendrecv", "scatter"])
def test_some_collectives_tell_nothing_of_the_ranks(program):
    assert ranks_of([Bandwidths(100.0, 100.0, 0.005, 0.005)], program) is None


def test_a_markdown_table_is_read():
    text = (
        "| size (B) | count | type | redop | root | time (us) | algbw | busbw | #wrong |\n"
        "|---|---|---|---|---|---|---|---|---|\n"
        "| 1048576 | 262144 | float | sum | -1 | 40.0 | 26.21 | 45.87 | 0 |\n"
    )
    (table,) = nccl_tests.read(Source("x", text)).documents
    assert table.rows[0].out_of_place == Half(time_us=40.0, algbw_gbps=26.21, busbw_gbps=45.87, wrong=0)


# ---- SGLang


def test_a_markdown_table_of_labels():
    head = "| Metric | Value |\n|---|---|\n"
    text = f"{head}| **Successful requests** | 128 |\n| Total Token throughput (tok/s) | 40,456 |\n"
    assert sglang.read(Source("x", "Benchmark duration (s)\n" + text)).documents[0].results == (
        {"completed": 128, "total_throughput": 40456},
    )


def test_offline_blocks_and_a_contradiction():
    reading = read(sglang, "sglang_offline_two.txt")
    first, second = reading.documents[0].results
    assert first == {
        "successful_requests": 64,
        "total_latency": 12.5,
        "total_input_tokens": 25000,
        "total_output_tokens": 12500,
        "last_gen_throughput": 801.2,
        "request_throughput": 5.12,
        "input_throughput": 2000,
        "output_throughput": 1000,
        "total_throughput": 3000,
    }
    assert second["output_throughput"] == 1010
    assert codes(reading) == ["inconsistent-result"] * 2
    assert {finding.subject for finding in reading.findings} == {"sglang_offline_two.txt: result 2"}


def test_serving_block():
    reading = read(sglang, "sglang_serving.txt")
    (result,) = reading.documents[0].results
    assert (result["completed"], result["duration"], result["total_input_tokens"]) == (1000, 100, 500000)
    assert (result["max_concurrent_requests"], result["concurrency"], result["max_itl_ms"]) == (321, 280.5, 500)
    assert (result["median_e2e_latency_ms"], result["p95_itl_ms"]) == (27000, 40.1)
    assert not {"backend", "request_rate", "max_concurrency"} & result.keys(), "engine, inf and not set are no numbers"
    assert codes(reading) == ["inconsistent-result"]


def test_one_batch_without_its_warm_up_and_the_cut_block():
    first, second = read(sglang, "sglang_one_batch.txt").documents[0].results
    assert first == {
        "prefill_latency": 0.5,
        "prefill_throughput": 8192,
        "batch_size": 8,
        "median_decode_latency": 0.01,
        "median_decode_throughput": 800,
        "total_latency": 0.81,
        "overall_throughput": 5372.84,
    }
    assert second == {
        "prefill_latency": 0.9,
        "prefill_throughput": 9102.22,
        "total_latency": 0.9,
        "overall_throughput": 9111.11,
    }


def test_a_first_block_before_benchmark_is_a_warm_up():
    text = (DATA / "sglang_one_batch.txt").read_text().replace("Warmup ...\n", "")
    assert len(sglang.read(Source("x", text)).documents[0].results) == 2


def test_only_a_warm_up_gives_no_result():
    text = (DATA / "sglang_one_batch.txt").read_text().partition("Benchmark ...")[0]
    assert sglang.read(Source("x", text)).documents[0].results == ()


def test_a_block_whose_title_was_lost():
    text = "".join(f"{line}\n" for line in (DATA / "sglang_serving.txt").read_text().splitlines()[6:])
    (result,) = sglang.read(Source("x", text)).documents[0].results
    assert result["duration"] == 100
    assert result["max_itl_ms"] == 500


def test_json_lines():
    first, second = read(sglang, "sglang_results.jsonl").documents[0].results
    assert first["median_decode_throughput"] == 800
    assert (second["completed"], second["median_ttft_ms"]) == (1000, 850)
    assert not {"request_rate", "ttfts", "backend"} & second.keys()


def test_diffusion_has_names_of_its_own():
    text = (
        f"{' Serving Benchmark Result ':=^60}\nTask:   text-to-image\n{'-' * 50}\nBenchmark duration (s):  20.00\n"
        f"Successful requests:  10/10\n{'-' * 50}\nRequest throughput (req/s):  0.50\nLatency Mean (s):  2.00\n"
    )
    (result,) = sglang.read(Source("x", text)).documents[0].results
    assert result == {"duration": 20, "completed_requests": 10, "throughput_qps": 0.5, "latency_mean": 2}


def test_other_json_is_no_result():
    assert sglang.read(Source("x", json.dumps({"completed": 3, "_throughput": 1}))) is None


def test_one_batch_against_a_server():
    block = (
        "batch size: 16\ninput_len: 1024\noutput_len: 16\nlatency: 0.40 s\ninput throughput: 82000.00 tok/s\n"
        "output throughput: 1280.00 tok/s\nlast_ttft: 0.20 s\nlast generation throughput: 1600.00 tok/s\n"
        "cache hit rate: 0.2500\n"
    )
    text = f"======== Warmup Begin ========\n{block}======== Warmup End   ========\n{block}"
    (result,) = sglang.read(Source("x", text)).documents[0].results
    assert (result["batch_size"], result["latency"], result["last_gen_throughput"]) == (16, 0.4, 1600)
    assert result["cache_hit_rate"] == 0.25


# ---- nsys

KERNELS = tuple(
    Kernel(collective=collective, dtype=dtype, name=f"ncclDevKernel_{name}", time_us=time_us, count=count)
    for collective, dtype, name, time_us, count in (
        ("all_reduce", "bf16", "AllReduce_Sum_bf16_RING_LL", 500000, 1000),
        ("all_reduce", "bf16", "AllReduce_Sum_bf16_TREE_LL", 100000, 200),
        ("all_reduce", "f32", "AllReduce_Sum_f32_RING_LL", 80000, 100),
        ("sendrecv", None, "SendRecv", 70000, 70),
    )
)


@pytest.mark.parametrize(
    "kernel",
    ["void tensorrt_llm::twoShotAllReduceKernel<__half, (int)8>()", "two_shot_all_reduce()", "allreduce_simple()"],
)
def test_all_reduces_outside_nccl_are_said(kernel):
    text = (
        "Time (%),Total Time (ns),Instances,Avg (ns),Name\n"
        f'60.0,60,2,30,"ncclDevKernel_AllReduce_Sum_f16_RING_LL()"\n40.0,40,2,20,"{kernel}"\n'
    )
    assert codes(nsys.read(Source("x", text))) == ["custom-all-reduce"]


@pytest.mark.parametrize("name", ["nsys_columns.txt", "nsys_bordered.txt", "nsys_kernels.csv", "nsys_kernels.json"])
def test_kernel_tables_in_all_forms(name):
    reading = read(nsys, name)
    (table,) = reading.documents
    assert table.kernels == KERNELS
    assert table.comm_share == 0.75
    assert codes(reading) == ["custom-all-reduce"]


def test_old_names_and_thousands_separators():
    (table,) = read(nsys, "nsys_old_thousands.txt").documents
    assert table.kernels == (
        Kernel(
            collective="all_reduce",
            dtype="float",
            name="ncclKernel_AllReduce_RING_LL_Sum_float",
            time_us=600000,
            count=1200,
        ),
        Kernel(
            collective="all_gather", dtype=None, name="ncclAllGatherRingLLKernel_copy_i8", time_us=150000, count=300
        ),
    )
    assert table.comm_share == 0.75


def test_first_rows_only_take_the_share_from_the_percentages():
    lines = (DATA / "nsys_columns.txt").read_text().splitlines()
    text = "\n".join(lines[: next(at for at, line in enumerate(lines) if "nvjet" in line) + 1])
    (table,) = nsys.read(Source("x", text)).documents
    assert table.kernels[0].count == 1000
    assert table.comm_share == 0.5


def test_lines_found_by_grep_have_no_header():
    text = "\n".join(line for line in (DATA / "nsys_columns.txt").read_text().splitlines() if "ncclDev" in line)
    assert nsys.read(Source("x", text)).documents[0].kernels == KERNELS


@pytest.mark.parametrize(
    ("name", "collective", "dtype"),
    [
        ("ncclKernel_AllReduce_RING_LL_Sum___nv_bfloat16(ncclDevComm*)", "all_reduce", "bfloat16"),
        ("ncclKernel_SendRecv_RING_SIMPLE_Sum_int8_t(ncclDevComm*)", "sendrecv", None),
        ("ncclAllReduceRingLLKernel_sum_f16(ncclWorkElem)", "all_reduce", "f16"),
        ("ncclDevKernel_ReduceScatter_Sum_f16_RING_LL(ncclDevComm *, unsi…", "reduce_scatter", "f16"),
        ("ncclDevKernel_Generic_4(ncclDevKernelArgsStorage<4096ul>)", "generic", None),
        ("ncclSymkDevKernel_AllReduce_AGxLL_R_Sum_bf16(ncclSymkDevWorkArgs)", "all_reduce", "bf16"),
    ],
)
def test_kernel_names(name, collective, dtype):
    text = f'Time (%),Total Time (ns),Instances,Name\n100.0,5000,10,"{name}"\n'
    assert nsys.read(Source("x", text)).documents[0].kernels == (
        Kernel(collective=collective, dtype=dtype, name=name.partition("(")[0], time_us=5.0, count=10),
    )


def test_a_table_of_pytorch_s_profiler_is_none_of_nsys():
    assert read(nsys, "torch_profiler.txt") is None


def test_other_reports_of_nsys_are_left_alone():
    text = (DATA / "nsys_columns.txt").read_text()
    assert "cudaDeviceSynchronize" in text
    assert "[CUDA memcpy" in text
    assert nsys.read(Source("x", text)).documents[0].comm_share == 0.75


# ---- tuner tables


def test_nvidia_s_format():
    reading = read(tuner_csv, "tuner_table.csv")
    rows = reading.documents[0].rows
    assert rows[0] == TunerRow(
        collective="all_reduce",
        min_bytes=0,
        max_bytes=65536,
        algo="Tree",
        proto="LL",
        nchannels=2,
        nnodes=1,
        reg_buff=True,
    )
    assert rows[1] == TunerRow(
        collective="all_reduce",
        min_bytes=65537,
        max_bytes=1048576,
        algo="NVLSTree",
        proto="LL128",
        nnodes=4,
        nranks=32,
        num_pipe_ops=1,
    )
    assert (rows[2].algo, rows[2].proto, rows[2].nchannels) == ("Ring", "Simple", 16)
    assert rows[3].collective == "reduce_scatter"
    assert codes(reading) == ["tuner-gap"]
    assert "1048577 to 4194303" in reading.findings[0].message


def test_a_header_names_the_columns():
    reading = read(tuner_csv, "tuner_header.csv")
    assert [(row.collective, row.min_bytes, row.algo, row.nchannels) for row in reading.documents[0].rows] == [
        ("all_gather", 0, "Ring", 4),
        ("all_gather", 4096, "Tree", None),
    ]
    assert codes(reading) == []


def test_faults_are_named_with_their_line():
    findings = {(finding.code, finding.subject) for finding in read(tuner_csv, "tuner_faults.csv").findings}
    assert findings == {
        ("tuner-unknown-word", "tuner_faults.csv:1"),
        ("tuner-rows-overlap", "tuner_faults.csv:2"),
        ("tuner-row-hidden", "tuner_faults.csv:3"),
        ("tuner-empty-range", "tuner_faults.csv:4"),
        ("tuner-row-short", "tuner_faults.csv:5"),
        ("tuner-row-skipped", "tuner_faults.csv:6"),
    }


def test_a_row_that_loses_some_of_its_sizes_is_told():
    text = "allreduce,0,65536,tree,ll,-1,2,-1\nallreduce,32768,1048576,ring,simple,-1,2,-1\n"
    reading = tuner_csv.read(Source("x", text))
    assert [(one.code, one.subject, one.message) for one in reading.findings] == [
        ("tuner-rows-overlap", "x:2", "line 1 matches this row's sizes 32K to 64K, too, and wins")
    ]


def test_measured_times_are_no_tuner_table():
    text = "collective,size_bytes,algorithm,protocol,channels,nodes\nallreduce,1024,tree,simple,2,1\n"
    assert tuner_csv.read(Source("x", text)) is None
