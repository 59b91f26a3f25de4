#!/bin/bash
#PBS -N nccl-tests
#PBS -l select=2:ncpus=96:ngpus=8:mpiprocs=8
#PBS -l walltime=00:20:00
#PBS -q gpu
cd "$PBS_O_WORKDIR" || exit 1
module purge && module load openmpi/4.1.6 cuda/12.4
export NCCL_IB_HCA='=mlx5_0,mlx5_1,mlx5_2,mlx5_3'
export NCCL_DEBUG=VERSION
mpirun -np 16 --map-by ppr:8:node --hostfile "$PBS_NODEFILE" \
  -x NCCL_IB_HCA -x NCCL_DEBUG -x LD_LIBRARY_PATH -x PATH \
  ./all_reduce_perf -b 8 -e 2G -f 2 -g 1
