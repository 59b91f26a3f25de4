#!/usr/bin/env bash
# Node 0 runs this with RANK=0, node 1 with RANK=1.
RANK=${1:?rank}
docker run --rm --gpus all --network host --ipc host --ulimit memlock=-1 \
  -e NCCL_IB_HCA="=mlx5_0:1,mlx5_1:1" \
  -e NCCL_IB_GID_INDEX=3 \
  -e GLOO_SOCKET_IFNAME=bond0 \
  --env NCCL_SOCKET_IFNAME=bond0 \
  --device /dev/infiniband -v /models:/models lmsysorg/sglang:latest \
  python3 -m sglang.launch_server --model-path /models/DeepSeek-V3 --tp 16 --nnodes 2 --node-rank "$RANK" \
  --dist-init-addr 10.0.0.1:5000
