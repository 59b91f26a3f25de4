"""SGLang's command lines, and what its benchmarks write.

Source: SGLang 0.5.17, benchmark/offline_throughput.py, benchmark/one_batch.py, benchmark/serving.py (options and the
names in JSONL), srt/server_args.py (options).
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from ncclprobe.decoding import any_json, finite
from ncclprobe.errors import UsageError
from ncclprobe.records.base import Record
from ncclprobe.records.e2e import Bench, Layout, SglangOptions

MODULES = {
    Bench.OFFLINE: ("sglang.bench_offline_throughput", "sglang.benchmark.offline_throughput"),
    Bench.ONE_BATCH: ("sglang.bench_one_batch", "sglang.benchmark.one_batch"),
    Bench.SERVING: ("sglang.bench_serving", "sglang.benchmark.serving"),
}
"""Names of a benchmark's module, in the order in which they are tried: SGLang 0.5.17 announces the first ones' end."""
SERVER = "sglang.launch_server"
METRICS = {
    Bench.OFFLINE: "total_throughput",
    Bench.ONE_BATCH: "median_decode_throughput",
    Bench.SERVING: "total_throughput",
}
"""What is compared where nothing else is asked for, in SGLang's names: input and output tokens a second; one-batch is
for decoding alone."""
RESULT = "result.jsonl"
WARM_UP = "warm-up.jsonl"
"""Of a client run that is thrown away."""
_OWN = {
    "--model": ("--model-path", "--model"),
    "--tp": ("--tp", "--tp-size", "--tensor-parallel-size"),
    "--pp": ("--pp", "--pp-size", "--pipeline-parallel-size"),
    "--dp": ("--dp", "--dp-size", "--data-parallel-size"),
    "--nnodes": ("--nnodes", "--node-rank", "--dist-init-addr", "--nccl-init-addr"),
    "nothing: ncclprobe reads the result itself": ("--result-filename", "--output-file"),
}
"""Our option -> those of SGLang that it stands for."""
_SERVERS_OWN = ("--host", "--port")


class Found(Record, frozen=True, kw_only=True):
    """What the interpreter that runs SGLang says of it."""

    version: str | None
    """None where it does not say."""
    modules: tuple[str, ...]
    """Of ``MODULES``, those that there are."""


class Address(Record, frozen=True, kw_only=True):
    """Where a server listens."""

    host: str
    """Name or address."""
    port: int
    """TCP."""


def refuse_own(options: SglangOptions) -> None:
    """Refuse arguments of SGLang that ncclprobe sets itself.

    Raises:
        UsageError: There is one.
    """
    for argument in (*options.arguments, *options.client_arguments):
        flag = argument.partition("=")[0]
        for ours, theirs in _OWN.items():
            if flag in theirs and not (flag == "--model" and argument in options.client_arguments):
                raise UsageError(f"{flag} is ncclprobe's to set; use {ours}")
        if options.bench is Bench.SERVING and flag in _SERVERS_OWN:
            raise UsageError(f"{flag} is ncclprobe's to set: it starts the server where the client finds it")
    if options.client_arguments and options.bench is not Bench.SERVING:
        raise UsageError(f"a second -- begins the client's arguments, and --bench {options.bench} has no client")
    if options.repeats > 1 and options.bench is not Bench.SERVING:
        raise UsageError(f"--repeats asks a started server several times, and --bench {options.bench} has none")


def value_of(arguments: Sequence[str], *flags: str) -> str | None:
    """Return the last value of an option, empty where it has none, None where the option is absent."""
    found = None
    for place, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        if flag in flags:
            following = arguments[place + 1] if place + 1 < len(arguments) else "--"
            found = value if equals else "" if following.startswith("--") else following
    return found


def has(arguments: Sequence[str], *flags: str) -> bool:
    """Return whether one of the options is there."""
    return value_of(arguments, *flags) is not None


def requests_of(options: SglangOptions) -> int | None:
    """Return how many requests the benchmark is to make, None where nobody says."""
    serves = options.bench is Bench.SERVING
    asked = value_of(options.client_arguments if serves else options.arguments, "--num-prompts", "--num-prompt")
    return int(asked) if asked and asked.isdecimal() else None


def module_of(bench: Bench, found: Found) -> str:
    """Return the benchmark's module under the name that this SGLang has."""
    return next((name for name in MODULES[bench] if name in found.modules), MODULES[bench][0])


def python_of(options: SglangOptions, ours: str) -> tuple[str, ...]:
    """Return what starts Python where SGLang is.

    Args:
        options: How SGLang is run.
        ours: This process's own interpreter, which is not the container's.
    """
    return (*options.prefix, options.python or ("python3" if options.prefix else ours))


def model_arguments(model: str, *, made: bool, layout: Layout, arguments: Sequence[str]) -> list[str]:
    """Return a model's and a layout's options.

    Args:
        model: Its path or name.
        made: Whether it is of our own making: it has no weights.
        layout: Its spread over GPUs; what is 1 is left out.
        arguments: The user's, which come later and win.
    """
    tokens = ["--model-path", model, "--tp-size", str(layout.tp)]
    for flag, value in (("--pp-size", layout.pp), ("--dp-size", layout.dp), ("--nnodes", layout.nnodes)):
        tokens += [flag, str(value)] if value > 1 else []
    return [*tokens, "--load-format", "dummy"] if made and not has(arguments, "--load-format") else tokens


def benchmark_tokens(
    options: SglangOptions, found: Found, start: Sequence[str], model: Sequence[str], result: str, prompts: str | None
) -> list[str]:
    """Return the tokens of an offline benchmark.

    Args:
        options: How SGLang is run.
        found: What it is.
        start: What starts Python.
        model: ``model_arguments``.
        result: The file that takes the JSONL.
        prompts: A file in ShareGPT's format; None leaves the dataset to SGLang.
    """
    tokens = [*start, "-m", module_of(options.bench, found), *model, "--result-filename", result]
    wants_prompts = prompts is not None and options.bench is Bench.OFFLINE
    return [*tokens, *(_dataset(options.arguments, prompts) if wants_prompts else []), *options.arguments]


def server_tokens(options: SglangOptions, start: Sequence[str], model: Sequence[str], address: Address) -> list[str]:
    """Return the tokens of a server."""
    listens = ["--host", address.host, "--port", str(address.port)]
    return [*start, "-m", SERVER, *model, *listens, *options.arguments]


def client_tokens(
    options: SglangOptions,
    found: Found,
    start: Sequence[str],
    model: str,
    address: Address,
    result: str,
    prompts: str | None,
) -> list[str]:
    """Return the tokens of bench_serving."""
    asked = options.client_arguments
    named = [] if has(asked, "--model") else ["--model", model]
    to = ["--backend", "sglang", "--host", address.host, "--port", str(address.port)]
    tokens = [*start, "-m", module_of(options.bench, found), *to, *named, "--output-file", result]
    return [*tokens, *_dataset(asked, prompts), *asked]


def _dataset(arguments: Sequence[str], prompts: str | None) -> list[str]:
    return [] if prompts is None or has(arguments, "--dataset-path") else ["--dataset-path", prompts]


def client_results(repeats: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the files that take client runs' results: those to throw away, and those that count.

    Args:
        repeats: Runs that count; before several of them, one warms the server up.
    """
    if repeats == 1:
        return (), (RESULT,)
    return (WARM_UP,), tuple(f"result-{number}.jsonl" for number in range(1, repeats + 1))


def medians(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the median of each value that all runs have."""
    return {name: statistics.median(run[name] for run in runs) for name in runs[0] if all(name in run for run in runs)}


def result_of(text: str, metric: str) -> dict[str, float]:
    """Return the numbers of the benchmark's one result.

    Args:
        text: The JSONL.
        metric: What must be among them.

    Raises:
        ValueError: It is not; the message is for people.
    """
    results = [numbers_of(line) for line in text.splitlines() if line.strip()]
    if len(results) != 1:
        why = "several batch sizes or lengths make several results; ask for one" if results else "nothing was measured"
        raise ValueError(f"{RESULT} holds {len(results)} results, not one: {why}")
    numbers = results[0]
    if metric not in numbers:
        raise ValueError(f"{RESULT} has no number {metric!r}; it has {', '.join(sorted(numbers)) or 'none at all'}")
    if numbers[metric] <= 0:
        raise ValueError(f"{RESULT}: {metric} is {numbers[metric]:g}, not positive")
    return numbers


def numbers_of(line: str) -> dict[str, float]:
    """Return the finite numbers of a line of JSONL.

    Raises:
        ValueError: It is no JSON object.
    """
    entry: Any = any_json(line)
    if not isinstance(entry, Mapping):
        raise ValueError(f"{RESULT}: {line[:80]!r} is no JSON object")
    numbers = ((name, finite(value)) for name, value in entry.items() if not isinstance(value, str))
    return {name: number for name, number in numbers if number is not None}


def layout_of(text: str, base: Layout) -> Layout:
    """Return the layout that ``tp=8,pp=2`` says; what it does not name is 1, and the nodes are the base's.

    Raises:
        UsageError: It is none.
    """
    values = {"nnodes": base.nnodes}
    for part in text.split(","):
        name, equals, number = part.partition("=")
        if not equals or name not in ("tp", "pp", "dp", "nnodes") or not number.isdecimal() or int(number) < 1:
            raise UsageError(f"--variants {text!r}: {part!r} is none of tp=N, pp=N, dp=N, nnodes=N")
        values[name] = int(number)
    return Layout(**values)
