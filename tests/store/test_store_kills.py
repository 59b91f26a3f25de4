"""What a kill -9, or a full disk, at any moment leaves of a run directory."""

from __future__ import annotations

import os
import pathlib
import random
import signal
import subprocess
import sys
import textwrap
import time

from ncclprobe.records.base import Record
from ncclprobe.store import RunDirectory, read_journal

WRITER = """
    import pathlib, sys
    from ncclprobe.errors import RunDirectoryError
    from ncclprobe.records.base import Record
    from ncclprobe.store import Manifest, RunDirectory, read_journal

    class Step(Record, frozen=True, kw_only=True):
        number: int
        text: str

    path = pathlib.Path(sys.argv[1])
    if (path / "manifest.json").exists():
        run = RunDirectory.resume(path, "sweep")
    else:
        run = RunDirectory.create(path, Manifest(command="sweep", argv=(), seed=0))
    first = len(list(read_journal(path, {"step": Step})))
"""


class Step(Record, frozen=True, kw_only=True):
    """As the writer's."""

    number: int
    """Running number."""
    text: str
    """Padding."""


def writer(path: pathlib.Path, body: str) -> subprocess.Popen[bytes]:
    """Start a process that opens a run directory and then runs ``body``."""
    program = textwrap.dedent(WRITER) + textwrap.dedent(body)
    return subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE)


APPENDING = """
    import itertools, os
    for number in itertools.count(first):
        run.append(Step(number=number, text="x" * (number % 5000)), "step")
        os.write(1, b"%d\\n" % number)
"""


def test_a_kill_loses_at_most_the_line_in_flight(tmp_path: pathlib.Path) -> None:
    draw = random.Random(20261122)
    for _ in range(5):
        process = writer(tmp_path, APPENDING)
        assert process.stdout is not None
        acknowledged = int(process.stdout.readline())
        time.sleep(draw.uniform(0.0, 0.1))
        process.kill()
        acknowledged = int([str(acknowledged).encode(), *process.stdout.read().split(b"\n")[:-1]][-1])
        process.wait()
        process.stdout.close()
        numbers = [step.number for step in read_journal(tmp_path, {"step": Step}) if isinstance(step, Step)]
        assert numbers == list(range(len(numbers))), "no line lost or doubled"
        assert acknowledged + 1 <= len(numbers) <= acknowledged + 2


def test_a_killed_writer_leaves_no_lock(tmp_path: pathlib.Path) -> None:
    process = writer(tmp_path, "print(first, flush=True); import time; time.sleep(60)")
    assert process.stdout is not None
    assert process.stdout.readline() == b"0\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    RunDirectory.resume(tmp_path, "sweep").close()


FULL = """
    import resource, sys
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, resource.RLIM_INFINITY))
    number = first
    try:
        while True:
            run.append(Step(number=number, text="x" * 300), "step")
            number += 1
    except RunDirectoryError as problem:
        print(number, problem)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    run.append(Step(number=number, text="after space was freed"), "step")
"""


def test_a_full_disk_loses_nothing_that_was_written(tmp_path: pathlib.Path) -> None:
    process = writer(tmp_path, FULL)
    said = process.communicate(timeout=60)[0].decode()
    assert process.returncode == 0
    count, _, message = said.partition(" ")
    assert int(count) == 11
    assert f"cannot write {tmp_path / 'journal.jsonl'}: " in message
    assert f"free space, then --resume {tmp_path}" in message
    numbers = [step.number for step in read_journal(tmp_path, {"step": Step}) if isinstance(step, Step)]
    assert numbers == list(range(12)), "the half line is gone, and the run went on after it"


DOCUMENT_FULL = """
    import resource
    from ncclprobe.records.scan import Host, ScanDocument
    small = ScanDocument()
    run.finish(small)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, resource.RLIM_INFINITY))
    try:
        run.finish(ScanDocument(hosts=tuple(Host(host=f"node{i}") for i in range(200))))
    except RunDirectoryError as problem:
        print(problem)
"""


def test_a_document_is_replaced_whole_or_not_at_all(tmp_path: pathlib.Path) -> None:
    process = writer(tmp_path, DOCUMENT_FULL)
    said = process.communicate(timeout=60)[0].decode()
    assert said.startswith(f"cannot write {tmp_path / 'document.json'}: ")
    assert b'"hosts":[]' in (tmp_path / "document.json").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["document.json", "journal.jsonl", "manifest.json"]
