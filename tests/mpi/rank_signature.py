"""One rank: sends, for each algorithm of MPICH's all-reduce, a number that depends on the order of its additions."""

from __future__ import annotations

import zlib

import msgspec
import numpy as np
from mpi4py import MPI

from ncclprobe.backends.mpi_ranks import MpiRank
from ncclprobe.launchers.channel import Channel
from ncclprobe.names import Collective
from ncclprobe.records.sweep import DEFAULT_CELL

channel = Channel()
side = MpiRank()
mine = np.random.default_rng(side.rank).standard_normal(4096).astype(np.float32)
total = np.empty_like(mine)
signatures = {}
for cell in (DEFAULT_CELL, *side.choices().cells(Collective.ALL_REDUCE)):
    side._selector.select(Collective.ALL_REDUCE, cell).Allreduce(mine, total, MPI.SUM)
    side._selector.select(Collective.ALL_REDUCE, DEFAULT_CELL)
    signatures[cell.algo] = side.world.gather(zlib.crc32(total.tobytes()))
if side.rank == 0:
    channel.send(msgspec.json.encode(signatures))
