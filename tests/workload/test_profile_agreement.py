"""The plugin's records and NCCL's log of one run of SGLang on two H200s say the same."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import tarfile

import pytest

from ncclprobe.workload.recorded import read_record

ROOT = pathlib.Path(__file__).parents[2]
TRIALS = ROOT / "data/h200_sglang_202611/bad/trials.tgz"
NAME = "0000-baseline"


@pytest.fixture
def trial(tmp_path: pathlib.Path) -> pathlib.Path:
    with tarfile.open(TRIALS) as archive:
        members = [one for one in archive if one.name.startswith(f"trials/{NAME}/")]
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.2 has none
        archive.extractall(tmp_path, members)
    return tmp_path / "trials" / NAME


def run(trial: pathlib.Path) -> tuple[int, str]:
    command = [sys.executable, str(ROOT / "scripts/profile_agreement.py"), str(trial)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    return ended.returncode, ended.stdout


def test_every_message_of_a_real_run_is_in_both(trial: pathlib.Path) -> None:
    status, text = run(trial)
    assert text.splitlines() == [
        f"{trial}: TUNING lines of 1 processes, records of 2",
        "  process 3365: 49 of 49 messages alike; 1271 operations in the log, 1271 in the record",
        "  process 3365: what ran is alike: all_reduce Ring Simple 657, all_gather Ring LL 103, "
        "all_reduce Ring LL 487, all_gather Ring Simple 24",
    ]
    assert status == 0


def test_a_message_that_one_of_them_lacks_is_shown(trial: pathlib.Path) -> None:
    log = trial / "nccl.vm.3365"
    lines = log.read_text().splitlines(keepends=True)
    dropped = next(n for n, line in enumerate(lines) if "AllReduce: 1835008 Bytes -> Algo RING proto SIMPLE" in line)
    log.write_text("".join(lines[:dropped] + lines[dropped + 1 :]))
    status, text = run(trial)
    assert status == 3
    assert "48 of 49 messages alike; 1270 operations in the log, 1271 in the record" in text
    assert "all_reduce    1792K      26        27  DIFFERS" in text


def test_calls_of_every_rank_are_taken_where_the_log_has_them(trial: pathlib.Path) -> None:
    """The log is written from the record: NCCL counts one rank's part of an all-gather, in elements."""
    names = {"all_reduce": "AllReduce", "all_gather": "AllGather"}
    for pid in (3365, 3366):
        with (trial / f"nccl.vm.{pid}").open("a") as log:
            for one in read_record((trial / f"tuner.{pid}").read_bytes(), "r").answers:
                count = one.size_bytes // (2 if one.collective == "all_reduce" else 4)
                line = (
                    f"vm:{pid}:{pid} [0] NCCL INFO {names[str(one.collective)]}: opCount 1 sendbuff 0x1 recvbuff 0x2 "
                    f"count {count} datatype 9 op 0 root 0 comm 0x3 [nranks=2] stream 0x4\n"
                )
                log.write(line * one.operations)
            log.write(line.replace("AllGather", "AllReduce").replace("nranks=2", "nranks=1"))
    status, text = run(trial)
    assert status == 0
    assert text.splitlines()[:3] == [
        f"{trial}: COLL lines of 2 processes, records of 2",
        "  2 operations that NCCL asks no tuner about",
        "  process 3365: 49 of 49 messages alike; 1271 operations in the log, 1271 in the record",
    ]
    assert "  process 3366: 49 of 49 messages alike; 1271 operations in the log, 1271 in the record" in text


def test_a_folder_without_both_agrees_about_nothing(tmp_path: pathlib.Path) -> None:
    assert run(tmp_path) == (3, f"{tmp_path}: TUNING lines of 0 processes, records of 0\n"
                                "  no process with both; nothing was compared\n")  # fmt: skip
