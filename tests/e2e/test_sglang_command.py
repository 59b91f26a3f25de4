import json
import statistics

import pytest

from ncclprobe.e2e.sglang_command import (
    Found,
    has,
    layout_of,
    module_of,
    numbers_of,
    requests_of,
    result_of,
    value_of,
)
from ncclprobe.e2e.sglang_model import MODELS, PROMPTS, byte_symbol, model_files, read_facts
from ncclprobe.errors import UsageError
from ncclprobe.records.e2e import Bench, Layout, SglangOptions


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("--a 1 --b", "1"),
        ("--a=1", "1"),
        ("--a 1 --a 2", "2"),
        ("--a -1", "-1"),
        ("--b --a", ""),
        ("--a --b", ""),
        ("--ab 1", None),
        ("", None),
    ],
)
def test_the_last_value_of_an_option_counts(words, value):
    assert value_of(words.split(), "--a") == value
    assert has(words.split(), "--a") == (value is not None)


def test_a_benchmark_is_run_by_the_name_that_it_has():
    new = "sglang.benchmark.offline_throughput"
    assert module_of(Bench.OFFLINE, Found(version="0.6", modules=(new,))) == new
    both = Found(version="0.5.17", modules=("sglang.bench_offline_throughput", new))
    assert module_of(Bench.OFFLINE, both) == "sglang.bench_offline_throughput"


def test_a_result_keeps_its_finite_numbers():
    line = '{"backend": "engine", "total_throughput": 5.5, "ok": true, "accept_length": null, "x": NaN, "itls": [1]}'
    assert numbers_of(line) == {"total_throughput": 5.5}
    assert result_of(f"{line}\n\n", "total_throughput") == {"total_throughput": 5.5}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds 0 results, not one: nothing was measured"),
        ('{"a": 1}\n{"a": 2}\n', "holds 2 results, not one: several batch sizes"),
        ('{"b": 1}', "has no number 'a'; it has b"),
        ('{"b": "x"}', "has no number 'a'; it has none at all"),
        ('{"a": -1}', "a is -1, not positive"),
        ("[1]", "is no JSON object"),
        ("{", "Expecting property name"),
    ],
)
def test_what_is_no_result_says_why(text, message):
    with pytest.raises(ValueError, match=message):
        result_of(text, "a")


def test_a_layout_is_read_and_shown():
    assert layout_of("tp=8,pp=2,dp=2", Layout(tp=16, nnodes=2)) == Layout(tp=8, pp=2, dp=2, nnodes=2)
    assert layout_of("nnodes=1,tp=8", Layout(nnodes=2)).label == "tp=8"
    assert Layout(tp=8, pp=2, nnodes=2).label == "tp=8,pp=2,nnodes=2"


@pytest.mark.parametrize("text", ["tp", "tp=0", "tp=x", "ep=2", "tp=8;pp=2", ""])
def test_what_is_no_layout_is_refused(text):
    with pytest.raises(UsageError, match="is none of tp=N"):
        layout_of(text, Layout())


@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_our_own_has_what_transformers_loads(name):
    files = model_files(name)
    assert files == model_files(name)
    config, tokenizer = json.loads(files["config.json"]), json.loads(files["tokenizer.json"])
    assert config["architectures"] == ["DeepseekV3ForCausalLM"]
    assert config["vocab_size"] == len(tokenizer["model"]["vocab"]) == 16384
    assert sorted(tokenizer["model"]["vocab"].values()) == list(range(16384))
    assert {byte_symbol(byte) for byte in range(256)} <= tokenizer["model"]["vocab"].keys()
    assert config["n_routed_experts"] % config["n_group"] == 0


def test_mid_deepseek_reduces_14_kib_a_token():
    assert read_facts(model_files("mid-deepseek")["config.json"]).token_bytes == 14 << 10
    assert read_facts("[]") is None


def test_prompts_are_as_long_as_sharegpts():
    prompts = json.loads(model_files("tiny-deepseek")[PROMPTS])
    lengths = [[len(turn["value"]) for turn in one["conversations"]] for one in prompts]
    assert len(prompts) == 2048
    assert statistics.fmean(length for length, _ in lengths) == pytest.approx(313, rel=0.1)
    assert statistics.fmean(length for _, length in lengths) == pytest.approx(194, rel=0.1)
    assert max(map(max, lengths)) <= 900
    assert min(map(min, lengths)) >= 8


def test_more_prompts_begin_with_the_same_ones():
    few, many = (json.loads(model_files("tiny-deepseek", count)[PROMPTS]) for count in (20, 30))
    assert (len(many), many[:20]) == (30, few)


@pytest.mark.parametrize(
    ("arguments", "client", "bench", "asked"),
    [
        (("--num-prompts", "3600"), (), Bench.OFFLINE, 3600),
        (("--num-prompt=3600",), (), Bench.OFFLINE, 3600),
        (("--num-prompts", "many"), (), Bench.OFFLINE, None),
        (("--num-prompts", "7"), ("--num-prompts", "8"), Bench.SERVING, 8),
        ((), (), Bench.OFFLINE, None),
    ],
)
def test_the_requests_asked_for_are_the_benchmarks(arguments, client, bench, asked):
    assert requests_of(SglangOptions(bench=bench, arguments=arguments, client_arguments=client)) == asked


def test_bytes_stand_as_gpt2s_do():
    assert [byte_symbol(byte) for byte in (0, 10, 32, 33, 126, 127, 160, 173, 255)] == list("ĀĊĠ!~ġłŃÿ")
