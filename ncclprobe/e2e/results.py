"""Whether the arms computed the same: how fast a wrong result came says nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from ncclprobe.e2e.compare import Judgement
from ncclprobe.records.e2e import Arm, E2eVerdict, Trial

CHECKSUM = "checksum"
"""Name of the metric that must not depend on the settings."""
CHECKSUM_TOLERANCE = 1e-3
"""Relative: float32 sums in another order differ by about 1e-6 a layer, a lost or doubled term by far more."""


def checksums(trials: Iterable[Trial], *arms: str) -> list[float]:
    """Return the checksums of some arms' trials, warm-ups included, in order; of all arms where none is named.

    One that is no finite number, which no journal holds, is nan.
    """
    chosen = [trial for trial in trials if not arms or trial.arm in arms]
    found = [math.nan if trial.wild_checksum else trial.metrics.get(CHECKSUM) for trial in chosen]
    return [one for one in found if one is not None]


def alike(sums: Sequence[float]) -> bool:
    """Return whether checksums are one, up to the order of additions; one that is no number is like no other."""
    if not all(map(math.isfinite, sums)):
        return False
    return not sums or max(sums) - min(sums) <= CHECKSUM_TOLERANCE * abs(sums[0])


def believed(judgement: Judgement, trials: Sequence[Trial], arm: str) -> Judgement:
    """Return a judgement without its verdict where the arm's results differ from the baseline's.

    Args:
        judgement: By the values alone.
        trials: All, in order.
        arm: Which; where the baseline differs from itself, no arm can be told right from wrong.
    """
    if alike(checksums(trials, Arm.BASELINE, arm)):
        return judgement
    return judgement.with_(verdict=E2eVerdict.INCONCLUSIVE)
