"""Is this normal? The default's bus bandwidth beside what the hardware allows and what others published."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ncclprobe.bandwidth import busbw
from ncclprobe.findings import Finding, warning
from ncclprobe.hardware import gpu_model
from ncclprobe.names import Collective
from ncclprobe.records.base import Interval
from ncclprobe.records.normal import Hardware, Limit, Normality, Nvls, PublishedFigure, SizeNormality
from ncclprobe.records.sweep import CellResult, SweepDocument
from ncclprobe.sweep.limits import Group, Ways, limit_of, reduces_in_switch, ways
from ncclprobe.units import Bytes, Seconds, format_size

LARGE_BYTES = 256 << 20
"""From here on bandwidth alone counts: published figures grow by under 10 % to twice the size."""
CLEARLY = 0.9
"""A healthy platform does clearly better where the interval ends below this share of the lowest published figure.

Operators' thresholds lie at 0.90 to 0.99 of what the same platforms were measured to do (data/published_busbw).
"""
FARTHEST = 4
"""A published figure stands beside sizes up to so many times its own."""


def normality(
    document: SweepDocument, hardware: Hardware, environment: Mapping[str, str], figures: Iterable[PublishedFigure]
) -> Normality | None:
    """Return what the default's bandwidths are to be compared with; None where not all of its hosts were looked at.

    Args:
        document: The sweep's result.
        hardware: Of every host.
        environment: The ranks' variables.
        figures: The table.
    """
    defaults = [cell for cell in _defaults(document) if cell.time_us is not None]
    if document.nnodes is None or document.nnodes > hardware.nodes or not defaults:
        return None
    group, open_ways = Group(document.nranks, document.nnodes), ways(environment)
    limit = limit_of(Collective(defaults[0].collective), group, hardware, open_ways)
    alike = [figure for figure in figures if _same_platform(figure, group, hardware)]
    expected = _in_force(alike, hardware, group, open_ways)
    return Normality(
        hardware=hardware,
        limit=limit,
        sizes=tuple(_beside(cell, document.nranks, limit, expected) for cell in defaults),
    )


def _defaults(document: SweepDocument) -> list[CellResult]:
    """Return the default's result at each size: the first of the size's cells."""
    first: dict[tuple[str, str, int], CellResult] = {}
    for cell in document.cells:
        first.setdefault((cell.collective, cell.dtype, cell.size_bytes), cell)
    return list(first.values())


def _same_platform(figure: PublishedFigure, group: Group, hardware: Hardware) -> bool:
    """Return whether a figure is of as many such GPUs in one host; between hosts a scan cannot tell networks apart."""
    model = gpu_model(hardware.gpu)
    one_host = group.nnodes == figure.nodes == 1
    return one_host and model is not None and (figure.gpu, figure.gpus) == (model.name, group.nranks)


def _in_force(
    figures: Sequence[PublishedFigure], hardware: Hardware, group: Group, open_ways: Ways
) -> list[PublishedFigure]:
    """Return the figures with switches that reduce as here; where none has, those without, as a floor."""
    here = reduces_in_switch(gpu_model(hardware.gpu), group.nranks, open_ways)
    same = [figure for figure in figures if figure.nvls is Nvls.ON] if here else []
    return same or [figure for figure in figures if figure.nvls is Nvls.OFF]


def _beside(cell: CellResult, nranks: int, limit: Limit | None, figures: Iterable[PublishedFigure]) -> SizeNormality:
    here = _bandwidth(cell, nranks)
    return SizeNormality(
        collective=cell.collective,
        dtype=cell.dtype,
        size_bytes=cell.size_bytes,
        busbw_gbps=here,
        share=None if limit is None else here.estimate / limit.busbw_gbps,
        published=_yardstick(cell, figures),
    )


def _bandwidth(cell: CellResult, nranks: int) -> Interval:
    time = cell.time_us
    if time is None:
        raise ValueError(f"the default was not timed at {cell.size_bytes}")
    collective, size = Collective(cell.collective), Bytes(cell.size_bytes)
    estimate, low, high = (
        busbw(collective, size, Seconds(t / 1e6), nranks) for t in (time.median, time.high, time.low)
    )
    return Interval(estimate=estimate, low=low, high=high)


def _yardstick(cell: CellResult, figures: Iterable[PublishedFigure]) -> PublishedFigure | None:
    """Return the lowest of the sources' figures, each at its largest size up to the cell's.

    Bandwidth grows with size, so what a healthy platform does at a smaller one it does at the cell's, too.
    """
    latest: dict[str, PublishedFigure] = {}
    for figure in sorted(figures, key=lambda figure: figure.size_bytes):
        near = figure.size_bytes <= cell.size_bytes <= FARTHEST * figure.size_bytes
        if near and (figure.collective, figure.dtype) == (cell.collective, cell.dtype):
            latest[figure.source] = figure
    return min(latest.values(), key=lambda figure: figure.busbw_gbps, default=None)


def oddities(found: Normality) -> Iterator[Finding]:
    """Yield a finding where the bandwidth is more than the hardware has, or clearly less than others get of it."""
    yield from _above(found)
    yield from _below(found)


def _above(found: Normality) -> Iterator[Finding]:
    limit = found.limit
    over = [size for size in found.sizes if limit is not None and size.busbw_gbps.low > limit.busbw_gbps]
    if limit is None or not over:
        return
    most = max(over, key=lambda size: size.busbw_gbps.estimate)
    yield warning(
        "above-limit",
        ", ".join(format_size(size.size_bytes) for size in over),
        f"{most.busbw_gbps.estimate:.4g} GB/s of bus bandwidth at {format_size(most.size_bytes)}, where"
        f" {limit.basis} allow {limit.busbw_gbps:.4g} GB/s",
        "Do not trust these times, or what was seen of the links: compare with `ncclprobe scan` and nccl-tests.",
    )


def _below(found: Normality) -> Iterator[Finding]:
    """Yield a finding on the largest size that has a published figure, if it is large."""
    compared = [size for size in found.sizes if size.published is not None and size.size_bytes >= LARGE_BYTES]
    largest = max(compared, key=lambda size: size.size_bytes, default=None)
    if largest is None or largest.published is None:
        return
    figure = largest.published
    if largest.busbw_gbps.high >= CLEARLY * figure.busbw_gbps:
        return
    yield warning(
        "below-platform",
        format_size(largest.size_bytes),
        f"{largest.busbw_gbps.estimate:.4g} GB/s of bus bandwidth, where {figure.gpus} {figure.gpu}"
        f" ({figure.platform}) do {figure.busbw_gbps:.4g} GB/s at {format_size(figure.size_bytes)}: {figure.source}",
        _hint(figure),
    )


def _hint(figure: PublishedFigure) -> str:
    links = "`nvidia-smi nvlink --status` for links that are down, and `nvidia-smi -q -d PERFORMANCE` for throttling"
    if figure.nvls is Nvls.ON:
        return f"See first whether NCCL's log tells of NVLS (it needs nvidia-fabricmanager), then {links}."
    return f"See first {links}, then whether other jobs run on this host."
