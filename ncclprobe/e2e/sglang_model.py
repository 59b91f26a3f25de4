"""Small models of DeepSeek-V3's architecture, with a tokenizer and prompts, for machines without weights.

``tiny-deepseek`` starts quickly; ``mid-deepseek`` has DeepSeek-V3's hidden size, so that its all-reduces carry 14 KiB a
token as the real model's do. Both are run with random weights (``--load-format dummy``).

Source: deepseek-ai/DeepSeek-V3, config.json (names of the fields; hidden_size 7168, kv_lora_rank 512, q_lora_rank 1536,
qk_nope_head_dim 128, qk_rope_head_dim 64, v_head_dim 128); Hugging Face tokenizers 0.22, the format of tokenizer.json.
"""

from __future__ import annotations

import functools
import json
import math
import random
import string
from typing import Any

import msgspec

from ncclprobe.decoding import from_json
from ncclprobe.records.base import Record

PROMPTS = "prompts.json"
"""In ShareGPT's format."""
CONFIG = "config.json"
VOCABULARY = 16384
"""Tokens: 256 bytes, the special ones, and words that fill it up, so that whatever is generated can be decoded."""
SPECIAL = ("<s>", "</s>", "<pad>")
LONGEST = 8192
"""Tokens of a sequence."""
CONVERSATIONS = 2048
"""Prompts at least. SGLang runs no more than its dataset has, however many were asked for. Source: SGLang 0.5.17,
benchmark/datasets/random.py, sharegpt.py."""
MEAN_INPUT, MEAN_OUTPUT = 313, 194
"""Tokens: ShareGPT's with DeepSeek-R1's tokenizer, 626,729 and 388,685 in 2,000 prompts.

Source: APAC HPC-AI 2025, UPM Team 2, DeepSeek-SGLang.md, "Baseline"
"""
SPREAD = 0.8
"""Standard deviation of the lengths' logarithm."""
_LEAST, _MOST = 8, 900
"""Tokens; SGLang leaves out prompts of over 1,024. Source: SGLang 0.5.17, benchmark/datasets/sharegpt.py"""
_SEED = 20251122
_BYTES_OF_VALUE = 2
"""Activations are bfloat16."""


class Size(Record, frozen=True, kw_only=True):
    """What tells the models apart."""

    hidden: int
    """``hidden_size``."""
    intermediate: int
    """Of the dense layer."""
    heads: int
    """Of attention."""
    q_lora_rank: int
    """Of the queries' compression."""


MODELS = {
    "tiny-deepseek": Size(hidden=2048, intermediate=5632, heads=16, q_lora_rank=512),
    "mid-deepseek": Size(hidden=7168, intermediate=9216, heads=32, q_lora_rank=1536),
}


class ModelFacts(Record, frozen=True, kw_only=True):
    """What a model's config.json says; None for what it does not."""

    hidden_size: int | None = None
    """Width of the residual stream."""
    num_hidden_layers: int | None = None
    """Layers."""
    num_attention_heads: int | None = None
    """Heads."""
    n_routed_experts: int | None = None
    """Experts of a layer; None for a dense model."""
    moe_intermediate_size: int | None = None
    """Width of an expert."""

    @property
    def token_bytes(self) -> int | None:
        """Return what an all-reduce carries for a token."""
        return None if self.hidden_size is None else self.hidden_size * _BYTES_OF_VALUE


def read_facts(text: str) -> ModelFacts | None:
    """Return what a config.json says, None where it is none."""
    try:
        return from_json(text, ModelFacts)
    except msgspec.DecodeError:
        return None


def model_files(name: str, prompts: int = CONVERSATIONS) -> dict[str, str]:
    """Return a model's files and their text.

    Args:
        name: A key of ``MODELS``.
        prompts: How many; the first ones are the same, however many there are.
    """
    generation = {"_from_model_config": True, "bos_token_id": 0, "eos_token_id": 1, "do_sample": False}
    return {
        CONFIG: json.dumps(_config(MODELS[name]), indent=1),
        "generation_config.json": json.dumps(generation, indent=1),
        "tokenizer.json": json.dumps(_tokenizer(), ensure_ascii=False),
        "tokenizer_config.json": json.dumps(_tokenizer_config(), indent=1),
        PROMPTS: _prompts(prompts),
    }


def _config(size: Size) -> dict[str, Any]:
    return {
        "architectures": ["DeepseekV3ForCausalLM"],
        "model_type": "deepseek_v3",
        "torch_dtype": "bfloat16",
        "vocab_size": VOCABULARY,
        "hidden_size": size.hidden,
        "intermediate_size": size.intermediate,
        "moe_intermediate_size": 1024,
        "num_hidden_layers": 4,
        "first_k_dense_replace": 1,
        "moe_layer_freq": 1,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.heads,
        "q_lora_rank": size.q_lora_rank,
        "kv_lora_rank": 512,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
        "n_routed_experts": 16,
        "n_shared_experts": 1,
        "num_experts_per_tok": 4,
        "n_group": 4,
        "topk_group": 2,
        "topk_method": "noaux_tc",
        "scoring_func": "sigmoid",
        "norm_topk_prob": True,
        "routed_scaling_factor": 2.5,
        "num_nextn_predict_layers": 0,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-06,
        "rope_theta": 10000.0,
        "rope_scaling": None,
        "max_position_embeddings": LONGEST,
        "initializer_range": 0.02,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": False,
        "use_cache": True,
        "bos_token_id": 0,
        "eos_token_id": 1,
    }


def _tokenizer() -> dict[str, Any]:
    """Return a byte-level tokenizer without merges: every byte is a token, and any text comes back as it was."""
    words = [*SPECIAL, *(byte_symbol(byte) for byte in range(256))]
    words += [f"w{number}" for number in range(len(words), VOCABULARY)]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": number, "content": word, **flags, "special": True} for number, word in enumerate(SPECIAL)
        ],
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": None,
        "decoder": level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {word: number for number, word in enumerate(words)},
            "merges": [],
        },
    }


def byte_symbol(byte: int) -> str:
    """Return the character that stands for a byte: itself where it is printable, else one from U+0100 on.

    Source: OpenAI's GPT-2 tokenizer, which byte-level tokenizers follow
    """
    return chr(byte) if _is_printable(byte) else chr(256 + sum(not _is_printable(other) for other in range(byte)))


def _is_printable(byte: int) -> bool:
    return 33 <= byte <= 126 or 161 <= byte <= 172 or 174 <= byte <= 255


def _tokenizer_config() -> dict[str, Any]:
    start, end, pad = SPECIAL
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": start,
        "eos_token": end,
        "pad_token": pad,
        "model_max_length": LONGEST,
        "clean_up_tokenization_spaces": False,
        "add_bos_token": False,
    }


@functools.lru_cache(maxsize=1)
def _prompts(count: int) -> str:
    """Return conversations of random words with ShareGPT's mean lengths."""
    draw = random.Random(_SEED)  # noqa: S311 - filler, no secret
    conversations = [
        {
            "id": str(number),
            "conversations": [
                {"from": "human", "value": _text(draw, MEAN_INPUT)},
                {"from": "gpt", "value": _text(draw, MEAN_OUTPUT)},
            ],
        }
        for number in range(count)
    ]
    return json.dumps(conversations)


def _text(draw: random.Random, mean: int) -> str:
    """Return words of a random number of bytes, log-normal with that mean before the longest are cut."""
    log_median = math.log(mean) - SPREAD**2 / 2
    length = min(_MOST, max(_LEAST, round(draw.lognormvariate(log_median, SPREAD))))
    letters = "".join(draw.choices(string.ascii_lowercase + " " * 5, k=length))
    return letters.strip().ljust(length, "x")
