"""What a sweep predicted of the workload, held against what the trials measured; docs/performance.md has formulas."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ncclprobe.e2e.foretold_reasons import reasons
from ncclprobe.findings import Finding, info, warning
from ncclprobe.records.base import Interval
from ncclprobe.records.e2e import Arm, E2eDocument, E2eOptions, Trial, TrialStatus
from ncclprobe.records.foretold import Agreement, Basis, Expectation, Foretold, Sent
from ncclprobe.records.prediction import Prediction, Weight
from ncclprobe.records.profile import Basis as Counted
from ncclprobe.records.profile import Message

MOST = 0.99
"""Share of a run that can be saved, by whatever figures."""
WHOLE_RUN = frozenset({
    "tok_s", "total_throughput", "input_throughput", "output_throughput", "request_throughput", "overall_throughput",
    "total_token_throughput", "total_latency", "duration",
})  # fmt: skip
"""Metrics that go with a run's whole time, where each run has the same work.

Source: SGLang 0.5.17, benchmark/offline_throughput.py, benchmark/one_batch.py, benchmark/serving.py
"""


def foretold(document: E2eDocument, options: E2eOptions) -> tuple[E2eDocument, tuple[Finding, ...]]:
    """Return the document with the prediction beside its ratio, and what is to be said of it.

    Args:
        document: With its findings.
        options: Of the comparison.
    """
    chief = next((one for one in document.comparisons if one.arm == Arm.CANDIDATE), None)
    if options.expected is None or chief is None:
        return document, ()
    beside = _beside(document.with_(ratio=chief.ratio), options.expected)
    whole = beside.with_(reasons=tuple(reasons(beside, document, options, _unlike(document, options.expected))))
    return document.with_(prediction=whole), tuple(_said(whole))


# ---- what one run of a trial sends


class _Load(NamedTuple):
    """The predicted operations of one run, and their times."""

    operations: float
    default_us: float
    saved_us: Interval


def _beside(document: E2eDocument, expected: Expectation) -> Foretold:
    prediction, runs = expected.prediction, _baseline(document.trials)
    load, trial_s, steps = _load(prediction, runs), _median(one.seconds for one in runs), _median(map(_steps, runs))
    basis, part = _part(prediction, runs, load, trial_s) if document.metric in WHOLE_RUN else (None, None)
    share = _share(prediction, load)
    ratio = None if part is None else _sped_up(_scaled(share, part))
    per_step = None if load is None or not steps else _scaled(load.saved_us, 1 / steps)
    return Foretold(
        run=expected.run,
        collective=prediction.workload.collective,
        saved_share=share,
        covered=prediction.workload.covered,
        operations=None if load is None else round(load.operations),
        inferred=any(message.basis is Counted.INFERRED for one in runs for message in one.messages),
        default_s=None if load is None else load.default_us / 1e6,
        saved_s=None if load is None else _scaled(load.saved_us, 1e-6),
        trial_s=trial_s,
        steps=steps,
        basis=basis,
        part=part,
        ratio=ratio,
        saved_per_step_us=per_step or prediction.saved_per_step_us,
        measured=document.ratio,
        measured_per_step_us=_measured_per_step(document, trial_s, steps),
        agreement=_agreement(ratio, document.ratio),
    )


def _baseline(trials: Sequence[Trial]) -> list[Sent]:
    """Return what the baseline's good trials sent: the prediction is of what the defaults would take."""
    good = (trial for trial in trials if trial.arm == Arm.BASELINE and trial.status is TrialStatus.OK)
    return [trial.sent for trial in good if trial.sent is not None]


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _steps(sent: Sent) -> float | None:
    return None if sent.steps is None else sent.steps / sent.runs


def _load(prediction: Prediction, runs: Sequence[Sent]) -> _Load | None:
    """Return what one run's operations take and save, the median run's count at each size; None where none is known.

    A size's time and saving in the recorded run are scaled by the operations that it stands for: those of a run of a
    trial over those of the recorded run.
    """
    if not any(one.messages for one in runs):
        return None
    counted = [one for one in prediction.sizes if one.operations]
    factors = [(one, _count(prediction, one.size_bytes, runs) / one.operations) for one in counted]
    return _Load(
        operations=sum(one.operations * factor for one, factor in factors),
        default_us=sum(one.time_us * factor for one, factor in factors),
        saved_us=_summed(_scaled(one.saved_us, factor) for one, factor in factors),
    )


def _count(prediction: Prediction, size: int, runs: Sequence[Sent]) -> float:
    per_run = (represented(prediction, one.messages).get(size, 0) / one.runs for one in runs)
    return _median(per_run) or 0.0


def represented(prediction: Prediction, messages: Iterable[Message]) -> dict[int | None, int]:
    """Return the operations of the prediction's collective by the size that stands for them, None for those of none."""
    workload = prediction.workload
    timed = {one.size_bytes for one in prediction.sizes}
    weights = [one for one in workload.weights if one.size_bytes in timed]
    counts: dict[int | None, int] = {}
    for message in messages:
        if message.collective == workload.collective and message.size_bytes > 0:
            size = _standing(message.size_bytes, weights)
            counts[size] = counts.get(size, 0) + message.count
    return counts


def _standing(size: int, weights: Iterable[Weight]) -> int | None:
    """Return the measured size that is nearest by its ratio among those whose range a size lies in."""
    fits = [one.size_bytes for one in weights if one.low_bytes <= size <= one.high_bytes]
    return min(fits, key=lambda other: (abs(math.log(size / other)), other), default=None)


def _unlike(document: E2eDocument, expected: Expectation) -> float | None:
    """Return the share of the collective's operations in the baseline's trials that no measured size stands for."""
    counts = [represented(expected.prediction, one.messages) for one in _baseline(document.trials) if one.messages]
    whole = sum(sum(one.values()) for one in counts)
    return sum(one.get(None, 0) for one in counts) / whole if whole else None


# ---- from operations to the whole


def _part(
    prediction: Prediction, runs: Sequence[Sent], load: _Load | None, trial_s: float | None
) -> tuple[Basis | None, float | None]:
    """Return by what, and as how large a part of the whole, the operations count; None where nothing says so."""
    workload = prediction.workload
    own = _median(one.comm_share for one in runs)
    if own is not None:
        return Basis.TRIAL_SHARE, own * _represented_part(prediction, runs)
    if workload.comm_share is not None:
        return Basis.PROFILE_SHARE, workload.comm_share * workload.covered
    if load is not None and trial_s:
        return Basis.BOUND, min(MOST, load.default_us / 1e6 / trial_s)
    return None, None


def _represented_part(prediction: Prediction, runs: Sequence[Sent]) -> float:
    """Return the share of a trial's operations that a measured size stands for."""
    whole = sum(message.count for one in runs for message in one.messages)
    found = sum(count for one in runs for size, count in represented(prediction, one.messages).items() if size)
    return found / whole if whole else 0.0


def _share(prediction: Prediction, load: _Load | None) -> Interval:
    """Return the share of the operations' time that is saved: with the trials' mix of sizes where it is known."""
    if load is None or load.default_us <= 0:
        return prediction.saved_share
    return _scaled(load.saved_us, 1 / load.default_us)


def _sped_up(saved: Interval) -> Interval:
    """Return the throughput without a share of the time, over that with it."""
    return _each(saved, lambda one: 1 / (1 - min(MOST, one)))


def _measured_per_step(document: E2eDocument, trial_s: float | None, steps: float | None) -> Interval | None:
    if document.ratio is None or not trial_s or not steps:
        return None
    step_us = 1e6 * trial_s / steps
    return _each(document.ratio, lambda ratio: step_us * (1 - 1 / ratio))


def _each(interval: Interval, change: Callable[[float], float]) -> Interval:
    """Return an interval of a quantity that rises with another one."""
    return Interval(estimate=change(interval.estimate), low=change(interval.low), high=change(interval.high))


def _scaled(interval: Interval, factor: float) -> Interval:
    return _each(interval, lambda one: one * factor)


def _summed(parts: Iterable[Interval]) -> Interval:
    known = list(parts)
    return Interval(
        estimate=math.fsum(one.estimate for one in known),
        low=math.fsum(one.low for one in known),
        high=math.fsum(one.high for one in known),
    )


# ---- what is to be said


def _agreement(ratio: Interval | None, measured: Interval | None) -> Agreement:
    if ratio is None or measured is None:
        return Agreement.UNKNOWN
    if measured.low <= ratio.estimate <= measured.high:
        return Agreement.WITHIN
    if ratio.low <= measured.high and measured.low <= ratio.high:
        return Agreement.OVERLAPPING
    return Agreement.ABOVE if ratio.estimate > measured.high else Agreement.BELOW


WORDS: Mapping[Agreement, str] = {
    Agreement.OVERLAPPING: "lies beside the measured interval, though the two intervals overlap",
    Agreement.ABOVE: "lies above the measured interval: less was gained",
    Agreement.BELOW: "lies below the measured interval: more was gained",
}


def _said(one: Foretold) -> Iterator[Finding]:
    """Yield that a prediction was missed, or could not be checked, with the reasons."""
    why = f"Reasons: {', '.join(reason.code for reason in one.reasons)}." if one.reasons else ""
    if one.agreement is Agreement.UNKNOWN:
        yield info("prediction-unchecked", one.run, f"The sweep's prediction could not be checked. {why}".strip(), HINT)
    elif one.agreement is not Agreement.WITHIN and one.ratio is not None and one.measured is not None:
        figures = f"At most {_text(one.ratio)} was predicted, {_text(one.measured)} measured"
        yield warning("prediction-missed", one.run, f"{figures}: the prediction {WORDS[one.agreement]}. {why}", HINT)


HINT = "Trust what was measured here; docs/validate-e2e.md says what each of the reasons means."


def _text(interval: Interval) -> str:
    return f"{interval.estimate:.3f} ({interval.low:.3f} to {interval.high:.3f})"
