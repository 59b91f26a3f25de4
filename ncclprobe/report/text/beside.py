"""A sweep's prediction beside the ratio that ``validate-e2e`` measured, for people."""

from __future__ import annotations

import textwrap

from tabulate import tabulate

from ncclprobe.records.base import Interval
from ncclprobe.records.foretold import Agreement, Basis, Foretold
from ncclprobe.report.text.findings import WIDTH
from ncclprobe.units import format_seconds

BESIDE_COLUMNS = ("", "predicted, at most", "measured")
AGREEMENTS = {
    Agreement.WITHIN: "The prediction lies within the measured interval.",
    Agreement.OVERLAPPING: "The prediction lies beside the measured interval, but the two intervals overlap.",
    Agreement.ABOVE: "The prediction lies above the measured interval: less was gained.",
    Agreement.BELOW: "The prediction lies below the measured interval: more was gained.",
    Agreement.UNKNOWN: "Whether the prediction holds cannot be said.",
}
_SHARES = {
    Basis.TRIAL_SHARE: "by the share that the trials measured of themselves",
    Basis.PROFILE_SHARE: "by the recorded run's nsys export",
    Basis.BOUND: "by the sweep's times over a trial's own, which is a bound",
}


def beside_text(one: Foretold | None) -> str:
    """Return the prediction beside what was measured, whether it holds, and why not; empty without a prediction."""
    if one is None:
        return ""
    rows = tabulate(beside_rows(one), BESIDE_COLUMNS, tablefmt="simple", disable_numparse=True)
    return "\n\n".join([_filled(basis_text(one)), rows, _filled(agreement_text(one))])


def basis_text(one: Foretold) -> str:
    """Return what was predicted of which operations, and how it was turned into a ratio."""
    share = one.saved_share
    text = f"{one.run} predicts that {share.estimate:.1%} ({share.low:.1%} to {share.high:.1%}) of the time in "
    text += f"{one.collective} is saved."
    if one.operations is not None and one.default_s is not None:
        counted = "inferred from graph replays" if one.inferred else "counted"
        text += (
            f" A trial's run has {one.operations} of these operations ({counted}), which take "
            f"{format_seconds(one.default_s)} with the defaults at the sweep's times"
        )
        text += f", of {format_seconds(one.trial_s)} by its own clock." if one.trial_s is not None else "."
    if one.part is not None and one.basis is not None:
        text += f" They are {one.part:.1%} of the whole {_SHARES[one.basis]}."
    return text


def beside_rows(one: Foretold) -> list[tuple[str, str, str]]:
    """Return throughput, time saved a step and a run: predicted and measured."""
    saved, trial = one.saved_s, one.trial_s
    measured = None
    if one.measured is not None and trial is not None:
        measured = _of_run(one.measured, trial)
    rows = [
        ("throughput, of the baseline's", _ratio(one.ratio), _ratio(one.measured)),
        ("saved a decode step", _time(one.saved_per_step_us, 1e-6), _time(one.measured_per_step_us, 1e-6)),
        ("saved a run", _time(saved, 1.0), _time(measured, 1.0)),
    ]
    return [rows[0], *(row for row in rows[1:] if row[1:] != ("-", "-"))]


def agreement_text(one: Foretold) -> str:
    """Return whether the prediction holds, and why it may not."""
    if not one.reasons:
        return AGREEMENTS[one.agreement]
    head = "What that leaves open" if one.agreement is Agreement.WITHIN else "Why, as far as is known"
    return " ".join([AGREEMENTS[one.agreement], f"{head}:", *(reason.text for reason in one.reasons)])


def _of_run(ratio: Interval, trial_s: float) -> Interval:
    low, estimate, high = (trial_s * (1 - 1 / value) for value in (ratio.low, ratio.estimate, ratio.high))
    return Interval(estimate=estimate, low=low, high=high)


def _ratio(interval: Interval | None) -> str:
    return "-" if interval is None else f"{interval.estimate:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def _time(interval: Interval | None, unit: float) -> str:
    if interval is None:
        return "-"
    estimate, low, high = (_signed(value * unit) for value in (interval.estimate, interval.low, interval.high))
    return f"{estimate} ({low} to {high})"


def _signed(seconds: float) -> str:
    return f"-{format_seconds(-seconds)}" if seconds < 0 else "0" if seconds == 0 else format_seconds(seconds)


def _filled(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_on_hyphens=False, break_long_words=False)
