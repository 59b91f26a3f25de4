import pytest

from ncclprobe.e2e.evidence import Expected
from ncclprobe.e2e.sglang_checks import checks, expected_all_reduces
from ncclprobe.e2e.sglang_model import ModelFacts
from ncclprobe.records.e2e import Bench, Layout, SglangOptions

R1 = ModelFacts(
    hidden_size=7168,
    num_hidden_layers=61,
    num_attention_heads=128,
    n_routed_experts=256,
    moe_intermediate_size=2048,
)
H100, H200 = 80 << 30, 141 << 30


def found(words="", *, facts=R1, gpu_bytes=H200, bench=Bench.OFFLINE, version="0.5.17", **layout):
    options = SglangOptions(arguments=tuple(words.split()), gpu_bytes=gpu_bytes, bench=bench)
    return checks("baseline", Layout(**layout), options, facts, version)


@pytest.mark.parametrize(
    ("words", "layout"),
    [
        ("", {"tp": 16, "nnodes": 2}),
        ("--enable-dp-attention", {"tp": 16, "dp": 16, "nnodes": 2}),
        ("--speculative-algorithm EAGLE --speculative-eagle-topk 1", {"tp": 8}),
        ("--speculative-algorithm EAGLE --enable-dp-attention", {"tp": 8}),
        ("--max-running-requests 128 --cuda-graph-max-bs-decode 128", {"tp": 8}),
        ("--enable-dp-attention --max-running-requests 1024 --cuda-graph-max-bs 128", {"tp": 8, "dp": 8}),
        ("--mem-fraction-static 0.9", {"tp": 8}),
        ("--page-size 64 --chunked-prefill-size 8192 --attention-backend flashinfer", {"tp": 8}),
        ("--chunked-prefill-size -1 --page-size 64", {"tp": 8}),
        ("", {"tp": 8, "dp": 2}),
        ("--ep-size 8", {"tp": 8}),
    ],
)
def test_nothing_is_said_of_what_works(words, layout):
    assert found(words, **layout) == ()


@pytest.mark.parametrize(
    ("words", "layout", "code", "message", "source"),
    [
        ("", {"tp": 3}, "sglang-refuses", "128 attention heads do not divide among 3", "deepseek_v2.py"),
        ("", {"tp": 256}, "sglang-refuses", "do not divide among 256 ranks", "deepseek_v2.py"),
        ("--enable-dp-attention", {"tp": 8, "dp": 3}, "sglang-refuses", "no multiple of dp=3", "server_args.py"),
        ("--ep-size 3", {"tp": 8}, "sglang-refuses", "256 experts do not divide among 3", "layer.py"),
        ("", {"tp": 8, "nnodes": 3}, "sglang-refuses", "8 × 1 ranks do not divide among 3", "check_server_args"),
        ("", {"tp": 16, "dp": 2, "nnodes": 2}, "sglang-refuses", "without --enable-dp-attention", "check_server_args"),
        ("--speculative-algorithm EAGLE", {"tp": 8, "pp": 2}, "sglang-refuses", "pipeline", "check_server_args"),
        (
            "--speculative-algorithm NGRAM --enable-dp-attention",
            {"tp": 8, "dp": 8},
            "sglang-refuses",
            "NGRAM with DP attention",
            "speculative_hook.py",
        ),
        (
            "--speculative-algo EAGLE --enable-dp-attention",
            {"tp": 8, "dp": 8},
            "sglang-known-failure",
            "(EAGLE) with DP attention",
            "issues 29144",
        ),
        (
            "--page-size 64 --chunked-prefill-size 1000",
            {"tp": 8},
            "sglang-refuses",
            "1000 is no multiple of --page-size 64",
            "check_server_args",
        ),
        (
            "--page-size=64 --speculative-algorithm=EAGLE --attention-backend=flashinfer",
            {"tp": 8},
            "sglang-known-failure",
            "--page-size 64 with speculative decoding on FlashInfer",
            "issue 9572",
        ),
        (
            "--page-size 64 --speculative-algorithm EAGLE --speculative-eagle-topk 4 --attention-backend flashmla",
            {"tp": 8},
            "sglang-refuses",
            "--speculative-eagle-topk 4 with --page-size 64 on flashmla",
            "speculative_hook.py",
        ),
        (
            "--max-running-requests 64 --cuda-graph-max-bs-decode 256",
            {"tp": 8},
            "sglang-graph-batch",
            "batches up to 256, but at most 64 requests",
            "get_batch_sizes_to_capture",
        ),
        (
            "--max-running-requests 512 --cuda-graph-max-bs 256",
            {"tp": 8},
            "sglang-graph-batch",
            "Up to 512 requests run together on a rank, but CUDA graphs end at 256",
            "issue 33483",
        ),
        (
            "--mem-fraction-static 0.96",
            {"tp": 8},
            "sglang-memory-edge",
            "0.96 leaves 5.6 of 141 GiB",
            "pull request 5893",
        ),
        ("--mem-fraction-static 95", {"tp": 8}, "sglang-refuses", "no share between 0 and 1", "server_args.py"),
    ],
)
def test_each_check_names_its_source(words, layout, code, message, source):
    findings = found(words, **layout)
    (finding,) = [one for one in findings if message in one.message]
    assert (finding.code, finding.subject) == (code, "baseline")
    assert "Source: " in finding.hint
    assert source in finding.hint


def test_widths_of_experts_must_divide_too():
    (finding,) = found(facts=R1.with_(moe_intermediate_size=2000), tp=32)
    assert "experts of width 2000 do not divide among 32 ranks" in finding.message


def test_without_the_model_or_the_gpu_nothing_is_guessed():
    assert found("--mem-fraction-static 0.99", facts=None, gpu_bytes=None, tp=7) == ()
    assert found("--mem-fraction-static 0.95", gpu_bytes=24 << 30, tp=8) == ()


def test_one_batch_sets_the_graphs_itself():
    assert found("--max-running-requests 64 --cuda-graph-max-bs 8", bench=Bench.ONE_BATCH, tp=8) == ()


def test_another_version_is_said():
    (finding,) = found(tp=256, version="0.5.2")
    assert finding.hint.endswith("(this is SGLang 0.5.2)")


@pytest.mark.parametrize(
    ("words", "layout", "expected"),
    [
        ("", {"tp": 8}, Expected(14336, 61)),
        ("", {"tp": 8, "pp": 2}, Expected(14336, 31)),
        ("", {"tp": 1}, None),
        ("--enable-dp-attention", {"tp": 8, "dp": 8}, None),
    ],
)
def test_what_nccl_must_see(words, layout, expected):
    assert expected_all_reduces(R1, Layout(**layout), words.split()) == expected


def test_of_an_unknown_model_one_layer_is_expected():
    assert expected_all_reduces(None, Layout(tp=8), ()) == Expected(None, 1)
