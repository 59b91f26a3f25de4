"""What nodes measured of themselves, compared over the fleet: is it the host, a GPU, or neither.

Letters of shapes: ``U`` what is compared (a node, or a GPU of one), ``R`` rounds.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ncclprobe.nodes.evidence import COVERAGE_ALPHA, NAMING_ALPHA
from ncclprobe.nodes.sentences import percent
from ncclprobe.records.base import Interval
from ncclprobe.records.nodes import Cause, Check, CheckValue, CheckVerdict, NodeStatus, NodeVerdict
from ncclprobe.stats import pair_scale, t_quantile

Floats = npt.NDArray[np.float64]

LEAST_ROUNDS = 3
"""Values of a check without which nothing is said of it."""
LEAST_SLOWDOWN = 0.1
"""Hosts and GPUs of one kind differ by some percent from birth; less than this is never named."""
USUAL_SPREAD, USUAL_WORTH = 0.02, 4.0
"""Standard deviation of the log between healthy ones, and how many of them that assumption is worth."""
_MEDIAN_VARIANCE = math.pi / 2
"""Variance of a median over that of a mean. Source: Huber & Ronchetti, Robust Statistics (2009), section 1.3"""
_MAD = 1.4826
"""Normal standard deviation over median absolute deviation."""

GPU_CHECKS = frozenset({Check.GPU_MEMORY, Check.GPU_COMPUTE})
WORDS = {
    Check.HOST_MEMORY: "host memory",
    Check.HOST_COMPUTE: "cores",
    Check.GPU_MEMORY: "memory",
    Check.GPU_COMPUTE: "matrix products",
    Check.INTRA_NODE: "all-reduce between its own ranks",
}
"""For sentences."""

Place = tuple[str, int | None]
"""A node, and a GPU of it where the check is about one."""


def judge_checks(values: Iterable[CheckValue], threshold: float) -> dict[str, tuple[CheckVerdict, ...]]:
    """Return each node's own checks, compared with the others' medians; the error budget covers all of them.

    Args:
        values: Of one run, in any order.
        threshold: The smallest slowdown of interest.
    """
    rows: dict[Check, dict[Place, dict[int, CheckValue]]] = defaultdict(lambda: defaultdict(dict))
    for value in values:
        rows[value.check][value.node, value.gpu][value.round] = value
    tables = {check: _table(places) for check, places in rows.items()}
    number = sum(len(places) for check, places in rows.items() if tables[check].shape[1] >= LEAST_ROUNDS)
    found: dict[str, list[CheckVerdict]] = defaultdict(list)
    for check, places in sorted(rows.items()):
        log_UR = tables[check]
        if log_UR.shape[1] < LEAST_ROUNDS or len(log_UR) < 2:
            continue
        for place, verdict in zip(
            places, _verdicts(check, log_UR, list(places), places, number, threshold), strict=True
        ):
            found[place[0]].append(verdict)
    return {node: tuple(verdicts) for node, verdicts in found.items()}


def _table(places: Mapping[Place, Mapping[int, CheckValue]]) -> Floats:
    """Return the logarithms of the rounds that every place has."""
    common = sorted(set.intersection(*(set(rounds) for rounds in places.values())))
    values_UR = np.array([[rounds[r].value for r in common] for rounds in places.values()], dtype=np.float64)
    return np.asarray(np.log(values_UR.reshape(len(places), -1)))


def _verdicts(
    check: Check,
    log_UR: Floats,
    order: Sequence[Place],
    places: Mapping[Place, Mapping[int, CheckValue]],
    number: int,
    threshold: float,
) -> list[CheckVerdict]:
    centred_UR = log_UR - np.median(log_UR, axis=0)
    level_U = np.median(centred_UR, axis=1)
    noise = _MEDIAN_VARIANCE * pair_scale(centred_UR.T) ** 2 / log_UR.shape[1]
    verdicts = []
    for place, key in enumerate(order):
        difference, error, df = compared(level_U, place, noise)
        wide, named = (float(t_quantile(1 - alpha / number, df)) for alpha in (COVERAGE_ALPHA / 2, NAMING_ALPHA))
        slow = difference + named * error < 0 and 1 - math.exp(difference) >= max(threshold, LEAST_SLOWDOWN)
        one = next(iter(places[key].values()))
        verdicts.append(
            CheckVerdict(
                check=check,
                gpu=key[1],
                status=NodeStatus.SLOW if slow else NodeStatus.OK,
                slowdown=Interval(
                    estimate=1 - math.exp(difference),
                    low=1 - math.exp(difference + wide * error),
                    high=1 - math.exp(difference - wide * error),
                ),
                value=float(np.median([value.value for value in places[key].values()])),
                unit=one.unit,
            )
        )
    return verdicts


def compared(level_U: Floats, place: int, noise: float) -> tuple[float, float, float]:
    """Return one's difference from the median of the others, its standard error and degrees of freedom.

    The spread between healthy ones is the others' median absolute deviation, and a usual spread that counts as some
    more of them: three others alone say little of it.

    Args:
        level_U: Logarithms.
        place: Which of them.
        noise: Variance of each of them from what was measured again and again.

    Source: Smyth, Stat. Appl. Genet. Mol. Biol. 3 (2004) 3, section 4 (a variance with a prior of some degrees)
    """
    others = np.delete(level_U, place)
    centre = float(np.median(others))
    seen, worth = (_MAD * float(np.median(np.abs(others - centre)))) ** 2, float(len(others) - 1)
    spread = (USUAL_WORTH * (USUAL_SPREAD**2 + noise) + worth * seen) / (USUAL_WORTH + worth)
    spread = max(spread, noise)
    error = math.sqrt(spread * (1 + _MEDIAN_VARIANCE / len(others)))
    return float(level_U[place]) - centre, error, USUAL_WORTH + worth


def explained(verdict: NodeVerdict, checks: tuple[CheckVerdict, ...]) -> NodeVerdict:
    """Return a node's verdict with what its own checks add: which part of it is slow, or that it is none of them."""
    if not checks:
        return verdict
    told = verdict.with_(checks=checks)
    slow = [check for check in checks if check.status is NodeStatus.SLOW]
    if slow:
        worst = max(slow, key=lambda check: check.slowdown.estimate)
        cause = Cause.GPU if worst.check in GPU_CHECKS else Cause.HOST
        return _with_slow_check(told, worst, cause)
    outside = verdict.slowdown is not None and all(c.slowdown.high < verdict.slowdown.estimate for c in checks)
    if verdict.status is NodeStatus.SLOW and outside:
        where = "its links, not the GPU" if _is_gpu(checks[0]) else "the network, not the host"
        text = f"{verdict.evidence}; its own checks are as fast as the fleet's: {where}"
        return told.with_(cause=Cause.NETWORK, evidence=text)
    return told


def _with_slow_check(verdict: NodeVerdict, worst: CheckVerdict, cause: Cause) -> NodeVerdict:
    rest = "its links" if _is_gpu(worst) else "the network"
    said = f"{check_sentence(worst)}: the {'GPU' if cause is Cause.GPU else 'host'}, not {rest}"
    if verdict.status in (NodeStatus.SLOW, NodeStatus.SUSPECT):
        slowdown = verdict.slowdown if verdict.status is NodeStatus.SLOW else worst.slowdown
        return verdict.with_(
            status=NodeStatus.SLOW, slowdown=slowdown, cause=cause, evidence=f"{verdict.evidence}; {said}"
        )
    if verdict.status is NodeStatus.UNREACHABLE:
        return verdict
    bounded = verdict.slowdown is not None and verdict.slowdown.high < 1
    groups = "its groups are no slower for it" if bounded else "its groups tell nothing, having no others beside them"
    text = f"{verdict.node}: {said}; {groups}"
    return verdict.with_(status=NodeStatus.SLOW, slowdown=worst.slowdown, cause=cause, evidence=text)


def _is_gpu(check: CheckVerdict) -> bool:
    """Return whether a check is of a node that is a GPU itself."""
    return check.check in GPU_CHECKS and check.gpu is None


def check_sentence(check: CheckVerdict) -> str:
    """Return how far a check is below the fleet's."""
    whose = f"the {WORDS[check.check]} of its GPU {check.gpu}" if check.gpu is not None else f"its {WORDS[check.check]}"
    verb = "are" if check.check in (Check.HOST_COMPUTE, Check.GPU_COMPUTE) else "is"
    return f"{whose} {verb} {percent(check.slowdown.estimate)} below the fleet's"


def by_groups(before: Sequence[NodeVerdict], told: Sequence[NodeVerdict]) -> tuple[NodeVerdict, ...]:
    """Return the verdicts that groups gave, with the evidence of both where groups found the node slow, too."""
    return tuple(
        after if (before.status is NodeStatus.SLOW) else before for before, after in zip(before, told, strict=True)
    )
