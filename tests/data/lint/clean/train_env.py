"""Start one worker of a training job."""

import os

import torch
import torch.distributed as dist

os.environ["NCCL_DEBUG"] = "WARN"
os.environ.setdefault("NCCL_IB_HCA", "=mlx5_0,mlx5_3,mlx5_4,mlx5_5")
os.environ["NCCL_SOCKET_IFNAME"] = os.environ.get("IFNAME", "eth0")


def main() -> None:
    dist.init_process_group("nccl")
    tensor = torch.ones(1024, device="cuda")
    dist.all_reduce(tensor)


if __name__ == "__main__":
    main()
