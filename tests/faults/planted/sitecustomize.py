"""Imported by every Python that has this folder on PYTHONPATH: spoils what one rank receives, as its variables say."""

import os

if "PMI_RANK" in os.environ and "PLANTED_RANK" in os.environ:
    from ncclprobe.backends import mpi_ranks
    from ncclprobe.backends.mpi_fleet import MpiFleetRank
    from ncclprobe.backends.mpi_ranks import MpiRank
    from ncclprobe.e2e import decode

    MINE = os.environ["PMI_RANK"] == os.environ["PLANTED_RANK"]
    FIRST = "PLANTED_FIRST" in os.environ  # of a sample's operations, instead of what stands there at its end
    ALGO, SIZE = os.environ.get("PLANTED_ALGO"), int(os.environ.get("PLANTED_SIZE", "0"))
    EVERY = int(os.environ.get("PLANTED_EVERY", "1"))
    calls = 0

    def is_due() -> bool:
        global calls
        calls += 1
        return MINE and calls % EVERY == 0

    sweep_run, fleet_wait, decoded = MpiRank.run, MpiFleetRank._briskly, decode.decode
    operation, due = mpi_ranks._operation, False

    def run(self, point, cell, operations):
        global due
        due = cell.algo == ALGO and point.size_bytes == SIZE and is_due()
        seconds = sweep_run(self, point, cell, operations)
        if due and not FIRST:
            self._buffers[point].used()[0][1][-1] += 1
        return seconds

    def spoiled(comm, collective, send, receive):
        call = operation(comm, collective, send, receive)

        def once():
            global due
            call()
            if due and FIRST:
                due = False
                receive[-1] += 1

        return once

    def _briskly(self, request):
        fleet_wait(self, request)
        if is_due():
            self._receive[0] += 1

    def decode_wrongly(*arguments):
        return decoded(*arguments) + (1.0 if is_due() else 0.0)

    mpi_ranks._operation = spoiled
    MpiRank.run, MpiFleetRank._briskly, decode.decode = run, _briskly, decode_wrongly
