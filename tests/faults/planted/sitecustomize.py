"""Imported by every Python that has this folder on PYTHONPATH: spoils what one rank receives, as its variables say."""

import os

if "PMI_RANK" in os.environ and "PLANTED_RANK" in os.environ:
    from ncclprobe.backends.mpi_fleet import MpiFleetRank
    from ncclprobe.backends.mpi_ranks import MpiRank
    from ncclprobe.e2e import decode

    MINE = os.environ["PMI_RANK"] == os.environ["PLANTED_RANK"]
    ALGO, SIZE = os.environ.get("PLANTED_ALGO"), int(os.environ.get("PLANTED_SIZE", "0"))
    EVERY = int(os.environ.get("PLANTED_EVERY", "1"))
    calls = 0

    def is_due() -> bool:
        global calls
        calls += 1
        return MINE and calls % EVERY == 0

    sweep_run, fleet_wait, decoded = MpiRank.run, MpiFleetRank._briskly, decode.decode

    def run(self, point, cell, operations):
        seconds = sweep_run(self, point, cell, operations)
        if cell.algo == ALGO and point.size_bytes == SIZE and is_due():
            self._buffers[point].used()[0][1][-1] += 1
        return seconds

    def _briskly(self, request):
        fleet_wait(self, request)
        if is_due():
            self._receive[0] += 1

    def decode_wrongly(*arguments):
        return decoded(*arguments) + (1.0 if is_due() else 0.0)

    MpiRank.run, MpiFleetRank._briskly, decode.decode = run, _briskly, decode_wrongly
