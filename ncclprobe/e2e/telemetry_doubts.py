"""What is doubtful about a comparison by what was sampled while it ran, as findings."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterator, Sequence

from ncclprobe.e2e.compare import verdict_of
from ncclprobe.e2e.telemetry import SLOWDOWNS
from ncclprobe.e2e.throttling import excess, throttled_share
from ncclprobe.findings import Finding, info, warning
from ncclprobe.records.e2e import Arm, Comparison, E2eDocument, E2eOptions, E2eVerdict, Trial

LOST = "the process that samples was lost or could not be started"
MOST_PLACES = 3
COOL = "Look at `nvidia-smi -q -d PERFORMANCE,TEMPERATURE,POWER` and at the machine's cooling and power supplies"


def telemetry_doubts(document: E2eDocument, options: E2eOptions) -> Iterator[Finding]:
    """Yield where machines slowed themselves down, and what could not be sampled."""
    for one in document.comparisons:
        yield from _throttled(document, one)
    if options.telemetry_s:
        yield from _missing(document.trials)


def is_withheld(one: Comparison, min_effect: float) -> bool:
    """Return whether the values alone would have given a verdict, which slowdowns or differing results took away."""
    return (
        one.verdict is E2eVerdict.INCONCLUSIVE
        and one.ratio is not None
        and verdict_of(one.ratio, min_effect) is not E2eVerdict.INCONCLUSIVE
    )


def _throttled(document: E2eDocument, one: Comparison) -> Iterator[Finding]:
    over = excess(document.trials, one.arm)
    if not over or one.ratio is None:
        return
    hot, cool = (one.arm, Arm.BASELINE.value) if over > 0 else (Arm.BASELINE.value, one.arm)
    said = (
        f"The {hot} ran on a machine that was slowed down in {_percent(document.trials, hot)} of the time it worked "
        f"({_places(document.trials, hot)}), the {cool} in {_percent(document.trials, cool)}"
    )
    if is_withheld(one, document.min_effect):
        by_values = verdict_of(one.ratio, document.min_effect)
        yield warning(
            "arm-throttled",
            one.arm,
            f"{said}. By its values alone the {one.arm} is {by_values}, but that may be the slowdown's doing.",
            f"{COOL}, then compare again.",
        )
    else:
        yield info("arm-throttled", one.arm, f"{said}; the answer is the same without that.", f"{COOL}.")


def _percent(trials: Sequence[Trial], arm: str) -> str:
    return f"{throttled_share(trials, arm) or 0.0:.1%}"


def _places(trials: Sequence[Trial], arm: str) -> str:
    """Return what slowed down which GPUs, the worst first."""
    shares: collections.defaultdict[str, float] = collections.defaultdict(float)
    for trial in trials:
        for host in trial.telemetry if trial.arm == arm else ():
            for gpu in host.gpus:
                for reason, share in (gpu.reasons or {}).items():
                    if reason in SLOWDOWNS:
                        shares[f"{reason} on {host.host} GPU {gpu.index}"] += share
    worst = sorted(shares, key=lambda name: -shares[name])[:MOST_PLACES]
    return ", ".join(worst) or "CPUs that were too hot"


def _missing(trials: Sequence[Trial]) -> Iterator[Finding]:
    found = collections.Counter(itertools.chain.from_iterable(map(_problems, trials)))
    for (host, problem), count in found.items():
        yield info(
            "telemetry-missing",
            host,
            f"Not everything could be sampled in {count} of {len(trials)} trials: {problem}.",
            "The comparison itself is not touched; whether a machine slowed itself down is not known for these trials.",
        )


def _problems(trial: Trial) -> list[tuple[str, str]]:
    """Return what could not be sampled, by host."""
    if not trial.telemetry:
        return [("telemetry", LOST)]
    return [(host.host, problem) for host in trial.telemetry for problem in host.problems]
