#!/bin/bash
set -a
. ./site.env
NCCL_RAS_ENABLE=0
NCCL_UID_STAGGER_THRESHOLD=512
set +a
python -m torch.distributed.launch --nproc_per_node=8 run.py
pdsh -w "node[1-4]" ". /shared/env.sh; python /shared/run.py"
