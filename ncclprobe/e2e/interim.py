"""What an unfinished comparison says so far."""

from __future__ import annotations

from collections.abc import Sequence

from ncclprobe.e2e.doubts import doubts, trials_needed
from ncclprobe.e2e.foretold import foretold
from ncclprobe.e2e.plan import standing
from ncclprobe.e2e.sglang_doubts import doubts as sglang_doubts
from ncclprobe.e2e.summary import chief_of, summarised
from ncclprobe.e2e.telemetry_doubts import is_withheld
from ncclprobe.findings import Finding, info
from ncclprobe.records.e2e import E2eDocument, E2eOptions, E2eVerdict, Trial, TrialStatus


def interim(options: E2eOptions, metric: str, trials: Sequence[Trial], go_on: str) -> E2eDocument:
    """Return the document of a comparison that has not ended, marked as such.

    Its intervals are those of a look at the data after which others follow, so they hold together with the later ones.

    Args:
        options: Of the comparison.
        metric: The name of what is compared.
        trials: All so far, in order.
        go_on: What to type to go on.
    """
    document = summarised(options, metric, trials, finished=False)
    found = doubts(document, options, standing(options, metric, trials), dropped=0)
    beside = sglang_doubts(trials, options.arms, options.sglang) if options.workload == "sglang" else ()
    document = document.with_(findings=(_unfinished(document, options, go_on), *found, *beside))
    return foretold(document, options)[0]


def _unfinished(document: E2eDocument, options: E2eOptions, go_on: str) -> Finding:
    done, most = sum(trial.status is TrialStatus.OK for trial in document.trials), options.trials * len(options.arms)
    chief = chief_of(document.comparisons)
    unclear = chief.verdict is E2eVerdict.INCONCLUSIVE and not is_withheld(chief, document.min_effect)
    needed = trials_needed(chief, document.min_effect) if unclear else None
    settles = f" About {needed} trials an arm would settle it, if the noise stays as it is." if needed else ""
    return info(
        "unfinished",
        options.workload,
        f"The comparison has not ended: {done} good trials so far, at most {most} in all. It still runs, or it was "
        f"interrupted.{settles}",
        f"Go on with `{go_on}`, unless it still runs.",
    )
