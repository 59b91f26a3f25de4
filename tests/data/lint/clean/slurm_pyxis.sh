#!/bin/bash
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
: "${IMAGE:=nvcr.io#nvidia/pytorch:25.09-py3}"
export NCCL_NVLS_ENABLE=1 NCCL_CUMEM_ENABLE=1
export MELLANOX_VISIBLE_DEVICES=all
srun --container-image="$IMAGE" --container-mounts="$PWD:/work" --mpi=pmix \
     all_reduce_perf_mpi -b 1M -e 8G -f 2
