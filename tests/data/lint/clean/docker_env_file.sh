#!/bin/bash
export NCCL_DEBUG=WARN
export SGLANG_TORCH_PROFILER_DIR=/tmp/profile
docker run --rm --gpus all --env-file ./cluster.env -e NCCL_DEBUG -e SGLANG_TORCH_PROFILER_DIR lmsysorg/sglang:latest \
  python3 -m sglang.launch_server --model-path /models/v3 --tp 8
