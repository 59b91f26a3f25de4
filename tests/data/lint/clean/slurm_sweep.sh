#!/bin/bash
#SBATCH -N 2 --ntasks-per-node=8
# each algorithm in a run of its own
for algo in ring tree; do
  export NCCL_ALGO=allreduce:$algo
  srun ./all_reduce_perf -b 1K -e 1G -f 2 | tee "$algo.txt"
done
export NCCL_ALGO=Ring
srun ./all_reduce_perf -b 1K -e 1G -f 2 > ring.txt
export NCCL_ALGO=Ring,Tree
srun ./all_reduce_perf -b 1K -e 1G -f 2 > both.txt
unset NCCL_ALGO
srun ./all_reduce_perf -b 1K -e 1G -f 2 > default.txt
