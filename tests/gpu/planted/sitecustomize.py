"""Imported by every Python that has this folder on PYTHONPATH: spoils one element of one of rank 1's sums."""

import os

if os.environ.get("RANK") == "1" and "PLANTED_SUM" in os.environ:
    import cupy

    from ncclprobe.backends.nccl_device import Buffers

    looked, real = 0, Buffers.count_wrong

    def count_wrong(self):
        global looked
        looked += 1
        if looked == int(os.environ["PLANTED_SUM"]):  # the lowest bits of the first element, an integer under 2^16
            cupy.cuda.runtime.memsetAsync(self._receive, 0x55, 1, self._gpu.stream.ptr)
        return real(self)

    Buffers.count_wrong = count_wrong
