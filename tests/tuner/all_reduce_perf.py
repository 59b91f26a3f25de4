"""Stands for nccl-tests: asks the real plugin, if one is named, as NCCL 2.28 does, and writes NCCL's log and a row."""

from __future__ import annotations

import os
import pathlib
import sys

from fake_nccl import FakeNccl

size = int(sys.argv[sys.argv.index("-b") + 1])
plugin = os.environ.get("NCCL_TUNER_PLUGIN")
words, nchannels = "Algo TREE proto LL", 0
if plugin:
    ran = FakeNccl(pathlib.Path(plugin), 5, nranks=2, logs=False).ask(size=size)
    words, nchannels = f"Algo {ran.algo.upper()} proto {ran.proto.upper()}", ran.nchannels  # type: ignore[union-attr]
used = min(nchannels or 4, max(1, size // 16384))
log = pathlib.Path(os.environ["NCCL_DEBUG_FILE"].replace("%p", str(os.getpid())))
log.write_text(f"h:1:1 [0] NCCL INFO AllReduce: {size} Bytes -> {words} channel{{Lo..Hi}}={{0..{used - 1}}}\n")
time_us = 20.0 if words == "Algo TREE proto LL" else 10.0
sys.stdout.write(
    f"  {size}  {size // 2}  bfloat16  sum  -1  {time_us:.2f}  0.11  0.11  0  {time_us:.2f}  0.11  0.11  0\n"
)
