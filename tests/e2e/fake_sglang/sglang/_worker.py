"""One rank: has a libnccl mapped, loads the tuner plugin as NCCL does, and writes NCCL's log."""

from __future__ import annotations

import json
import mmap
import os
import pathlib
import platform
import sys
import tempfile
import time

import fake_nccl

from ncclprobe.names import Algo, Collective, Proto

VERSION = os.environ.get("FAKE_NCCL", "2.28.9")


def mapped_library() -> mmap.mmap:
    path = pathlib.Path(tempfile.mkdtemp(prefix="fake-nccl-")) / "libnccl.so.2"
    path.write_bytes(b"\0" * mmap.PAGESIZE)
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), mmap.PAGESIZE, prot=mmap.PROT_READ)


class Log:
    def __init__(self) -> None:
        self.prefix = f"{platform.node()}:{os.getpid()}:{os.getpid()} [0] NCCL INFO "
        name = os.environ.get("NCCL_DEBUG_FILE", os.devnull) if os.environ.get("NCCL_DEBUG") == "INFO" else os.devnull
        self.path = pathlib.Path(name.replace("%h", platform.node()).replace("%p", str(os.getpid())))

    def say(self, text: str) -> None:
        with self.path.open("a") as file:
            file.write(f"{self.prefix}{text}\n")


def plugin(told: dict[str, int], log: Log) -> fake_nccl.FakeNccl | None:
    name = os.environ.get("NCCL_TUNER_PLUGIN", "none")
    if name == "none":
        return None
    try:
        made = fake_nccl.FakeNccl(pathlib.Path(name), 5, nranks=told["nranks"], nnodes=told["nnodes"])
    except OSError:
        log.say(f"TUNER/Plugin: Could not find: {name}. Using internal tuner plugin.")
        return None
    log.say("TUNER/Plugin: Using ncclprobe (v5)")
    return made


def choices(told: dict[str, int], tuner: fake_nccl.FakeNccl | None, rank: int, log: Log) -> None:
    for size in [4, *told["messages"]]:
        for _ in range(told["repeats"]):
            ran = fake_nccl.Ran(Algo.RING, Proto.SIMPLE, 0) if tuner is None else tuner.ask(Collective.ALL_REDUCE, size)
            if rank == 0:
                words = f"Algo {ran.algo.value.upper()} proto {ran.proto.value.upper()}"
                log.say(f"AllReduce: {size} Bytes -> {words} channel{{Lo..Hi}}={{0..{max(ran.nchannels, 16) - 1}}}")


def main(rank: int, told: dict[str, int]) -> None:
    library, log = mapped_library(), Log()
    if rank == 0:
        log.say(f"NCCL version {VERSION}+cuda13.0")
    for name, value in sorted(os.environ.items()):
        if name.startswith("NCCL_") and not name.startswith("NCCL_DEBUG"):
            log.say(f"{name} set by environment to {value}{'.' if value.isdecimal() else ''}")
    log.say("NET/IB : Using [0]mlx5_0:1/IB [RO]; OOB eth0:10.0.0.1<0>")
    comm = f"rank {rank} nRanks {told['nranks']} nNodes {told['nnodes']} localRanks 1 localRank {rank}"
    log.say(f"comm 0x1 {comm} MNNVL 0")
    if told["nnodes"] > 1:
        log.say("Channel 00/0 : 0[0] -> 1[0] [send] via NET/IB/0/GDRDMA")
    choices(told, plugin(told, log), rank, log)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    time.sleep(60)
    library.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), json.loads(sys.argv[2]))
