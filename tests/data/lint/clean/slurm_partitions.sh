#!/bin/bash
#SBATCH --nodes=2
case "$SLURM_JOB_PARTITION" in
  h100)
    export NCCL_IB_HCA==mlx5_0,mlx5_1,mlx5_2,mlx5_3
    export NCCL_NET_GDR_LEVEL=PXB
    ;;
  a100|a100-80)
    export NCCL_IB_HCA==mlx5_0,mlx5_1
    export NCCL_NET_GDR_LEVEL=PHB
    ;;
  *) echo "no settings for $SLURM_JOB_PARTITION" >&2 ;;
esac
if [[ "${DEBUG:-0}" == 1 ]]; then
  export NCCL_DEBUG=INFO
else
  export NCCL_DEBUG=WARN
fi
[ -n "${EXTRA_QPS:-}" ] && export NCCL_IB_QPS_PER_CONNECTION=$EXTRA_QPS
srun python pretrain.py
