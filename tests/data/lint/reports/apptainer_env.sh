#!/bin/bash
apptainer exec --nv \
  --env NCCL_P2P_LEVEL=nvl,NCCL_ALGO=Ringg \
  --env SGLANG_ENABLE_JIT_DEEPGEM=1 \
  r1.sif python3 -m sglang.bench_offline_throughput --tp 8
