"""The process that samples, as a trial sees it: told of its beginning and end, and never waited for for long."""

from __future__ import annotations

import pathlib
import select
import sys
import time
from types import TracebackType
from typing import Self

import msgspec

from ncclprobe.decoding import from_json
from ncclprobe.e2e.telemetry import summarised
from ncclprobe.e2e.telemetry_worker import Begin
from ncclprobe.errors import ProbeError
from ncclprobe.processes import DEVNULL, PIPE, Process, kill_group, start
from ncclprobe.records.telemetry import HostTelemetry, Sample

WORKER = "ncclprobe.e2e.telemetry_worker"
FILE = "telemetry.jsonl"
FILES = "telemetry*.jsonl"
"""Those of further nodes have their number in their name."""
READY_WITHIN_S = 30.0
ANSWER_WITHIN_S = 10.0
"""Longer than the worker waits for its sources, one after the other."""
GIVE_UP_AFTER = 2
"""Workers that were lost."""
END_WITHIN_S = 1.0


class Telemetry:
    """Samples this machine in a process of its own, started once for all trials: its start would disturb one."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s, self._lost = interval_s, 0
        self._process: Process[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it, and return once it is ready: NVML may take long to open."""
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it; a process that the kernel holds on to is left behind."""
        process, self._process = self._process, None
        if process is None or process.stdin is None or process.stdout is None:
            return
        with process.stdout:
            _close(process)
            if not _has_ended(process):
                kill_group(process)
                _has_ended(process)

    def begin(self, path: pathlib.Path, visible: str | None) -> None:
        """Begin with a trial's samples.

        Args:
            path: Takes them, a line each.
            visible: The workload's CUDA_VISIBLE_DEVICES; None where it is not set.
        """
        if self._process is None:
            self._start()
        self._tell(msgspec.json.encode(Begin(path=str(path), visible=visible)))

    def end(self) -> None:
        """End a trial's samples."""
        self._tell(b"")

    def _start(self) -> None:
        if self._interval_s <= 0 or self._lost >= GIVE_UP_AFTER:
            return
        command = [sys.executable, "-m", WORKER, str(self._interval_s)]
        try:
            self._process = start(command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL)
        except ProbeError:  # no trial fails for want of a sample
            self._lost = GIVE_UP_AFTER
            return
        self._await(READY_WITHIN_S)

    def _tell(self, line: bytes) -> None:
        if self._process is None or self._process.stdin is None:
            return
        try:
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()
        except OSError:
            self._lose()
            return
        self._await(ANSWER_WITHIN_S)

    def _await(self, within_s: float) -> None:
        """Wait for the worker's answer, and drop one that gives none."""
        process = self._process
        if process is None or process.stdout is None:
            return
        answered = select.select([process.stdout], [], [], within_s)[0] and process.stdout.readline()
        if not answered:
            self._lose()

    def _lose(self) -> None:
        self._lost += 1
        if self._process is not None:
            kill_group(self._process)
        self.__exit__(None, None, None)


def _close(process: Process[bytes]) -> None:
    """Close the worker's stdin, which ends it."""
    try:
        if process.stdin is not None:
            process.stdin.close()
    except OSError:  # a line that it never read is lost with it
        return


def _has_ended(process: Process[bytes]) -> bool:
    deadline = time.monotonic() + END_WITHIN_S
    while process.poll() is None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def read_telemetry(folder: pathlib.Path) -> tuple[HostTelemetry, ...]:
    """Return what was sampled in a trial, a record a host; a torn last line is left out."""
    samples = []
    for path in sorted(folder.glob(FILES)):
        for line in path.read_bytes().splitlines():
            try:
                samples.append(from_json(line, Sample))
            except msgspec.DecodeError:
                continue
    return summarised(samples)
