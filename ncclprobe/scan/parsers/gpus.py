"""``nvidia-smi -L`` -> GPUs; lines of MIG devices belong to the GPU above them.

Source: nvidia-smi of driver 580.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ncclprobe.captured import Line
from ncclprobe.records.scan import Gpu, Host

ROW = re.compile(r"^\W*GPU (?P<index>\d{1,3}): (?P<name>.*?) ?\(UUID: (?P<uuid>GPU-[0-9a-fA-Fx-]+)\)?")


def read(lines: Iterable[Line]) -> list[Host]:
    """Return hosts: a GPU whose number comes again is another host's."""
    hosts: list[dict[int, Gpu]] = [{}]
    for match in filter(None, (ROW.match(line.text) for line in lines)):
        index = int(match["index"])
        if index in hosts[-1]:
            hosts.append({})
        hosts[-1][index] = Gpu(index=index, name=match["name"], uuid=match["uuid"])
    return [Host(host=None, gpus=tuple(gpus.values())) for gpus in hosts if gpus]
