#!/bin/bash
# shellcheck disable=SC2034
use_ib() { export NCCL_NET=IB; export NCCL_IB_HCA="$1"; }
function use_tcp {
  export NCCL_IB_DISABLE=1
  export NCCL_SOCKET_NTHREADS=4 NCCL_NSOCKS_PERTHREAD=4
}
if ibstat &> /dev/null; then use_ib "=mlx5_0"; else use_tcp; fi
( export NCCL_MAX_CTAS=8; ./decode ) &
( export NCCL_MAX_CTAS=32; ./prefill ) &
wait
