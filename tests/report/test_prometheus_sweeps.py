"""Sweeps as Prometheus metrics: several collectives beside each other, and the best setting of each size."""

from __future__ import annotations

from html_samples import cell, sweep
from prometheus_client.parser import text_string_to_metric_families

from ncclprobe.names import DEFAULT
from ncclprobe.records.sweep import Ratio, Status, SweepDocument
from ncclprobe.report.prometheus import prometheus_text

Labels = dict[str, str]
AXES = {"NCCL_NTHREADS": "512", "NCCL_BUFFSIZE": "8388608"}


def read(*documents: SweepDocument) -> dict[str, list[tuple[Labels, float]]]:
    """Return labels and values by name without the prefix, as Prometheus' own parser for Python reads them."""
    found: dict[str, list[tuple[Labels, float]]] = {}
    for family in text_string_to_metric_families(prometheus_text(documents)):
        for one in family.samples:
            found.setdefault(one.name.removeprefix("ncclprobe_"), []).append((dict(one.labels), one.value))
    return found


def test_a_sound_sweep_hides_no_errors_of_another_collective() -> None:
    bad = sweep().with_(created="2026-11-22T00:00:00Z")
    good = sweep(collective="all_gather").with_(created="2026-11-22T01:00:00Z", findings=())
    for order in ((bad, good), (good, bad)):
        metrics = read(*order)
        assert ({"command": "sweep", "severity": "error"}, 1.0) in metrics["findings"]
        assert [labels["code"] for labels, _ in metrics["finding_info"]] == ["slow-node"]
        assert [value for _, value in metrics["run_timestamp_seconds"]] == [1795309200.0], "the newest"


def test_the_default_is_best_where_all_others_are_slower() -> None:
    small, large = read(sweep())["sweep_best_info"]
    assert (small[0]["size_bytes"], small[0]["algo"], large[0]["algo"]) == ("1024", DEFAULT, "Ring")
    metrics = read(sweep())
    for name, expected in (("", [1.0, 1.12]), ("_low", [1.0, 1.10]), ("_high", [1.0, 1.14])):
        assert [value for _, value in metrics[f"sweep_best_speedup{name}_ratio"]] == expected


def test_a_best_setting_of_variables_names_them() -> None:
    faster = cell(DEFAULT, 1024, 100.0, Ratio(ratio=1.12, low=1.10, high=1.14)).with_(env=AXES)
    document = sweep().with_(cells=(cell(DEFAULT, 1024, 112.0, None), faster))
    ((labels, _),) = read(document)["sweep_best_info"]
    assert (labels["algo"], labels["env"]) == (DEFAULT, "NCCL_BUFFSIZE=8388608 NCCL_NTHREADS=512")


def test_nothing_is_best_where_nothing_works() -> None:
    broken = cell(DEFAULT, 1024, 112.0, None).with_(status=Status.TIMEOUT, time_us=None, busbw_gbps=None)
    metrics = read(sweep().with_(cells=(broken,)))
    assert {"sweep_best_info", "sweep_best_speedup_ratio", "sweep_time_seconds"}.isdisjoint(metrics)
