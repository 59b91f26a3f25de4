"""What NVML says of a real GPU while it works."""

from __future__ import annotations

import json
import os
import pathlib
import sys

import pytest

from ncclprobe.cli import main
from ncclprobe.e2e.telemetry_gpus import REASONS
from ncclprobe.e2e.telemetry_run import FILE, Telemetry, read_telemetry
from ncclprobe.records.telemetry import GpuTelemetry

pytestmark = pytest.mark.gpu

WORK = """
import time, cupy
a = cupy.ones((4096, 4096), dtype=cupy.float32)
until = time.monotonic() + 1.5
while time.monotonic() < until:
    a @ a
    cupy.cuda.get_current_stream().synchronize()
print("done: 1.0")
"""


def test_a_trial_on_a_gpu_is_sampled(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    words = ["validate-e2e", "--workload", "command", "--metric", "done: ([0-9.]+)", "--candidate", "NCCL_PROTO=LL"]
    with pytest.raises(SystemExit, match=r"^0$"):
        main([*words, "--trials", "1", "--warmup", "0", "--telemetry", "0.1", "--out", str(out), "--json", "--",
              sys.executable, "-c", WORK])  # fmt: skip
    document = json.loads(capsys.readouterr().out)
    assert [trial["status"] for trial in document["trials"]] == ["ok", "ok"]
    for folder in sorted((out / "trials").glob("*/")):
        (host,) = read_telemetry(folder)
        assert host.problems == ()
        assert host.throttled is not None
        worked = [gpu for gpu in host.gpus if gpu.busy]
        assert worked, host.gpus
        check(worked[0])
        raw = [json.loads(line) for line in (folder / FILE).read_bytes().splitlines()]
        assert len(raw) == host.samples >= 5
    with capsys.disabled():  # the figures, for those who look at the run
        sys.stderr.write(json.dumps(document["trials"][0]["telemetry"]) + "\n")


def check(gpu: GpuTelemetry) -> None:
    assert gpu.uuid is not None
    assert gpu.uuid.startswith("GPU-")
    assert gpu.utilisation_percent is not None
    assert 0 < gpu.utilisation_percent.max <= 100
    assert gpu.memory_bytes is not None
    assert gpu.memory_bytes.max > 3 * 4096 * 4096 * 4
    assert gpu.power_w is not None
    assert 20 < gpu.power_w.max < 2000
    assert gpu.sm_mhz is not None
    assert 100 < gpu.sm_mhz.min <= gpu.sm_mhz.max < 5000
    assert gpu.memory_mhz is not None
    assert gpu.memory_mhz.max > 100
    assert gpu.temperature_c is not None
    assert 0 < gpu.temperature_c.min <= gpu.temperature_c.max < 120
    assert gpu.reasons is not None
    assert gpu.reasons.keys() <= set(REASONS.values())


def test_gpus_that_the_workload_may_not_use_are_left_out(tmp_path: pathlib.Path) -> None:
    with Telemetry(0.1) as telemetry:
        for name, visible in {"none": "", "all": os.environ.get("CUDA_VISIBLE_DEVICES")}.items():
            (tmp_path / name).mkdir()
            telemetry.begin(tmp_path / name / FILE, visible)
            telemetry.end()
    (none,), (everything,) = read_telemetry(tmp_path / "none"), read_telemetry(tmp_path / "all")
    assert none.gpus == ()
    assert everything.gpus
