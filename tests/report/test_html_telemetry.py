"""What was sampled while trials ran, on the page."""

from __future__ import annotations

import pytest
from html_samples import LINKED, e2e
from test_html import body, figures, paged

from ncclprobe.records.e2e import E2eDocument, Trial
from ncclprobe.records.telemetry import CpuTelemetry, GpuTelemetry, HostTelemetry, Spread
from ncclprobe.report.html.telemetry import sampled


def gpu(index: int, watts: float) -> GpuTelemetry:
    power = Spread(mean=watts, min=watts - 100, max=watts + 10)
    return GpuTelemetry(
        index=index, uuid=None, samples=4, busy=4, utilisation_percent=Spread(mean=50, min=0, max=100),
        memory_bytes=None, power_w=power, sm_mhz=None, memory_mhz=None, temperature_c=None,
        reasons={"sw-power-cap": 0.5}, nvlink_tx_bytes=10**9, nvlink_rx_bytes=None, pcie_tx_bytes=None,
        pcie_rx_bytes=None,
    )  # fmt: skip


def host(*gpus: GpuTelemetry, throttled: float | None = None) -> HostTelemetry:
    cpu = CpuTelemetry(
        load=Spread(mean=2.0, min=1.5, max=2.5), busy_share=0.25, mhz=None, throttled_share=None, throttle_events=None
    )
    return HostTelemetry(host=LINKED, samples=4, seconds=2.0, cost_s=0.01, throttled=throttled, gpus=gpus, cpu=cpu)


def with_telemetry(*hosts: HostTelemetry) -> E2eDocument:
    document = e2e()
    return document.with_(trials=tuple(trial.with_(telemetry=hosts) for trial in document.trials))


def test_gpus_have_plots_in_the_order_of_time() -> None:
    drawn = figures(paged(with_telemetry(host(gpu(0, 400.0), gpu(1, 600.0), throttled=0.125))))
    keys = [key for key in drawn if key.startswith("run-0-0-telemetry")]
    assert [drawn[key]["layout"]["yaxis"]["title"]["text"] for key in keys] == [
        "GPU busy, %", "power, W", "throttled, %",
    ]  # fmt: skip
    baseline, candidate = drawn[keys[1]]["traces"]
    assert (baseline["x"], baseline["y"], candidate["x"]) == ([1, 2], [500.0, 500.0], [3])
    assert (baseline["error_y"]["array"], baseline["error_y"]["arrayminus"]) == ([110.0] * 2, [200.0] * 2)
    assert (baseline["meta"], candidate["meta"]) == ("arm-0", "arm-1")


def test_the_checkboxes_act_on_these_plots_too() -> None:
    text = body(paged(with_telemetry(host(gpu(0, 400.0)))))
    assert 'data-figures="run-0-0-trials run-0-0-telemetry-0 run-0-0-telemetry-1"' in text


def test_hover_says_all_that_is_known() -> None:
    (trial,) = with_telemetry(host(gpu(0, 400.0), gpu(1, 600.0), throttled=0.125)).trials[:1]
    assert list(sampled(trial)) == [
        "GPU busy 50 % (0 % to 100 %)", "power 500 W (300 W to 610 W)", "capped 50 %", "throttled 12.5 %",
        "NVLink 2.0 GB",
    ]  # fmt: skip
    shown = figures(paged(with_telemetry(host(gpu(0, 400.0)))))["run-0-0-trials"]["traces"][0]["customdata"][0]
    assert shown.startswith("1: baseline, warm-up\ntok_s 100\n2026-11-22T00:00:00Z\nGPU busy 50 %")


def test_cpus_are_shown_where_there_is_no_gpu() -> None:
    document = with_telemetry(host())
    drawn = figures(paged(document))
    assert drawn["run-0-0-telemetry-0"]["traces"][0]["y"] == [25.0, 25.0]
    assert list(sampled(document.trials[0])) == ["CPU busy 25 %", "load 2.0 (1.5 to 2.5)"]


@pytest.mark.parametrize("document", [e2e(), with_telemetry()])
def test_nothing_is_drawn_of_what_was_not_sampled(document: E2eDocument) -> None:
    trials: tuple[Trial, ...] = document.trials
    assert not [key for key in figures(paged(document)) if "telemetry" in key]
    assert list(sampled(trials[0])) == []
