"""What is worth knowing about the environments of a sweep beyond their figures."""

from __future__ import annotations

from collections.abc import Iterator

from ncclprobe.findings import Finding, warning
from ncclprobe.records.sweep import DEFAULT_CELL, Environment, environment_label
from ncclprobe.sweep.race import Race
from ncclprobe.units import format_size


def environment_doubts(race: Race) -> Iterator[Finding]:
    """Yield the findings of a finished race that environments are the reason of."""
    yield from _refused(race)
    yield from _slower(race)


def _refused(race: Race) -> Iterator[Finding]:
    why: dict[Environment, str] = {}
    for (_, cell), message in race.evidence.refused.items():
        if cell.env:
            why.setdefault(cell.env, message)
    for cell, (_, message) in race.evidence.out.items():
        if cell.env and cell == DEFAULT_CELL.under(cell.env):
            why[cell.env] = message or "the library's own choice does not work"
    for env, message in why.items():
        if not race.works(env):
            label = environment_label(env)
            yield warning(
                "environment-refused",
                label,
                f"nothing can be measured with {label}: {message}",
                "It was left out. Where the message does not say why, try it once with NCCL_DEBUG=INFO.",
            )


def _slower(race: Race) -> Iterator[Finding]:
    slower = [
        (point, found.ratio)
        for point, cell in race.winners.items()
        if cell.env and (found := race.ratios.get((point, cell))) is not None and found.high < 1
    ]
    if slower:
        sizes = ", ".join(format_size(point.size_bytes) for point, _ in slower)
        worst = 100 * (1 / min(ratio for _, ratio in slower) - 1)
        yield warning(
            "slower-size",
            sizes,
            f"the choice makes {slower[0][0].collective} of these sizes slower, by up to {worst:.1f} %",
            "Its variables hold for all sizes, and over all of them they are faster: does the workload use these?",
        )
