"""Whether an arm's result may be that of a machine that slowed itself down.

A trial whose GPUs were slowed down in a share s of the time that they worked has lost at most that share: had they done
nothing at all meanwhile, it would have had 1 / (1 − s) of its throughput. So the excess of one arm's share over the
other's bounds what the slowdowns can have done to the ratio. Source: docs/performance.md, validate-e2e.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from ncclprobe.e2e.compare import Judgement, verdict_of
from ncclprobe.records.base import Interval
from ncclprobe.records.e2e import Arm, E2eVerdict, Trial, TrialStatus

LEAST_EXCESS = 0.01
"""Share of the time; GPUs report a slowdown in single samples where they change their clocks, too. Source: DCGM API
reference 2.4, DCGM_CLOCKS_THROTTLE_REASON_HW_SLOWDOWN."""


def throttled_share(trials: Sequence[Trial], arm: str) -> float | None:
    """Return the share of the time in which an arm's machines were slowed down, None where nothing says so.

    The mean over its good trials; in each, the node that was slowed down the most, as all wait for it.
    """
    good = [trial for trial in trials if trial.arm == arm and trial.status is TrialStatus.OK]
    known = [[host.throttled for host in trial.telemetry if host.throttled is not None] for trial in good]
    worst = [max(shares) for shares in known if shares]
    return statistics.fmean(worst) if worst else None


def excess(trials: Sequence[Trial], arm: str) -> float:
    """Return by how much an arm's share is above the baseline's, 0 where that is unknown or next to nothing."""
    own, others = throttled_share(trials, arm), throttled_share(trials, Arm.BASELINE)
    if own is None or others is None or abs(own - others) < LEAST_EXCESS:
        return 0.0
    return own - others


def held(judgement: Judgement, over: float, min_effect: float) -> Judgement:
    """Return a judgement without its verdict where that would be another one without the slowdowns.

    Args:
        judgement: By the values alone.
        over: As ``excess`` returns it.
        min_effect: Half the width of what counts as no difference.
    """
    if judgement.ratio is None or verdict_of(without(judgement.ratio, over), min_effect) is judgement.verdict:
        return judgement
    return judgement.with_(verdict=E2eVerdict.INCONCLUSIVE)


def without(ratio: Interval, over: float) -> Interval:
    """Return the interval that also holds what the ratio may be where nothing is slowed down.

    Args:
        ratio: The arm's throughput / baseline's, as measured.
        over: As ``excess`` returns it: above 0 the arm itself may be faster than it was, below 0 the baseline.
    """
    if over > 0:
        return ratio.with_(high=ratio.high / (1 - over) if over < 1 else math.inf)
    return ratio.with_(low=ratio.low * (1 + over))
