"""From the trials of a finished comparison to its document."""

from __future__ import annotations

from collections.abc import Sequence

from ncclprobe.e2e.compare import judged, pairs
from ncclprobe.e2e.plan import Stop
from ncclprobe.records.e2e import E2eDocument, E2eOptions, Trial


def summarised(options: E2eOptions, metric: str, trials: Sequence[Trial], stop: Stop) -> E2eDocument:
    """Return the document, without findings.

    Args:
        options: Of the comparison.
        metric: The name of what is compared.
        trials: All, in order.
        stop: Why no further trial was run. Where the values themselves said so, the interval is that of the look that
            stopped it.
    """
    ratios = pairs(trials, metric, lower_is_better=options.lower_is_better)
    judgement = judged(ratios, options.trials, options.min_effect, final=stop is not Stop.CLEAR)
    return E2eDocument(
        workload=options.workload,
        metric=metric,
        lower_is_better=options.lower_is_better,
        min_effect=options.min_effect,
        seed=options.seed,
        baseline=options.baseline.env,
        candidate=options.candidate.env,
        trials=tuple(trials),
        verdict=judgement.verdict,
        ratio=judgement.ratio,
        trials_per_arm=len(ratios),
    )
