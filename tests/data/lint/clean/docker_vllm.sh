#!/bin/bash
docker run -d --name vllm --gpus all --network host --ipc host --ulimit memlock=-1 \
  --device /dev/infiniband \
  -e NCCL_IB_HCA=mlx5_0,mlx5_3 -e NCCL_IB_GID_INDEX=3 -e NCCL_IB_TC=106 \
  -e NCCL_SOCKET_IFNAME=^docker0,lo \
  -v /models:/models:ro \
  vllm/vllm-openai:latest --model /models/DeepSeek-R1 --tensor-parallel-size 8
