"""A worker whose second rank runs another protocol than it is told, so that the ranks wait for each other for ever."""

from __future__ import annotations

from ncclprobe.backends.nccl_ranks import NcclRank
from ncclprobe.records.sweep import Cell, Point
from ncclprobe.sweep import worker

PLANTED = Cell(algo="Tree", proto="Simple")


class DisagreeingRank(NcclRank):
    """One of them hangs with the planted cell."""

    def _force(self, point: Point, cell: Cell) -> None:
        other = Cell(algo="Ring", proto="LL")
        super()._force(point, other if cell == PLANTED and self.rank == 1 else cell)


if __name__ == "__main__":
    worker.RANK_SIDES["nccl"] = f"{__name__}:{DisagreeingRank.__name__}"
    worker.main()
