#!/bin/bash
HOSTS=gpu01:8,gpu02:8
mpirun -np 16 -H "$HOSTS" --allow-run-as-root --bind-to none \
       -x NCCL_DEBUG=INFO \
       -x NCCL_DEBUG_SUBSYS=TUNING,GRAPH \
       -x NCCL_SOCKET_IFNAME=eno1 \
       -x NCCL_MIN_NCHANNELS=4 -x NCCL_MAX_NCHANNELS=16 \
       -x LD_LIBRARY_PATH \
       /opt/nccl-tests/build/all_reduce_perf -b 8M -e 8G -f 2 -g 1
