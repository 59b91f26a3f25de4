#!/bin/bash
docker run --gpus all --network=host \
  -e NCCL_DEBUG=info -e NCCL_NTHREADS=1000 \
  -e NCCL_IB_DISABLE=1 -e NCCL_IB_HCA==mlx5_0 \
  --env=NCCL_MAX_NCHANELS=24 \
  lmsysorg/sglang:latest python3 -m sglang.launch_server --tp 8
