"""Is this normal? The two H200s of data/h200x2_202611, and platforms with published figures."""

from __future__ import annotations

import datetime
import itertools
import pathlib

import msgspec
import pytest

from ncclprobe.bandwidth import busbw_factor
from ncclprobe.hardware import MODELS
from ncclprobe.names import Collective
from ncclprobe.records.normal import Hardware, Normality
from ncclprobe.records.sweep import CellResult, Choice, Cost, Ratio, Status, Summary, SweepDocument, Verdict
from ncclprobe.report.text.sweep import sweep_text
from ncclprobe.sweep.normal import normality, oddities
from ncclprobe.sweep.published import published_figures
from ncclprobe.units import parse_size

ROOT = pathlib.Path(__file__).parents[2]
TWO = Hardware(nodes=1, gpu="NVIDIA H200", gpus=2, nvlinks=18, pcie_gbps=None, rails=0, rails_gbps=None)
EIGHT = TWO.with_(gpus=8, rails=8, rails_gbps=400.0)
KEEP = Choice(verdict=Verdict.KEEP_DEFAULTS, env={}, table=(), gain=Ratio(ratio=1, low=1, high=1))


def measured() -> SweepDocument:
    return msgspec.json.decode((ROOT / "data/h200x2_202611/sweep/document.json").read_bytes(), type=SweepDocument)


def default(size: str, gbps: float, nranks: int, spread: float = 0.01, **given: object) -> CellResult:
    """Return the default's result at a bus bandwidth, with an interval of so much to either side."""
    size_bytes = parse_size(size)
    factor = busbw_factor(Collective(given.get("collective", "all_reduce")), nranks)
    time = size_bytes / (gbps / factor * 1e9) * 1e6
    fields = {
        "collective": "all_reduce", "dtype": "float32", "algo": "default", "proto": "default", "nchannels": None,
        "samples": 20, "algbw_gbps": gbps / factor, "busbw_gbps": gbps, "wrong": 0, "status": Status.OK,
        "vs_default": None, "time_us": Summary(median=time, low=time * (1 - spread), high=time * (1 + spread)),
    }  # fmt: skip
    return CellResult(size_bytes=size_bytes, **(fields | given))


def document(*cells: CellResult, nranks: int = 8, nnodes: int | None = 1) -> SweepDocument:
    cost = Cost(measured_s=1, exhaustive_s=1)
    return SweepDocument(
        backend="nccl", library="NCCL 2.28.9", nranks=nranks, nnodes=nnodes, launches=8, seed=1, cells=cells,
        choice=KEEP, cost=cost,
    )  # fmt: skip


def judged(
    *cells: CellResult, hardware: Hardware = EIGHT, nranks: int = 8, nnodes: int | None = 1, **env: str
) -> Normality:
    found = normality(document(*cells, nranks=nranks, nnodes=nnodes), hardware, env, published_figures())
    assert found is not None
    return found


def codes(found: Normality) -> list[tuple[str, str, str]]:
    return [(finding.severity.value, finding.code, finding.subject) for finding in oddities(found)]


# ---- two H200s, as they were measured


def test_two_h200s():
    found = normality(measured(), TWO, {"NCCL_NVLS_ENABLE": "0"}, published_figures())
    assert found is not None
    assert found.limit is not None
    assert (found.limit.busbw_gbps, found.limit.basis) == (450.0, "18 NVLinks of 25 GB/s")
    largest = found.sizes[-1]
    assert (largest.size_bytes, round(largest.busbw_gbps.estimate, 1), round(largest.share or 0, 3)) == (
        1 << 30, 327.2, 0.727,
    )  # fmt: skip
    assert [size.published for size in found.sizes] == [None] * 10
    assert list(oddities(found)) == []


def test_two_h200s_on_the_terminal():
    found = normality(measured(), TWO, {"NCCL_NVLS_ENABLE": "0"}, published_figures())
    lines = sweep_text(measured().with_(normal=found)).splitlines()
    assert "  size    default    busbw    of limit  best other       time           vs default" in lines
    assert "    1G    3.28 ms      327         73%  Tree/Simple   3.15 ms  1.044 (1.026-1.062)  *" in lines
    assert "     8    5.61 µs  0.00143         <1%  Ring/LL        5.6 µs  1.004 (0.984-1.024)" in lines
    assert "Limit: 450 GB/s of bus bandwidth (18 NVLinks of 25 GB/s)." in lines
    assert not [line for line in lines if line.startswith("Published")]


def test_the_same_links_counted_as_twelve_cannot_carry_what_was_measured():
    found = normality(measured(), TWO.with_(nvlinks=12), {"NCCL_NVLS_ENABLE": "0"}, published_figures())
    assert found is not None
    (finding,) = oddities(found)
    assert (finding.severity.value, finding.code, finding.subject) == ("warning", "above-limit", "1G")
    assert finding.message == ("327.2 GB/s of bus bandwidth at 1G, where 12 NVLinks of 25 GB/s allow 300 GB/s")


def test_a_document_without_it_reads_as_before():
    text = sweep_text(measured())
    assert "of limit" not in text
    assert "Limit" not in text


# ---- beside published figures


def test_a_healthy_platform():
    found = judged(default("256M", 430, 8), default("1G", 468, 8), default("8G", 479, 8))
    assert [size.published.busbw_gbps for size in found.sizes if size.published] == [432.24, 467.58, 475.0]
    assert codes(found) == []
    text = sweep_text(document(*(default("1G", 468, 8),)).with_(normal=found))
    assert "Published: 475 GB/s at 4G by server with 8 H200 and NVLink 4, 8 x H200; here 479\nGB/s at 8G." in text
    assert "Limit: 700 GB/s of bus bandwidth (18 NVLinks of 25 GB/s, whose switches reduce)." in text


def test_a_platform_that_does_clearly_less():
    (finding,) = oddities(judged(default("256M", 430, 8), default("1G", 365, 8)))
    assert (finding.severity.value, finding.code, finding.subject) == ("warning", "below-platform", "1G")
    assert finding.message == (
        "365 GB/s of bus bandwidth, where 8 H200 (Azure ND H200 v5) do 467.6 GB/s at 1G: "
        "https://github.com/Azure/AI-benchmarking-guide/blob/7f20e5fa3b2f9a46d8404af1f6fb14b049d6d5cc/"
        "Azure_Results/ND_H200_v5_results.md"
    )
    assert finding.hint.startswith("See first whether NCCL's log tells of NVLS")


@pytest.mark.parametrize(
    ("gbps", "spread", "found"),
    [(425, 0.01, []), (415, 0.001, ["below-platform"]), (415, 0.02, []), (200, 0.02, ["below-platform"])],
)
def test_the_interval_decides(gbps, spread, found):
    assert [code for _, code, _ in codes(judged(default("1G", gbps, 8, spread)))] == found


def test_only_large_sizes_are_judged():
    assert codes(judged(default("16M", 50, 8), default("128M", 100, 8))) == []


def test_the_largest_size_decides():
    assert codes(judged(default("256M", 100, 8), default("1G", 468, 8))) == []


def test_without_switches_that_reduce_only_figures_without_count():
    found = judged(default("4G", 360, 8), hardware=EIGHT.with_(gpu="NVIDIA H100 80GB HBM3"), NCCL_NVLS_ENABLE="0")
    assert found.sizes[0].published is not None
    assert found.sizes[0].published.busbw_gbps == 365.0
    assert codes(found) == []
    assert codes(judged(default("4G", 360, 8), hardware=EIGHT.with_(gpu="NVIDIA H100 80GB HBM3"))) == [
        ("warning", "below-platform", "4G")
    ]
    assert [size.published for size in judged(default("1G", 200, 8), NCCL_NVLS_ENABLE="0").sizes] == [None]


def test_two_h100s_beside_rings_of_two():
    two = TWO.with_(gpu="NVIDIA H100 80GB HBM3")
    assert codes(judged(default("4G", 330, 2), hardware=two, nranks=2)) == []
    (finding,) = oddities(judged(default("4G", 300, 2), hardware=two, nranks=2))
    assert finding.code == "below-platform"
    assert finding.hint.startswith("See first `nvidia-smi nvlink --status`")


@pytest.mark.parametrize(
    ("cell", "hardware", "nranks"),
    [
        (default("1G", 100, 8, dtype="bfloat16"), EIGHT, 8),
        (default("1G", 100, 8, collective="all_gather"), EIGHT, 8),
        (default("1G", 100, 4), EIGHT, 4),
        (default("1G", 100, 8), EIGHT.with_(gpu="NVIDIA H20"), 8),
        (default("1G", 100, 8), EIGHT.with_(gpu=None), 8),
        (default("1G", 100, 8), EIGHT.with_(gpu="NVIDIA H100 80GB HBM3"), 8),
    ],
)
def test_other_platforms_types_and_collectives_have_no_figure(cell, hardware, nranks):
    found = judged(cell, hardware=hardware, nranks=nranks)
    assert [size.published for size in found.sizes] == [None]
    assert codes(found) == []


def test_a_figure_does_not_stand_beside_sizes_far_above_its_own():
    found = judged(default("64G", 100, 8))
    assert [size.published.size_bytes for size in found.sizes if size.published] == [16 << 30]
    assert [size.published for size in judged(default("128G", 100, 8)).sizes] == [None]


def test_between_hosts_no_figure_is_taken_for_the_same_network():
    found = judged(default("1G", 300, 16), hardware=EIGHT.with_(nodes=2), nranks=16, nnodes=2)
    assert found.limit is not None
    assert (found.limit.busbw_gbps, found.limit.basis) == (750.0, "8 rails of 400 GB/s together")
    assert [(size.share, size.published) for size in found.sizes] == [(pytest.approx(0.4), None)]


# ---- what is not known


@pytest.mark.parametrize("nnodes", [None, 2])
def test_hosts_that_were_not_looked_at(nnodes):
    assert normality(document(default("1G", 300, 8), nnodes=nnodes), EIGHT, {}, published_figures()) is None


def test_a_default_that_was_not_timed():
    assert normality(document(default("1G", 300, 8, time_us=None)), EIGHT, {}, published_figures()) is None


def test_an_unknown_gpu_has_neither_limit_nor_share():
    found = judged(default("1G", 300, 8), hardware=EIGHT.with_(gpu="NVIDIA Z1"))
    assert (found.limit, found.sizes[0].share, codes(found)) == (None, None, [])
    assert "of limit" not in sweep_text(document(default("1G", 300, 8)).with_(normal=found))


def test_the_first_cell_of_a_size_is_the_default():
    other = default("1G", 200, 8)
    assert [size.busbw_gbps.estimate for size in judged(default("1G", 468, 8), other).sizes] == [pytest.approx(468)]


# ---- the table


def test_every_row_names_a_model_and_a_source():
    rows = published_figures()
    assert len(rows) == len(set(rows))
    assert {row.gpu for row in rows} <= {model.name for _, model in MODELS}
    assert all(row.source.startswith("https://") for row in rows)
    assert all(datetime.date.fromisoformat(row.read) for row in rows)
    assert all(datetime.date.fromisoformat(row.published) for row in rows if row.published)
    assert all((row.network == "") == (row.nodes == 1) for row in rows)
    assert all(row.gpus % row.nodes == 0 and Collective(row.collective) for row in rows)


def test_bandwidth_grows_with_size_within_a_source():
    by_source: dict[tuple[object, ...], list[float]] = {}
    for row in sorted(published_figures(), key=lambda row: row.size_bytes):
        by_source.setdefault((row.source, row.platform, row.gpus, row.nodes, row.nvls), []).append(row.busbw_gbps)
    assert all(after > 0.99 * before for row in by_source.values() for before, after in itertools.pairwise(row))


def test_data_shows_the_table_that_the_package_has():
    shown = ROOT / "data/published_busbw/published_busbw.csv"
    assert shown.read_bytes() == (ROOT / "ncclprobe/sweep/published_busbw.csv").read_bytes()
