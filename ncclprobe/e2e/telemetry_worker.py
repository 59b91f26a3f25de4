"""The process that samples: ``python -m ncclprobe.e2e.telemetry_worker SECONDS``.

It is told on stdin which trial begins and ends, a line each, and answers each with an empty line. A process of its own
keeps a call into a driver that never returns, or crashes, away from the trials; it ends with its stdin.
"""

from __future__ import annotations

import pathlib
import platform
import queue
import select
import sys
import threading
import time
from collections.abc import Callable
from typing import IO, Any, BinaryIO, Generic, TypeVar

import msgspec

from ncclprobe.e2e.telemetry_host import Cpus, read_ports
from ncclprobe.processes import LONGEST_WAIT_S
from ncclprobe.records.base import Record
from ncclprobe.records.telemetry import GpuSample, Sample

ANSWER_WITHIN_S = 2.0
"""After which a source is not waited for any more; it is asked again once it has answered."""
OPENED_WITHIN_S = 20.0
"""NVML takes seconds to open where no process keeps the driver loaded."""
_Answer = TypeVar("_Answer")
_Gpus = tuple[tuple[GpuSample, ...] | None, tuple[str, ...]]


class Begin(Record, frozen=True, kw_only=True):
    """A trial that begins; an empty line is its end."""

    path: str
    """Takes the samples."""
    visible: str | None = None
    """CUDA_VISIBLE_DEVICES of the workload; None where it is not set."""


class Patient(Generic[_Answer]):
    """A source that is read in a thread of its own, so that one that hangs holds up nothing for long."""

    def __init__(self, name: str, read: Callable[..., _Answer]) -> None:
        self._name, self._read = name, read
        self._questions: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
        self._asked: float | None = None
        threading.Thread(target=self._serve, name=name, daemon=True).start()

    def _serve(self) -> None:
        while True:
            self._answers.put(self._read(**self._questions.get()))

    def ask(self, within_s: float = ANSWER_WITHIN_S, **question: Any) -> _Answer | None:
        """Return what it says, None where it is late; what it says too late is dropped."""
        if self._asked is not None and self._answer(self._asked + within_s) is None:
            return None
        self._asked = time.monotonic()
        self._questions.put(question)
        return self._answer(self._asked + within_s)

    def _answer(self, until: float) -> _Answer | None:
        try:
            answer = self._answers.get(timeout=max(0.001, until - time.monotonic()))
        except queue.Empty:
            return None
        self._asked = None
        return answer

    @property
    def problem(self) -> tuple[str, ...]:
        """Return that it is late, where it is."""
        return () if self._asked is None else (f"{self._name} did not answer within {ANSWER_WITHIN_S:.0f} s",)


class Sampler:
    """Reads all there is, and writes it down while a trial runs."""

    def __init__(self) -> None:
        self._host = platform.node()
        self._gpus = Patient("NVML", _gpus_reader())
        self._ports = Patient("an HCA's counters", read_ports)
        self._cpus = Patient("the CPUs' counters", Cpus().read)
        self._visible: str | None = None
        self._file: BinaryIO | None = None
        self._began = 0.0
        self._gpus.ask(OPENED_WITHIN_S, visible="")  # opens NVML

    @property
    def is_on(self) -> bool:
        """Return whether a trial runs."""
        return self._file is not None

    def begin(self, trial: Begin) -> None:
        """Take the first sample of a trial."""
        self.end()
        self._file = pathlib.Path(trial.path).open("wb", buffering=0)  # noqa: SIM115 - closed as the trial ends
        self._visible = trial.visible
        self._began = time.process_time()
        self.sample(thorough=True)

    def sample(self, *, thorough: bool = False) -> None:
        """Write a line."""
        if self._file is None:
            return
        answer: _Gpus | None = self._gpus.ask(visible=self._visible)
        gpus, problems = answer or (None, ())
        line = Sample(
            host=self._host,
            time=round(time.time(), 3),
            gpus=gpus,
            ports=self._ports.ask(thorough=thorough),
            cpu=self._cpus.ask(thorough=thorough),
            problems=(*problems, *self._gpus.problem, *self._ports.problem, *self._cpus.problem),
            cost_s=round(time.process_time() - self._began, 4),
        )
        self._file.write(msgspec.json.encode(line) + b"\n")

    def end(self) -> None:
        """Take the last sample of a trial."""
        if self._file is not None:
            self.sample(thorough=True)
            self._file.close()
            self._file = None


def _gpus_reader() -> Callable[..., _Gpus]:
    """Return what reads GPUs; pynvml is part of every installation, yet a trial must not depend on it."""
    try:
        from ncclprobe.e2e.telemetry_gpus import Gpus
    except ImportError as problem:
        said = (f"pynvml cannot be imported: {problem}",)
        return lambda **_: (None, said)
    return Gpus().read


def main(interval_s: float, told: IO[bytes], answers: IO[bytes]) -> int:
    """Sample from each trial's beginning to its end, until there is nobody who tells of them.

    Args:
        interval_s: Between samples.
        told: Unbuffered: a line that waits in a buffer would not be seen.
        answers: Takes an empty line once all is ready, and for each line that was heard.
    """
    sampler = Sampler()
    _answer(answers)
    due = time.monotonic() + interval_s
    while True:
        wait = min(max(0.0, due - time.monotonic()), LONGEST_WAIT_S) if sampler.is_on else None
        if not select.select([told], [], [], wait)[0]:
            sampler.sample()
            due = max(due + interval_s, time.monotonic())
            continue
        line = told.readline()
        if not line:
            return 0
        sampler.begin(msgspec.json.decode(line, type=Begin)) if line.strip() else sampler.end()
        due = time.monotonic() + interval_s
        _answer(answers)


def _answer(answers: IO[bytes]) -> None:
    answers.write(b"\n")
    answers.flush()


if __name__ == "__main__":
    with open(0, "rb", buffering=0, closefd=False) as told:
        raise SystemExit(main(float(sys.argv[1]), told, sys.stdout.buffer))
