#!/bin/bash
NCCL_HOME=/opt/nccl
NCCL_TESTS_DIR=$HOME/nccl-tests
NCCL_VERSION=2.27.7-1
export LD_LIBRARY_PATH=$NCCL_HOME/lib:${LD_LIBRARY_PATH:-}
wget -q "https://example.org/nccl-$NCCL_VERSION.tar.gz"
make -C "$NCCL_TESTS_DIR" MPI=1 NCCL_HOME="$NCCL_HOME" -j
export NCCL_TOPO_DUMP_FILE=/tmp/topo.xml
"$NCCL_TESTS_DIR"/build/all_reduce_perf -g 8
