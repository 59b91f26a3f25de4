"""One rank of a gang for tests: does what its argument says, and rank 0 prints what came of it as records."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

from ncclprobe.errors import MeasurementTimeout
from ncclprobe.launchers.channel import Channel
from ncclprobe.launchers.gang import Gang

channel = Channel()
gang = Gang(os.environ)
channel.abort = gang.close
what = sys.argv[1]
gang.patience_s = {"die": 30.0, "months": 1e10}.get(what, 1.0)
said: object = None
began = time.monotonic()
try:
    if what in ("gather", "months"):
        said = [one.decode() for one in gang.gather(f"from {gang.rank}".encode())]
    elif what == "share":
        said = gang.share(b"x" * 300_000 if gang.rank == 0 else None).decode()
    elif what == "local":
        said = [gang.hosts[0], *(int(one) for one in gang.gather(str(gang.local_rank).encode()))]
    elif what == "stop":
        if gang.rank == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        gang.gather(b"")
    elif what == "die":
        if gang.rank == 1:
            os._exit(0)  # with an error, its starter would end the others before they have said anything
        gang.gather(b"")
    elif what == "trouble":
        if gang.rank != 0:
            raise gang.trouble("was stuck")
        gang.gather(b"fine")
    elif what == "all":
        raise gang.trouble(f"was stuck in {'Tree' if gang.rank % 2 else 'Ring'}")
    elif what == "fast":
        for _ in range(200):
            gang.gather(b"12345678")
        said = (time.monotonic() - began) / 200 * 1e6
except MeasurementTimeout as problem:
    said = f"timeout: {problem}"
if gang.rank == 0:
    channel.send(json.dumps([said, time.monotonic() - began]).encode())
elif what == "trouble":
    sys.stderr.write(f"rank {gang.rank}: {said}\n")
