"""A starter of ranks on given hosts, and each of its ranks: who listens where, and who shows the token."""

from __future__ import annotations

import json
import os
import pathlib
import socket
import struct
import sys

from ncclprobe.launchers import make_launcher
from ncclprobe.launchers.base import python_job
from ncclprobe.launchers.channel import Channel
from ncclprobe.launchers.gang import MEET_VARIABLE, Gang, Meeting
from ncclprobe.launchers.run import run_ranks


def listening(port: int) -> list[str]:
    """Return the addresses on which this host listens at a port."""
    rows = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
    places = [row[1].split(":") for row in rows if row[3] == "0A"]
    return [socket.inet_ntoa(struct.pack("<I", int(host, 16))) for host, at in places if int(at, 16) == port]


def shown(token: str) -> list[str]:
    """Return the command lines of this host in which the token stands."""
    files = pathlib.Path("/proc").glob("[0-9]*/cmdline")
    return [words for file in files if token in (words := file.read_text().replace("\0", " "))]


def rank() -> None:
    channel, (token, port, _) = Channel(), os.environ[MEET_VARIABLE].split("@")
    gang = Gang(os.environ)
    own = json.dumps([os.uname().nodename, listening(int(port)), shown(token)])
    said = [json.loads(one) for one in gang.gather(own.encode())]
    if gang.rank == 0:
        channel.send(json.dumps(said).encode())


def start(launcher: str, hosts: tuple[str, ...]) -> None:
    with Meeting(len(hosts), here=False, hosts=hosts) as meeting:
        job = python_job("unused", nranks=len(hosts), hosts=hosts).with_(inherited=meeting.environment)
        job = job.with_(program=(sys.executable, __file__))
        for line in run_ranks(job, make_launcher(launcher), timeout_s=20):
            sys.stdout.write(line.decode() + "\n")


if __name__ == "__main__":
    start(sys.argv[1], tuple(sys.argv[2:])) if sys.argv[1:] else rank()
