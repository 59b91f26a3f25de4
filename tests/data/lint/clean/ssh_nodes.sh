#!/bin/bash
# starts one server a node; each sets its own environment
rank=0
while read -r host; do
  ssh -n "$host" "cd $PWD && export NCCL_DEBUG=WARN NCCL_SOCKET_IFNAME=ens3 && \
    nohup python -m sglang.launch_server --nnodes 2 --node-rank $rank > server.$rank.log 2>&1 &"
  rank=$((rank + 1))
done < hosts.txt
wait
