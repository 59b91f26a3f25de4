#!/bin/bash
#SBATCH --job-name=r1-two-nodes
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
set -euo pipefail
module load apptainer
export NCCL_IB_HCA="=mlx5_0,mlx5_3,mlx5_4,mlx5_5,mlx5_6,mlx5_9,mlx5_10,mlx5_11"
export NCCL_NET_GDR_LEVEL=PXB
image=$SCRATCH/sglang.sif
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun --kill-on-bad-exit=1 apptainer exec --nv --env NCCL_DEBUG=WARN "$image" \
  bash -c "python3 -m sglang.launch_server --model-path /models/DeepSeek-R1 --tp 16 --nnodes 2 \
    --node-rank \$SLURM_PROCID --dist-init-addr $head:20000"
