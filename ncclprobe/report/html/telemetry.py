"""What was sampled while trials ran, as plots in the order of time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ncclprobe.records.e2e import E2eDocument, Trial
from ncclprobe.report.html.figures import Figure, Look, bars
from ncclprobe.report.html.markup import plain
from ncclprobe.report.html.sweep_figures import broken, styled
from ncclprobe.report.text.telemetry import Quantity, known_quantities, written

DRAWN = ("GPU busy", "power", "SM clock", "throttled", "CPU busy", "CPU clock")
"""Further ones are in the hover text alone."""


def telemetry_figures(key: str, document: E2eDocument, looks: Mapping[str, Look]) -> tuple[Figure, ...]:
    """Return a plot for each quantity that is known, with the least and the most of each trial.

    Args:
        key: Begins the plots' keys.
        document: The comparison.
        looks: Arm -> how its points look, in the order of their checkboxes.
    """
    drawn = [quantity for quantity in known_quantities(document.trials) if quantity.name in DRAWN]
    return tuple(_figure(f"{key}-{at}", quantity, document, looks) for at, quantity in enumerate(drawn))


def _figure(key: str, quantity: Quantity, document: E2eDocument, looks: Mapping[str, Look]) -> Figure:
    traces = (
        {**_trace(quantity, [trial for trial in document.trials if trial.arm == arm], shown), "meta": f"arm-{at}"}
        for at, (arm, shown) in enumerate(looks.items())
    )
    title = f"{quantity.name[0].upper()}{quantity.name[1:]} while it ran"
    axis = f"{quantity.name}, {quantity.unit}" if quantity.unit else quantity.name
    return Figure(
        key=key,
        title=title,
        description="A point a trial: the mean over what was sampled, with the least and the most.",
        traces=tuple(traces),
        layout={"xaxis": {"title": {"text": "trial"}}, "yaxis": {"title": {"text": axis}}},
        height=260,
    )


def _trace(quantity: Quantity, trials: list[Trial], shown: Look) -> dict[str, Any]:
    known = [(trial, found) for trial in trials if (found := quantity.of(trial)) is not None]
    means = [found.mean for _, found in known]
    return {
        **styled(shown),
        "mode": "markers",
        "name": plain(trials[0].arm) if trials else "",
        "x": [trial.number for trial, _ in known],
        "y": means,
        "error_y": bars(means, [found.min for _, found in known], [found.max for _, found in known]),
        "customdata": [broken("\n".join([f"{trial.number}: {trial.arm}", *sampled(trial)])) for trial, _ in known],
    }


def sampled(trial: Trial) -> Iterator[str]:
    """Yield a line for each quantity that is known of a trial."""
    for quantity in known_quantities([trial]):
        found = quantity.of(trial)
        if found is not None:
            ends = (
                "" if found.min == found.max else f" ({written(quantity, found.min)} to {written(quantity, found.max)})"
            )
            yield f"{quantity.name} {written(quantity, found.mean)}{ends}"
