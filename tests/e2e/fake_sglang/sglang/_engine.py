"""The engine: starts a worker a rank with rewritten variables, and kills them at the end, as SGLang does."""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time


def environment(arguments: argparse.Namespace) -> dict[str, str]:
    """Return the workers' variables. Source: SGLang 0.5.17, srt/entrypoints/engine.py (_set_envs_and_config)."""
    changed = dict(os.environ)
    for name in ("NCCL_CUMEM_ENABLE", "NCCL_NVLS_ENABLE"):
        changed.setdefault(name, "0")
    changed["CUDA_DEVICE_MAX_CONNECTIONS"] = "8"
    changed.pop(changed.get("FAKE_DROPS", ""), None)
    if name := changed.get("FAKE_REWRITES"):
        changed[name] = "rewritten"
    return changed


def sizes(arguments: argparse.Namespace) -> list[int]:
    """Return the tokens of the all-reduces that go through NCCL: all, or those too large for SGLang's own."""
    through = arguments.disable_custom_all_reduce and arguments.enforce_disable_flashinfer_allreduce_fusion
    small = [tokens for tokens in (1, 2, 4, 8, 16, 32) if tokens <= arguments.cuda_graph_max_bs_decode]
    return [*(small if through or arguments.nnodes > 1 else []), 8192]


class Engine:
    def __init__(self, arguments: argparse.Namespace) -> None:
        config = json.loads((pathlib.Path(arguments.model_path) / "config.json").read_text())
        if config["num_attention_heads"] % arguments.tp_size:
            raise AssertionError("num_heads % attn_tp_size == 0")
        local = arguments.tp_size * arguments.pp_size // arguments.nnodes
        told = {
            "messages": [tokens * config["hidden_size"] * 2 for tokens in sizes(arguments)],
            "repeats": 2 * config["num_hidden_layers"],
            "nranks": arguments.tp_size,
            "nnodes": arguments.nnodes,
        }
        env = environment(arguments)
        self.workers = [
            subprocess.Popen(
                [sys.executable, "-m", "sglang._worker", str(arguments.node_rank * local + rank), json.dumps(told)],
                env=env,
                stdout=subprocess.PIPE,
            )
            for rank in range(local)
        ]
        for worker in self.workers:
            if worker.stdout.readline() != b"ready\n":
                raise RuntimeError("a worker failed")
        time.sleep(float(os.environ.get("FAKE_SECONDS", "0.4")))

    def shutdown(self) -> None:
        for worker in self.workers:
            worker.send_signal(signal.SIGKILL)
            worker.wait()
            worker.stdout.close()


def speed(arguments: argparse.Namespace) -> float:
    """Return tokens a second: more with more ranks, by the factor that the test sets, and a little noise."""
    factor = float(os.environ.get("FAKE_SPEED", "1"))
    return 1000.0 * arguments.tp_size**0.5 * factor * random.uniform(0.995, 1.005)


def append(path: str, result: dict[str, object]) -> None:
    left_out = os.environ.get("FAKE_LEAVES_OUT", "")
    with pathlib.Path(path).open("a") as file:
        file.write(json.dumps({name: value for name, value in result.items() if name != left_out}) + "\n")
