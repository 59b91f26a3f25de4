#!/usr/bin/env bash
#SBATCH --nodes=2 --gpus-per-node=4
export NCCL_NET_GDR_LEVEL=PHB
srun --export=ALL,NCCL_DEBUG=WARN,NCCL_CROSS_NIC=1 python train.py
