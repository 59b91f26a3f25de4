#!/bin/bash
#SBATCH -N 2
#SBATCH --gres=gpu:8
#SBATCH --exclusive
export SGLANG_ENABLE_JIT_DEEPGEMM=1
export NCCL_IB_QPS_PER_CONNECTION=4
export NCCL_IB_SPLIT_DATA_ON_QPS=0
export GLOO_SOCKET_IFNAME=eth0
HEAD=$(scontrol show hostname $SLURM_NODELIST | head -n1)
srun --ntasks=2 --ntasks-per-node=1 bash -c '
  python3 -m sglang.launch_server --model-path /models/DeepSeek-R1 --tp 16 \
    --dist-init-addr '"$HEAD"':5000 --nnodes 2 --node-rank $SLURM_PROCID --trust-remote-code
'
