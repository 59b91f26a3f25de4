"""``python -m sglang.bench_offline_throughput``."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from sglang._arguments import parser
from sglang._engine import Engine, append, speed


def main() -> None:
    options = parser()
    options.add_argument("--result-filename", default="")
    options.add_argument("--dataset-name", default="sharegpt", choices=["sharegpt", "random"])
    options.add_argument("--dataset-path", default="")
    options.add_argument("--num-prompts", type=int, default=1000)
    options.add_argument("--random-input-len", type=int, default=1024)
    arguments = options.parse_args()
    conversations = json.loads(Path(arguments.dataset_path).read_text())
    assert all(len(one["conversations"]) == 2 for one in conversations)
    engine = Engine(arguments)
    if os.environ.get("FAKE_FAILS"):
        raise RuntimeError("CUDA out of memory")
    if arguments.node_rank > 0:
        time.sleep(600)
    total, served = speed(arguments), min(arguments.num_prompts, len(conversations))
    engine.shutdown()
    append(
        arguments.result_filename,
        {
            "backend": "engine",
            "successful_requests": served,
            "total_latency": 1.0,
            "total_input_tokens": round(total * 0.6),
            "total_output_tokens": round(total * 0.4),
            "request_throughput": float(served),
            "input_throughput": total * 0.6,
            "output_throughput": total * 0.4,
            "total_throughput": total,
            "last_gen_throughput": 0.0,
        },
    )


if __name__ == "__main__":
    main()
