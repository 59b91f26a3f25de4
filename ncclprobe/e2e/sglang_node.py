"""SGLang on one of several nodes: ``python -m ncclprobe.e2e.sglang_node FOLDER``, started once a node by a launcher.

The folder is on a file system that all nodes share. The first node says in it where it is, and later how it ended, so
that the others end too: SGLang's further nodes would wait for requests for ever.

Source: SGLang 0.5.17, srt/entrypoints/engine.py (``node_rank >= 1``) and srt/server_args.py (--node-rank,
--dist-init-addr)
"""

from __future__ import annotations

import os
import pathlib
import platform
import signal
import sys
import time
from types import FrameType

import msgspec

from ncclprobe.e2e.telemetry_run import Telemetry
from ncclprobe.errors import LaunchError
from ncclprobe.processes import Process, end_tree, start
from ncclprobe.ranks import rank_from
from ncclprobe.records.base import Record

REQUEST, ADDRESS, STATUS = "node.json", "address", "status"
"""Files in the folder."""
ADDRESS_WITHIN_S = 120.0
POLL_S = 0.2


class NodeRequest(Record, frozen=True, kw_only=True):
    """What every node runs."""

    command: tuple[str, ...]
    """Tokens, without what differs between nodes."""
    env: dict[str, str]
    """Variables beyond the node's own."""
    port: int
    """Where the nodes meet, on the first one."""
    telemetry_s: float = 0.0
    """Between samples of this node; 0 takes none."""


def main(folder: pathlib.Path) -> int:
    """Run this node's part and return its exit status."""
    place = rank_from(os.environ)
    if place is None:
        raise LaunchError("no launcher says which node this is")
    request = msgspec.json.decode((folder / REQUEST).read_bytes(), type=NodeRequest)
    if place.rank == 0:
        _write(folder / ADDRESS, platform.node())
    node = ["--node-rank", str(place.rank), "--dist-init-addr", f"{_address(folder)}:{request.port}"]
    environment = {**os.environ, **request.env}
    with Telemetry(request.telemetry_s) as telemetry:
        telemetry.begin(folder / f"telemetry.{place.rank}.jsonl", environment.get("CUDA_VISIBLE_DEVICES"))
        process = start([*request.command, *node], env=environment, stdout=1, stderr=2)
        signal.signal(signal.SIGTERM, _stop)
        try:
            return _first(process, folder) if place.rank == 0 else _further(process, folder)
        finally:
            end_tree(process)
            telemetry.end()


def _first(process: Process[bytes], folder: pathlib.Path) -> int:
    status = process.wait()
    _write(folder / STATUS, str(status))
    return status


def _further(process: Process[bytes], folder: pathlib.Path) -> int:
    """Return 0 once the first node has ended; a status where this one ends before, and badly."""
    while not (folder / STATUS).exists():
        if (status := process.poll()) not in (None, 0):
            return int(status or 1)
        time.sleep(POLL_S)
    return 0


def _address(folder: pathlib.Path) -> str:
    deadline = time.monotonic() + ADDRESS_WITHIN_S
    while not (folder / ADDRESS).exists():
        if time.monotonic() > deadline:
            raise LaunchError(
                f"the first node did not write {folder / ADDRESS}; the folder must be shared by all nodes"
            )
        time.sleep(POLL_S)
    return (folder / ADDRESS).read_text("utf-8")


def _write(path: pathlib.Path, text: str) -> None:
    """Write a file so that others see it whole or not at all."""
    draft = path.with_name(f".{path.name}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signal.SIGTERM)


if __name__ == "__main__":
    raise SystemExit(main(pathlib.Path(sys.argv[1])))
