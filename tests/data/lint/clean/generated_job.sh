#!/bin/bash
# writes a job and submits it
export NCCL_DEBUG=WARN
cat > job.sh <<'JOB'
#!/bin/bash
#SBATCH --nodes=2
export NCCL_IB_TIMEOUT=22
export NCCL_IB_RETRY_CNT=7
srun python train.py
JOB
sbatch job.sh
cat <<NOTE
Set NCCL_FOO to whatever you like; this is only text.
NOTE
python - <<'PY'
import os
os.environ["NCCL_WHATEVER"] = "1"
PY
