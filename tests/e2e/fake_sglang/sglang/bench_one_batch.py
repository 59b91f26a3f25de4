"""``python -m sglang.bench_one_batch``."""

from __future__ import annotations

from sglang._arguments import parser
from sglang._engine import Engine, append, speed


def main() -> None:
    options = parser()
    options.add_argument("--result-filename", default="result.jsonl")
    options.add_argument("--run-name", default="default")
    options.add_argument("--batch-size", type=int, nargs="+", default=[1])
    options.add_argument("--input-len", type=int, nargs="+", default=[1024])
    options.add_argument("--output-len", type=int, nargs="+", default=[16])
    arguments = options.parse_args()
    engine = Engine(arguments)
    for batch in arguments.batch_size:
        decode = speed(arguments) * batch
        append(
            arguments.result_filename,
            {
                "run_name": arguments.run_name,
                "batch_size": batch,
                "input_len": arguments.input_len[0],
                "output_len": arguments.output_len[0],
                "prefill_latency": 0.1,
                "prefill_throughput": 10 * arguments.input_len[0] * batch,
                "median_decode_latency": batch / decode,
                "median_decode_throughput": decode,
                "total_latency": 1.0,
                "overall_throughput": decode * 1.5,
            },
        )
    engine.shutdown()


if __name__ == "__main__":
    main()
