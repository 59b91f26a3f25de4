#!/bin/bash
NODES="h200-01 h200-02"
export NCCL_SOCKET_IFNAME=ib0
export NCCL_CROSS_NIC=3
export NCCL_TOPO_DUMP_FLE=/tmp/topo.xml
rank=0
for node in $NODES; do
  ssh "$node" "cd /srv/r1 && python3 -m sglang.launch_server --tp 16 --nnodes 2 --node-rank $rank" &
  rank=$((rank + 1))
done
wait
