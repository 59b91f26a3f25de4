#!/bin/bash
export NCCL_DEBUG=INFO
export NCCL_DEBUG_SUBSYS=INIT,NET,ENVIRONMENT
export NCCL_IB_HCA="^mlx5_1"
export NCCL_NET_GDR_LEVEL=pix
export NCCL_PROTO="^LL"
export NCCL_P2P_DISABLE=1
export NCCL_P2P_LEVEL=SYS
export NCCL_NVLS_ENABLE=0
export NCCL_ALGO=nvls,nvlstree
export NCCL_IB_TIMEOUT=50
NCCL_IB_RETRY_CNT=7
export NCCL_SOCKET_IFNAME=ib0
export NCCL_SOCKET_IFNAME=ib1

mpirun --hostfile hosts -np 16 --map-by ppr:8:node \
  -x LD_LIBRARY_PATH -x NCCL_DEBUG -x NCCL_IB_HCA \
  -x NCCL_NET_GDR_LEVEL -x NCCL_PROTO -x NCCL_ALGO \
  python -m sglang.bench_one_batch --tp 16
