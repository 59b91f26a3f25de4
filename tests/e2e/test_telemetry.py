"""What is sampled while a trial runs: the real process here, with a stand-in for NVML where GPUs matter."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import time

import msgspec
import pytest

from ncclprobe.e2e.telemetry import is_visible, summarised
from ncclprobe.e2e.telemetry_host import Cpus, read_ports
from ncclprobe.e2e.telemetry_run import FILE, Telemetry, read_telemetry
from ncclprobe.records.telemetry import CpuSample, GpuSample, HostTelemetry, PortSample, Sample, Spread

FAKE_NVML = pathlib.Path(__file__).parent / "fake_nvml"


@pytest.fixture
def fake_nvml(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    path = os.pathsep.join([str(FAKE_NVML), *filter(None, [os.environ.get("PYTHONPATH")])])
    monkeypatch.setenv("PYTHONPATH", path)
    return monkeypatch


def sampled(folder: pathlib.Path, visible: str | None = None, seconds: float = 0.35) -> HostTelemetry:
    """Return what a trial of that length leaves behind."""
    with Telemetry(0.05) as telemetry:
        telemetry.begin(folder / FILE, visible)
        time.sleep(seconds)
        telemetry.end()
    (host,) = read_telemetry(folder)
    return host


def test_a_machine_without_gpus_is_sampled_for_real(tmp_path: pathlib.Path) -> None:
    host = sampled(tmp_path)
    assert (host.host, host.problems) == (os.uname().nodename, ())
    assert host.samples >= 2
    assert host.seconds > 0
    assert host.cpu is not None
    assert host.cpu.load is not None
    assert host.cpu.busy_share is not None
    assert 0 <= host.cpu.busy_share <= 1


def test_all_of_two_gpus(tmp_path: pathlib.Path, fake_nvml: pytest.MonkeyPatch) -> None:
    host = sampled(tmp_path)
    first, second = host.gpus
    assert (host.problems, host.throttled) == ((), 0.0)
    assert (first.index, first.uuid, first.samples, first.busy) == (0, "GPU-000", host.samples, host.samples)
    assert first.utilisation_percent == Spread(mean=90, min=90, max=90)
    assert first.memory_bytes == Spread(mean=1 << 30, min=1 << 30, max=1 << 30)
    assert second.power_w == Spread(mean=500.001, min=500.001, max=500.001)
    assert (second.sm_mhz, second.memory_mhz) == (
        Spread(mean=1979, min=1979, max=1979),
        Spread(mean=3201, min=3201, max=3201),
    )
    assert second.temperature_c == Spread(mean=61, min=61, max=61)
    assert first.reasons == {"sw-power-cap": 1.0}
    assert first.nvlink_tx_bytes == (host.samples - 1) * 1000 * 1024, "KiB, all links in one"
    assert second.nvlink_rx_bytes == (host.samples - 1) * 1000 * 2, "bytes, of two links"
    assert first.pcie_tx_bytes is None


@pytest.mark.parametrize(("visible", "shown"), [("1", [1]), ("GPU-0", [0]), ("", []), ("0,-1,1", [0])])
def test_other_gpus_are_left_alone(
    tmp_path: pathlib.Path, fake_nvml: pytest.MonkeyPatch, visible: str, shown: list[int]
) -> None:
    assert [gpu.index for gpu in sampled(tmp_path, visible, 0.0).gpus] == shown


def test_a_slice_counts_as_busy_where_its_clocks_do_not_say_idle(
    tmp_path: pathlib.Path, fake_nvml: pytest.MonkeyPatch
) -> None:
    fake_nvml.setenv("FAKE_NVML", "slice")
    host = sampled(tmp_path, "0", 0.0)
    assert [(gpu.utilisation_percent, gpu.busy) for gpu in host.gpus] == [(None, 2)]


def test_heat_counts_and_the_power_limit_does_not(tmp_path: pathlib.Path, fake_nvml: pytest.MonkeyPatch) -> None:
    fake_nvml.setenv("FAKE_NVML", "hot")
    host = sampled(tmp_path, "1")
    (gpu,) = host.gpus
    assert gpu.reasons is not None
    assert gpu.reasons["sw-power-cap"] == 1.0
    assert gpu.reasons["hw-thermal-slowdown"] == host.throttled
    assert host.throttled == pytest.approx(0.5, abs=0.5 / host.samples + 1e-4)


def test_a_call_that_hangs_costs_its_gpus_alone(tmp_path: pathlib.Path, fake_nvml: pytest.MonkeyPatch) -> None:
    fake_nvml.setenv("FAKE_NVML", "hang")
    with Telemetry(0.05) as telemetry:
        for number in range(2):
            (tmp_path / str(number)).mkdir()
            telemetry.begin(tmp_path / str(number) / FILE, None)
            time.sleep(0.4)
            telemetry.end()
    first, second = (read_telemetry(tmp_path / str(number))[0] for number in range(2))
    assert first.problems == second.problems == ("NVML did not answer within 2 s",)
    assert ([gpu.samples for gpu in first.gpus], second.gpus) == ([3, 3], ())
    assert second.cpu is not None
    assert second.samples >= 4, "the rest goes on"


def test_a_gpu_that_falls_off_the_bus(tmp_path: pathlib.Path, fake_nvml: pytest.MonkeyPatch) -> None:
    fake_nvml.setenv("FAKE_NVML", "lost")
    host = sampled(tmp_path)
    assert host.problems == ("NVML cannot read GPU 1: GPU is lost",)
    assert [gpu.samples for gpu in host.gpus] == [host.samples, 3]


@pytest.mark.parametrize(
    ("mode", "problems"), [("closed", ("NVML failed: Driver/library version mismatch",)), ("absent", ())]
)
def test_nvml_that_does_not_open(
    tmp_path: pathlib.Path, fake_nvml: pytest.MonkeyPatch, mode: str, problems: tuple[str, ...]
) -> None:
    fake_nvml.setenv("FAKE_NVML", mode)
    host = sampled(tmp_path, seconds=0.0)
    assert (host.gpus, host.throttled, host.problems) == ((), None, problems)


def test_a_process_that_dies_is_started_anew_and_then_given_up(
    tmp_path: pathlib.Path, fake_nvml: pytest.MonkeyPatch
) -> None:
    fake_nvml.setenv("FAKE_NVML", "crash")
    with Telemetry(0.05) as telemetry:
        for number in range(3):
            (tmp_path / str(number)).mkdir()
            telemetry.begin(tmp_path / str(number) / FILE, None)
            time.sleep(0.3)
            telemetry.end()
    found = [read_telemetry(tmp_path / str(number)) for number in range(3)]
    assert [[host.samples for host in hosts] for hosts in found] == [[3], [3], []]


def test_sampling_that_is_off_starts_nothing(tmp_path: pathlib.Path) -> None:
    with Telemetry(0.0) as telemetry:
        telemetry.begin(tmp_path / FILE, None)
        telemetry.end()
    assert read_telemetry(tmp_path) == ()


# ---- from samples to a summary


def sample(time: float, *, host: str = "dgx1", **parts: object) -> Sample:
    return msgspec.convert({"host": host, "time": time, "cost_s": time / 1000, **parts}, Sample)


def gpu(index: int, used: int, *reasons: str, **values: object) -> GpuSample:
    return msgspec.convert({"index": index, "utilisation_percent": used, "reasons": reasons, **values}, GpuSample)


def test_clocks_are_those_of_work_and_memory_is_of_all() -> None:
    idle = gpu(0, 0, "gpu-idle", sm_mhz=345, memory_bytes=1)
    work = [gpu(0, 50, sm_mhz=1980, memory_bytes=3), gpu(0, 100, "hw-slowdown", sm_mhz=990, memory_bytes=3)]
    samples = [sample(at, gpus=msgspec.to_builtins([one])) for at, one in enumerate([idle, *work])]
    (host,) = summarised(samples)
    (found,) = host.gpus
    assert (found.samples, found.busy) == (3, 2)
    assert found.sm_mhz == Spread(mean=1485, min=990, max=1980)
    assert found.memory_bytes == Spread(mean=2.333, min=1, max=3)
    assert found.reasons == {"hw-slowdown": 0.5}
    assert (host.seconds, host.cost_s, host.throttled) == (2.0, 0.002, 0.5)


def test_one_gpu_that_is_slowed_down_holds_up_all() -> None:
    samples = [
        sample(0, gpus=msgspec.to_builtins([gpu(0, 100), gpu(1, 100, "sw-thermal-slowdown")])),
        sample(1, gpus=msgspec.to_builtins([gpu(0, 100, "hw-slowdown"), gpu(1, 100)])),
        sample(2, gpus=msgspec.to_builtins([gpu(0, 100, "sw-power-cap"), gpu(1, 0, "hw-slowdown")])),
        sample(3, gpus=msgspec.to_builtins([gpu(0, 100), gpu(1, 100)])),
    ]
    assert [host.throttled for host in summarised(samples)] == [0.5]


def test_hosts_are_apart_and_counters_that_begin_anew_are_unknown() -> None:
    def port(tx: int | None, rx: int, errors: dict[str, int]) -> list[object]:
        return [msgspec.to_builtins(PortSample(hca="mlx5_0", port=1, tx_bytes=tx, rx_bytes=rx, errors=errors))]

    samples = [
        sample(2, host="dgx2", ports=port(5, 5, {})),
        sample(1, ports=port(100, 7, {"link_downed": 1, "symbol_error": 4})),
        sample(2, ports=port(None, 6, {})),
        sample(3, ports=port(500, 9, {"link_downed": 2, "symbol_error": 4})),
    ]
    first, second = summarised(samples)
    assert [(port.tx_bytes, port.rx_bytes, port.errors) for port in first.ports] == [(400, None, {"link_downed": 1})]
    assert [(port.tx_bytes, port.rx_bytes, port.errors) for port in second.ports] == [(None, None, {})]


def test_hot_cpus_count_where_there_are_no_gpus() -> None:
    def cpu(hot_ms: int | None, events: int | None) -> object:
        return msgspec.to_builtins(
            CpuSample(load=1.0, busy_ticks=0, ticks=0, mhz=2000.0, throttled_ms=hot_ms, throttle_events=events)
        )

    cpus = [sample(0, cpu=cpu(100, 1)), sample(5, cpu=cpu(None, None)), sample(10, cpu=cpu(1100, 3))]
    (host,) = summarised(cpus)
    assert host.cpu is not None
    assert (host.throttled, host.cpu.throttled_share, host.cpu.throttle_events) == (0.1, 0.1, 2)
    (host,) = summarised([*cpus, sample(11, gpus=msgspec.to_builtins([gpu(0, 100)]))])
    assert host.throttled == 0.0


@pytest.mark.parametrize(
    ("visible", "shown"),
    [(None, True), ("0,3", True), ("3", True), ("30", False), ("GPU-3a,0", True), ("GPU-4,3", True), ("", False),
     ("NoDevFiles", False), ("0,-1,3", False), ("MIG-1f2e", True), (" 3 ", True)],
)  # fmt: skip
def test_which_gpus_a_workload_may_use(visible: str | None, shown: bool) -> None:
    assert is_visible(3, "GPU-3a5f", visible) is shown


# ---- sysfs


def write(path: pathlib.Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def test_ports_of_hcas(tmp_path: pathlib.Path) -> None:
    counters = tmp_path / "sys/class/infiniband/mlx5_0/ports/1/counters"
    for name, value in {
        "port_xmit_data": "10",
        "port_rcv_data": "20",
        "link_downed": "3",
        "symbol_error": "N/A",
    }.items():
        write(counters / name, value)
    quick = PortSample(hca="mlx5_0", port=1, tx_bytes=40, rx_bytes=80)
    assert read_ports(tmp_path, thorough=False) == (quick,)
    assert read_ports(tmp_path, thorough=True) == (quick.with_(errors={"link_downed": 3}),)


def test_cpus(tmp_path: pathlib.Path) -> None:
    write(tmp_path / "proc/stat", "cpu  10 20 30 400 50 6 7 8 9 9\ncpu0 1 1 1 1")
    write(tmp_path / "proc/loadavg", "1.50 2.00 3.00 2/300 4000")
    for number in range(32):
        cpu = tmp_path / f"sys/devices/system/cpu/cpu{number}"
        write(cpu / "cpufreq/scaling_cur_freq", str(1_000_000 * (2 + number % 2)))
        write(cpu / "thermal_throttle/core_throttle_total_time_ms", str(number))
        write(cpu / "thermal_throttle/core_throttle_count", "1")
    cpus = Cpus(tmp_path)
    quick = CpuSample(load=1.5, busy_ticks=81, ticks=531, mhz=2500.0)
    assert cpus.read(thorough=False).with_(mhz=2500.0) == quick
    assert cpus.read(thorough=True).with_(mhz=2500.0) == quick.with_(throttled_ms=31, throttle_events=32)


def test_half_a_line_is_left_out(tmp_path: pathlib.Path) -> None:
    whole = msgspec.json.encode(sample(0))
    (tmp_path / FILE).write_bytes(whole + b"\n" + whole[:20])
    (tmp_path / "telemetry.1.jsonl").write_bytes(whole.replace(b"dgx1", b"dgx2") + b"\n")
    assert [(host.host, host.samples) for host in read_telemetry(tmp_path)] == [("dgx1", 1), ("dgx2", 1)]


def test_the_process_ends_with_the_one_that_started_it(tmp_path: pathlib.Path) -> None:
    code = f"""
import os, pathlib
from ncclprobe.e2e.telemetry_run import Telemetry
with Telemetry(0.05) as telemetry:
    telemetry.begin(pathlib.Path({str(tmp_path / FILE)!r}), None)
    os.write(1, str(telemetry._process.pid).encode())
    os._exit(0)
"""
    pid = int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    deadline = time.monotonic() + 10
    while pathlib.Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not pathlib.Path(f"/proc/{pid}").exists()
    assert json.loads((tmp_path / FILE).read_bytes().splitlines()[0])["host"] == os.uname().nodename
