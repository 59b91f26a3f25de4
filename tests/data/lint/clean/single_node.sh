#!/bin/sh
# eight GPUs of one host
NCCL_DEBUG=INFO NCCL_ALGO='allreduce:nvls' ./build/all_reduce_perf -b 1G -e 1G -g 8
env NCCL_P2P_LEVEL=NVL NCCL_SHM_DISABLE=0 python -m torch.distributed.run --standalone --nproc-per-node 8 bench.py
mpirun -np 8 --bind-to numa -x NCCL_NTHREADS=512 ./build/all_gather_perf -b 1M -e 1G
