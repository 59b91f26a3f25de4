"""Read what a node has, judge it, and derive NCCL_IB_HCA."""
