"""What is known to go wrong with a combination of SGLang's options, before anything is run.

Every check names where it was read: in SGLang's source, or in a report of its users. Nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from ncclprobe.e2e.evidence import Expected
from ncclprobe.e2e.sglang_command import has, value_of
from ncclprobe.e2e.sglang_model import ModelFacts
from ncclprobe.findings import Finding, info, warning
from ncclprobe.records.e2e import Bench, Layout, SglangOptions

READ_IN = "0.5.17"
"""The SGLang in whose source the checks were read."""
RESERVED_BYTES = 10 << 30
"""What SGLang leaves beside weights and cache on GPUs of over 60 GiB. Source: SGLang 0.5.17, srt/server_args.py"""
LARGE_GPU_BYTES = 60 << 30
_DP_ATTENTION = "--enable-dp-attention"
_ALGORITHM = ("--speculative-algorithm", "--speculative-algo")
_GRAPH_BATCH = ("--cuda-graph-max-bs-decode", "--cuda-graph-max-bs")
_EXPERTS = ("--ep-size", "--ep", "--expert-parallel-size")
_ARGS, _HOOK = "srt/server_args.py", "srt/arg_groups/speculative_hook.py"


class Asked(NamedTuple):
    """What one arm asks of SGLang."""

    arm: str
    """Its name."""
    layout: Layout
    """Its spread over GPUs."""
    arguments: Sequence[str]
    """SGLang's own."""
    facts: ModelFacts
    """What is known of the model."""
    gpu_bytes: int | None
    """Memory of a GPU."""
    bench: Bench
    """Which benchmark."""

    def number(self, *flags: str) -> int | None:
        """Return an option's number, None where it is absent or none."""
        text = value_of(self.arguments, *flags)
        return int(text) if text is not None and text.isdecimal() else None

    @property
    def dp_attention(self) -> bool:
        """Return whether attention is data-parallel; SGLang ignores the option for one replica."""
        return has(self.arguments, _DP_ATTENTION) and self.layout.dp > 1


def checks(
    arm: str, layout: Layout, options: SglangOptions, facts: ModelFacts | None, version: str | None = None
) -> tuple[Finding, ...]:
    """Return what is doubtful about an arm.

    Args:
        arm: Its name.
        layout: Its spread over GPUs.
        options: How SGLang is run.
        facts: What the model's config.json says; None where it is not at hand.
        version: The SGLang that is here; None where it does not say.
    """
    asked = Asked(arm, layout, options.arguments, facts or ModelFacts(), options.gpu_bytes, options.bench)
    groups = (_division(asked), _nodes(asked), _speculation(asked), _pages(asked), _graphs(asked), _memory(asked))
    found = tuple(finding for group in groups for finding in group)
    other = f" (this is SGLang {version})" if version not in (None, READ_IN) else ""
    return tuple(msgspec.structs.replace(finding, hint=finding.hint + other) for finding in found)


def _refused(asked: Asked, what: str, where: str, instead: str) -> Finding:
    hint = f"{instead} Source: SGLang {READ_IN}, {where}"
    return warning("sglang-refuses", asked.arm, f"SGLang refuses this: {what}.", hint)


def _reported(asked: Asked, what: str, where: str, instead: str) -> Finding:
    return warning("sglang-known-failure", asked.arm, f"Others saw this fail: {what}.", f"{instead} Source: {where}")


# ---- layouts


def _division(asked: Asked) -> Iterator[Finding]:
    layout, facts = asked.layout, asked.facts
    if asked.dp_attention and layout.tp % layout.dp:
        what = f"with DP attention, tp={layout.tp} is no multiple of dp={layout.dp}"
        yield _refused(asked, what, f"{_ARGS} (_handle_data_parallelism)", "Choose a dp that divides tp.")
        return
    ranks = layout.tp // layout.dp if asked.dp_attention else layout.tp
    heads, experts, width = facts.num_attention_heads, facts.n_routed_experts, facts.moe_intermediate_size
    if heads and heads % ranks:
        what = f"{heads} attention heads do not divide among {ranks} ranks"
        yield _refused(asked, what, "srt/models/deepseek_v2.py (num_heads % attn_tp_size)", f"tp must divide {heads}.")
    if experts and layout.tp > experts:
        what = f"tp={layout.tp} is more than the model's {experts} experts"
        yield _refused(asked, what, "srt/models/deepseek_v2.py (n_routed_experts)", f"At most tp={experts}.")
    parts = asked.number(*_EXPERTS) or 1
    if experts and experts % parts:
        what = f"{experts} experts do not divide among {parts} groups"
        yield _refused(asked, what, "srt/layers/moe/fused_moe_triton/layer.py", f"--ep-size must divide {experts}.")
    elif experts and width and layout.tp % parts == 0 and width % (layout.tp // parts):
        what = f"experts of width {width} do not divide among {layout.tp // parts} ranks"
        yield _refused(
            asked,
            what,
            "srt/layers/moe/fused_moe_triton/layer.py (intermediate_size)",
            "Choose another tp or --ep-size.",
        )


def _nodes(asked: Asked) -> Iterator[Finding]:
    layout = asked.layout
    if layout.tp * layout.pp % layout.nnodes:
        what = f"{layout.tp} × {layout.pp} ranks do not divide among {layout.nnodes} nodes"
        yield _refused(asked, what, f"{_ARGS} (check_server_args)", "tp × pp must be a multiple of the nodes.")
    if layout.dp > 1 and layout.nnodes > 1 and not asked.dp_attention:
        what = f"dp={layout.dp} on {layout.nnodes} nodes without {_DP_ATTENTION}"
        yield _refused(asked, what, f"{_ARGS} (check_server_args)", f"Add {_DP_ATTENTION}.")


# ---- speculative decoding and pages


def _speculation(asked: Asked) -> Iterator[Finding]:
    algorithm = (value_of(asked.arguments, *_ALGORITHM) or "").upper()
    if algorithm and asked.layout.pp > 1:
        what = f"speculative decoding ({algorithm}) with pipeline parallelism"
        yield _refused(asked, what, f"{_ARGS} (check_server_args)", "Use pp=1.")
    if not (algorithm and asked.dp_attention):
        return
    if algorithm in ("NGRAM", "STANDALONE", "DFLASH"):
        what = f"speculative decoding by {algorithm} with DP attention"
        yield _refused(asked, what, _HOOK, f"Leave out {_DP_ATTENTION} or the speculation.")
    else:
        yield _reported(
            asked,
            f"speculative decoding ({algorithm}) with DP attention hung, failed at start, or accepted a third fewer "
            "tokens",
            "sgl-project/sglang issues 29144, 6296, 4783 and 16274",
            f"Compare with an arm without {_DP_ATTENTION}, and watch accept_length.",
        )


def _pages(asked: Asked) -> Iterator[Finding]:
    page, chunk = asked.number("--page-size"), asked.number("--chunked-prefill-size")
    if page and chunk and chunk % page:
        what = f"--chunked-prefill-size {chunk} is no multiple of --page-size {page}"
        yield _refused(asked, what, f"{_ARGS} (check_server_args)", "Choose one that is.")
    algorithm = (value_of(asked.arguments, *_ALGORITHM) or "").upper()
    if not (algorithm and page and page > 1):
        return
    backend = value_of(asked.arguments, "--attention-backend")
    branches = asked.number("--speculative-eagle-topk")
    if branches and branches > 1 and backend and backend not in _branching(algorithm):
        what = f"--speculative-eagle-topk {branches} with --page-size {page} on {backend}"
        yield _refused(asked, what, _HOOK, f"Use --page-size 1, or {' or '.join(_branching(algorithm))}.")
    if backend == "flashinfer" and algorithm in ("EAGLE", "EAGLE3", "NEXTN"):
        yield _reported(
            asked,
            f"--page-size {page} with speculative decoding on FlashInfer, for DeepSeek's attention",
            "sgl-project/sglang issue 9572 (open)",
            "Use --page-size 1 with FlashInfer, or another --attention-backend.",
        )


def _branching(algorithm: str) -> tuple[str, ...]:
    """Return the attention backends that take several branches with pages of several tokens."""
    return ("flashinfer",) if algorithm == "NGRAM" else ("flashinfer", "fa3", "triton")


# ---- graphs and memory


def _graphs(asked: Asked) -> Iterator[Finding]:
    graph, running = asked.number(*_GRAPH_BATCH), asked.number("--max-running-requests")
    if not graph or not running or graph == running or asked.bench is Bench.ONE_BATCH:
        return
    replicas = asked.layout.dp if asked.dp_attention else 1
    each = -(-running // replicas)
    if graph > each:
        yield info(
            "sglang-graph-batch",
            asked.arm,
            f"CUDA graphs are asked for batches up to {graph}, but at most {each} requests run together on a rank: "
            "SGLang captures none that are larger, and still reserves memory for them.",
            f"Set the graphs' batch size to {each}. Source: SGLang {READ_IN}, "
            f"srt/model_executor/runner/base_cuda_graph_runner.py (get_batch_sizes_to_capture), {_ARGS} "
            "(reserve_for_graph_mb)",
        )
    elif graph < each:
        yield warning(
            "sglang-graph-batch",
            asked.arm,
            f"Up to {each} requests run together on a rank, but CUDA graphs end at {graph}: larger batches are decoded "
            "without, and much more slowly.",
            f"Set the graphs' batch size to {each}. Source: sgl-project/sglang issue 33483, pull request 21005",
        )


def _memory(asked: Asked) -> Iterator[Finding]:
    text = value_of(asked.arguments, "--mem-fraction-static")
    fraction = _fraction(text)
    if text is not None and fraction is None:
        yield _refused(asked, f"--mem-fraction-static {text} is no share between 0 and 1", _ARGS, "Try 0.8.")
    if fraction is None or asked.gpu_bytes is None or asked.gpu_bytes <= LARGE_GPU_BYTES:
        return
    left = (1 - fraction) * asked.gpu_bytes
    if left < RESERVED_BYTES:
        yield warning(
            "sglang-memory-edge",
            asked.arm,
            f"--mem-fraction-static {fraction:g} leaves {left / 2**30:.1f} of {asked.gpu_bytes / 2**30:.0f} GiB for "
            "activations and CUDA graphs; SGLang by itself leaves at least 10 GiB on such a GPU.",
            f"At most {1 - RESERVED_BYTES / asked.gpu_bytes:.2f} here; others ran out of memory while "
            f"graphs were captured. Source: SGLang {READ_IN}, {_ARGS}; sgl-project/sglang pull request 5893",
        )


def _fraction(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 < value < 1 else None


# ---- what NCCL must see


def expected_all_reduces(facts: ModelFacts | None, layout: Layout, arguments: Sequence[str]) -> Expected | None:
    """Return the all-reduces of one forward pass, None where the layout needs none that could be counted.

    Each layer makes two; where experts exchange tokens otherwise, one is left, so one a layer is the least.
    Data-parallel attention gathers and scatters instead.

    Source: SGLang 0.5.17, srt/models/deepseek_v2.py; Megatron-LM (Shoeybi et al. 2019, section 3)
    """
    if layout.tp == 1 or has(arguments, _DP_ATTENTION):
        return None
    known = facts or ModelFacts()
    layers = -(-(known.num_hidden_layers or 1) // layout.pp)
    return Expected(token_bytes=known.token_bytes, layers=layers)
