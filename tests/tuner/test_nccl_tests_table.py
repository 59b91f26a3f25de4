"""scripts/nccl_tests_table.py with the real plugin; nccl-tests is ``all_reduce_perf.py``."""

from __future__ import annotations

import os
import pathlib
import shlex
import subprocess
import sys

import msgspec
import pytest

from ncclprobe.records.sweep import CellResult, Choice, Cost, Ratio, Status, SweepDocument, TableRow, Verdict

HERE = pathlib.Path(__file__).parent
SCRIPT = HERE.parents[1] / "scripts/nccl_tests_table.py"


def cell(size: int) -> CellResult:
    return CellResult(
        collective="all_reduce", dtype="bfloat16", size_bytes=size, algo="Ring", proto="Simple", nchannels=2, samples=9,
        time_us=None, algbw_gbps=None, busbw_gbps=None, wrong=0, status=Status.OK,
        vs_default=Ratio(ratio=1.9, low=1.8, high=2.0),
    )  # fmt: skip


@pytest.mark.parametrize(("algo", "status", "end"), [("Ring", 0, "applied"), ("NVLS", 3, "DIFFERS")])
def test_what_ran_with_the_table_and_without(tmp_path: pathlib.Path, algo: str, status: int, end: str) -> None:
    row = TableRow(
        collective="all_reduce", min_bytes=8192, max_bytes=65536, algo=algo, proto="Simple",
        nchannels=2 if algo == "Ring" else None,
    )  # fmt: skip
    document = SweepDocument(
        backend="nccl", library="NCCL 2.28.9", nranks=2, nnodes=1, launches=3, seed=1,
        cells=tuple(map(cell, (64, 65536))), cost=Cost(measured_s=1.0, exhaustive_s=2.0),
        choice=Choice(verdict=Verdict.CHANGE, env={}, table=(row,), gain=Ratio(ratio=1.1, low=1.05, high=1.2)),
    )  # fmt: skip
    (tmp_path / "document.json").write_bytes(msgspec.json.encode(document))
    perf = tmp_path / "all_reduce_perf"
    perf.write_text(
        f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(HERE / "all_reduce_perf.py"))} "$@"\n'
    )
    perf.chmod(0o755)
    command = [sys.executable, str(SCRIPT), str(tmp_path), "--nccl-tests", str(perf), "--out", str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    lines = [line.split() for line in ended.stdout.splitlines()]
    assert (ended.returncode, ended.stderr) == (status, "")
    assert lines[2] == ["64", "-", "Tree/LL/1ch", "Tree/LL/1ch", "left", "alone", "1.000", "-"]
    if algo == "Ring":
        assert lines[3] == ["64K", "Ring/Simple/2ch", "Tree/LL/4ch", "Ring/Simple/2ch", end, "2.000", "1.900"]
    else:
        assert lines[3] == ["64K", "NVLS/Simple", "Tree/LL/4ch", "Tree/LL/4ch", end, "1.000", "-"]
