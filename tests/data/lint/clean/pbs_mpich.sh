#!/bin/bash
#PBS -l select=4:ngpus=4
#PBS -v NCCL_DEBUG=WARN,NCCL_SOCKET_IFNAME=hsn0
#PBS -j oe
cd $PBS_O_WORKDIR
export NCCL_CROSS_NIC=1 NCCL_NET="AWS Libfabric" FI_PROVIDER=cxi
NNODES=$(sort -u $PBS_NODEFILE | wc -l)
mpiexec -n $((NNODES * 4)) -ppn 4 --cpu-bind depth -d 16 -genv NCCL_COLLNET_ENABLE 1 python3 train.py
