"""A sweep's prediction beside what the workload measured, where runs of both are shown together."""

from __future__ import annotations

from collections.abc import Iterable

from ncclprobe.records.base import Document, Interval
from ncclprobe.records.e2e import E2eDocument
from ncclprobe.records.sweep import SweepDocument


def foretold(documents: Iterable[Document]) -> tuple[str, ...]:
    """Return a sentence for each prediction and each measured ratio; nothing without both.

    A comparison that has a prediction of its own shows that one itself.
    """
    known = list(documents)
    predictions = [
        one.prediction.end_to_end
        for one in known
        if isinstance(one, SweepDocument) and one.prediction is not None and one.prediction.end_to_end is not None
    ]
    ended = [one for one in known if isinstance(one, E2eDocument) and one.finished and one.prediction is None]
    measured = [(one.workload, one.ratio) for one in ended if one.ratio is not None]
    return tuple(_sentence(end, workload, ratio) for end in predictions for workload, ratio in measured)


def _sentence(end: Interval, workload: str, ratio: Interval) -> str:
    start = f"Predicted: at most {_text(end)} times the defaults' speed; {workload} measured {_text(ratio)}"
    if ratio.high < end.low:
        return f"{start}, which is less: collectives overlap with computing, or wait for other ranks."
    if ratio.low > end.high:
        return f"{start}, which is more: something else than these messages is faster, too."
    return f"{start}, and the intervals overlap."


def _text(interval: Interval) -> str:
    return f"{interval.estimate:.3f} ({interval.low:.3f} to {interval.high:.3f})"
