#!/bin/bash
#SBATCH --nodes=4
#SBATCH --export=NONE
#SBATCH --time=00:30:00
export SLURM_EXPORT_ENV=ALL
export NCCL_DEBUG=INFO
export NCCL_DEBUG_SUBSYS=INIT,NET
export NCCL_DEBUG_FILE=$PWD/nccl.%h.%p.log
srun --mpi=pmix ./build/all_reduce_perf -b 8 -e 4G -f 2 -g 1
