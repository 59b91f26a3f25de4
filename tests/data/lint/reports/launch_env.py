import os
import subprocess

os.environ["NCCL_ALGO"] = "Tree"
os.environ["NCCL_IB_DISABLE"] = "true"
os.environ.setdefault("NCCL_IBHCA", "mlx5_0")
os.environ.update({"NCCL_MIN_NCHANNELS": "32", "NCCL_MAX_NCHANNELS": "16"})
subprocess.run(["torchrun", "--nproc-per-node", "8", "train.py"], check=True)
