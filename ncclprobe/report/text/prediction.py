"""What a sweep's choice is predicted to give a workload, for people."""

from __future__ import annotations

import textwrap

from tabulate import tabulate

from ncclprobe.records.base import Interval
from ncclprobe.records.prediction import Prediction
from ncclprobe.report.text.findings import WIDTH
from ncclprobe.units import format_seconds, format_size


def prediction_text(prediction: Prediction | None) -> str:
    """Return what was weighed, a row a size, and what is saved; empty without a profile."""
    if prediction is None:
        return ""
    rows = prediction_rows(prediction)
    table = tabulate(rows, headers=PREDICTION_COLUMNS, disable_numparse=True, colalign=("right",) * 5)
    return f"{_filled(weighed(prediction))}\n\n{table}\n\n{_filled(saving(prediction))}"


PREDICTION_COLUMNS = ("size", "operations", "they take", "of time", "saved")


def prediction_rows(prediction: Prediction) -> list[tuple[str, ...]]:
    """Return a row a size: operations, their time with the defaults, its share, what is saved of it."""
    return [
        (
            format_size(one.size_bytes),
            str(one.operations),
            format_seconds(one.time_us / 1e6),
            f"{one.time_us / prediction.time_us:.1%}" if prediction.time_us else "-",
            format_seconds(one.saved_us.estimate / 1e6) if one.saved_us.high > 0 else "-",
        )
        for one in prediction.sizes
    ]


def weighed(prediction: Prediction) -> str:
    """Return whose messages were weighed, and what was left out."""
    workload = prediction.workload
    who = f" ({workload.rank})" if workload.rank else ""
    start = (
        f"The workload's {workload.collective} sizes, of {workload.source}{who}, stand for {workload.covered:.1%} of "
        "its communication by an estimate of times"
    )
    parts = ", ".join(
        f"{part.operations} of {part.what} ({part.share:.1%})" for part in workload.left_out if part.operations
    )
    return f"{start}; left out: {parts}." if parts else f"{start}."


def saving(prediction: Prediction) -> str:
    """Return what the choice saves: in time, per step, end to end."""
    whole = format_seconds(prediction.time_us / 1e6)
    if prediction.saved_us.high <= 0:
        return f"Predicted: nothing changes in the {whole} that they take."
    share = prediction.saved_share
    text = f"Predicted: {_time(prediction.saved_us)} of {whole} saved, {_percent(share)}"
    if prediction.saved_per_step_us is not None:
        text += f"; {_time(prediction.saved_per_step_us)} a decode step"
    if prediction.end_to_end is None:
        return text + ". What that is end to end needs the share of communication: profile an nsys export as well."
    end, part = prediction.end_to_end, prediction.workload.comm_share or 0.0
    gain = Interval(estimate=end.estimate - 1, low=end.low - 1, high=end.high - 1)
    return f"{text}. End to end at most {_percent(gain)} faster, with {part:.1%} of the time in communication."


def _time(saved: Interval) -> str:
    ends = " to ".join(format_seconds(one / 1e6) if one > 0 else "0" for one in (saved.low, saved.high))
    return f"{format_seconds(saved.estimate / 1e6)} ({ends})"


def _percent(share: Interval) -> str:
    return f"{share.estimate:.1%} ({share.low:.1%} to {share.high:.1%})"


def _filled(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_on_hyphens=False, break_long_words=False)
