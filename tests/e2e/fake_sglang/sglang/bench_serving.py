"""``python -m sglang.bench_serving``."""

from __future__ import annotations

import argparse
import urllib.request

from sglang._engine import append


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--backend", default="sglang")
    options.add_argument("--host", default="0.0.0.0")
    options.add_argument("--port", type=int)
    options.add_argument("--model")
    options.add_argument("--dataset-name", default="sharegpt")
    options.add_argument("--dataset-path", default="")
    options.add_argument("--num-prompts", type=int, default=1000)
    options.add_argument("--output-file")
    arguments = options.parse_args()
    with urllib.request.urlopen(f"http://{arguments.host}:{arguments.port}/speed") as answer:
        total = float(answer.read())
    append(
        arguments.output_file,
        {
            "backend": arguments.backend,
            "dataset_name": arguments.dataset_name,
            "server_info": {"tp_size": 2},
            "duration": 1.0,
            "completed": arguments.num_prompts,
            "total_throughput": total,
            "output_throughput": total * 0.4,
            "median_ttft_ms": 1e5 / total,
            "accept_length": None,
        },
    )


if __name__ == "__main__":
    main()
