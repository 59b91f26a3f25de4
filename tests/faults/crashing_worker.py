"""A worker whose second rank dies, as by a fault in its library, whenever it runs the cell in FAULT_CELL."""

from __future__ import annotations

import importlib
import os
import signal
import sys

from ncclprobe.sweep import worker

MODULE, _, CLASS = worker.RANK_SIDES[sys.argv[1]].partition(":")
SIDE = getattr(importlib.import_module(MODULE), CLASS)


class CrashingRank(SIDE):  # type: ignore[misc, valid-type]
    """One of them crashes."""

    def run(self, point, cell, operations):
        if cell.label == os.environ["FAULT_CELL"] and self.rank == 1:
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().run(point, cell, operations)


if __name__ == "__main__":
    worker.RANK_SIDES[sys.argv[1]] = f"{__name__}:{CrashingRank.__name__}"
    worker.main()
