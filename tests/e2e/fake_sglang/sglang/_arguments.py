"""SGLang's options, those that the tests use; what is none of them is refused, as SGLang does."""

from __future__ import annotations

import argparse


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser()
    made.add_argument("--model-path", "--model", required=True)
    made.add_argument("--load-format", default="auto")
    made.add_argument("--tp-size", "--tensor-parallel-size", type=int, default=1)
    made.add_argument("--pp-size", "--pipeline-parallel-size", type=int, default=1)
    made.add_argument("--dp-size", "--data-parallel-size", type=int, default=1)
    made.add_argument("--nnodes", type=int, default=1)
    made.add_argument("--node-rank", type=int, default=0)
    made.add_argument("--dist-init-addr")
    made.add_argument("--attention-backend")
    made.add_argument("--max-running-requests", type=int)
    made.add_argument("--cuda-graph-max-bs-decode", type=int, default=16)
    made.add_argument("--disable-custom-all-reduce", action="store_true")
    made.add_argument("--enforce-disable-flashinfer-allreduce-fusion", action="store_true")
    return made
