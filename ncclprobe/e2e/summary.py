"""From the trials of a finished comparison to its document."""

from __future__ import annotations

from collections.abc import Sequence

from ncclprobe.e2e.choice import concerned
from ncclprobe.e2e.compare import judged, pairs
from ncclprobe.e2e.plan import is_settled
from ncclprobe.e2e.results import believed
from ncclprobe.e2e.throttling import excess, held
from ncclprobe.records.e2e import Arm, ArmSettings, Comparison, E2eDocument, E2eOptions, Trial


def summarised(options: E2eOptions, metric: str, trials: Sequence[Trial], *, finished: bool = True) -> E2eDocument:
    """Return the document, without findings.

    Args:
        options: Of the comparison.
        metric: The name of what is compared.
        trials: All, in order.
        finished: Whether no further trial is to come.
    """
    arms = {name: settings for name, settings in options.arms.items() if name != Arm.BASELINE}
    comparisons = tuple(
        _compared(name, settings, options, metric, trials, finished=finished) for name, settings in arms.items()
    )
    chief = chief_of(comparisons)
    return E2eDocument(
        workload=options.workload,
        metric=metric,
        lower_is_better=options.lower_is_better,
        min_effect=options.min_effect,
        seed=options.seed,
        baseline=options.baseline.env,
        layout=options.baseline.layout,
        candidate=chief.env,
        trials=tuple(trials),
        verdict=chief.verdict,
        ratio=chief.ratio,
        trials_per_arm=chief.trials,
        comparisons=comparisons,
        finished=finished,
        collectives=concerned(options.arms.values()),
    )


def _compared(
    name: str, settings: ArmSettings, options: E2eOptions, metric: str, trials: Sequence[Trial], *, finished: bool
) -> Comparison:
    """Return an arm's result; where its values themselves ended its trials, the interval is that of the look."""
    ratios = pairs(trials, metric, lower_is_better=options.lower_is_better, arm=name)
    judgement = judged(
        ratios,
        options.trials,
        options.min_effect,
        final=finished and not is_settled(options, ratios),
        comparisons=len(options.arms) - 1,
    )
    judgement = believed(held(judgement, excess(trials, name), options.min_effect), trials, name)
    return Comparison(
        arm=name,
        verdict=judgement.verdict,
        ratio=judgement.ratio,
        trials=len(ratios),
        env=settings.env,
        layout=settings.layout,
    )


def chief_of(comparisons: Sequence[Comparison]) -> Comparison:
    """Return the comparison that the document's answer is about: the candidate's, else that of the fastest arm."""
    named = next((one for one in comparisons if one.arm == Arm.CANDIDATE), None)
    return named or max(comparisons, key=lambda one: one.ratio.estimate if one.ratio else 0.0)
