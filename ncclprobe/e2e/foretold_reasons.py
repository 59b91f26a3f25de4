"""Why a prediction and what was measured may differ: everything that is known to be unlike, and what stays open."""

from __future__ import annotations

from collections.abc import Iterator

from ncclprobe.records.e2e import Arm, E2eDocument, E2eOptions
from ncclprobe.records.foretold import Agreement, Basis, Foretold, Reason

PARTLY = 0.95
"""Share of the communication from which on the sweep's sizes stand for next to all of it."""
UNLIKE = 0.05
"""Share of a trial's operations from which on it matters that no size stands for them."""
SIMULATED = "sim"
NOT_IN_FORCE = {
    "nccl-bypassed": "NCCL did not carry the traffic",
    "table-not-exercised": "no row of the table matched",
    "tuner-refused": "NCCL refused settings of the table",
    "env-rewritten": "variables did not reach NCCL as they were set",
    "in-force-unknown": "nothing shows what NCCL ran",
    "nccl-version-differs": "another NCCL ran than the sweep measured",
    "sweep-environment-differs": "the sweep ran with other variables",
}
"""Finding -> what it means for the settings that were predicted."""


def reasons(one: Foretold, document: E2eDocument, options: E2eOptions, unlike: float | None) -> Iterator[Reason]:
    """Yield what may have made prediction and measurement differ, the plainest first.

    Args:
        one: The prediction beside the measurement.
        document: With its findings.
        options: Of the comparison.
        unlike: Share of the trials' operations of the collective that no measured size stands for; None where unknown.
    """
    yield from _incomparable(one, document)
    yield from _other_machine(document, options)
    yield from _not_in_force(document)
    yield from _other_settings(options)
    yield from _partly(one, unlike)
    yield from _bounds(one)
    yield from _wide(one)


def _incomparable(one: Foretold, document: E2eDocument) -> Iterator[Reason]:
    if one.measured is None:
        yield Reason(code="not-measured", text="There are too few trials for an interval.")
    elif not document.finished:
        yield Reason(code="unfinished", text="The comparison has not ended.")
    if one.ratio is None and one.basis is None:
        yield _shareless(one, document)


def _shareless(one: Foretold, document: E2eDocument) -> Reason:
    """Return why there is no predicted ratio: no share of communication, or a metric that is not of the whole run."""
    known = one.default_s is not None and one.trial_s is not None
    if known:
        text = f"{document.metric} does not go with the whole time of a run, of which alone the share is known."
        return Reason(code="metric-of-a-part", text=text)
    text = (
        "How much of a run is communication is unknown: the profile has no nsys export, and the trials tell of no "
        "operations or of no time of their own."
    )
    return Reason(code="share-unknown", text=text)


def _other_machine(document: E2eDocument, options: E2eOptions) -> Iterator[Reason]:
    expected = options.expected
    if expected is None:
        return
    if expected.backend == SIMULATED:
        yield Reason(code="simulated", text="The sweep measured a simulated fabric, not this machine.")
    seen = {
        (found.get("nranks"), found.get("nnodes"))
        for trial in document.trials
        if trial.arm == Arm.CANDIDATE and isinstance(found := trial.effective.get("in_force"), dict)
    }
    others = {shape for shape in seen if shape[0] and shape != (expected.nranks, shape[1] and expected.nnodes)}
    if others:
        ranks, nodes = min(others, key=str)
        text = (
            f"The sweep measured {expected.nranks} ranks on {expected.nnodes} nodes; the trials had {ranks} on "
            f"{nodes or '?'}."
        )
        yield Reason(code="other-ranks", text=text)


def _not_in_force(document: E2eDocument) -> Iterator[Reason]:
    found = {finding.code: finding.subject for finding in document.findings if finding.code in NOT_IN_FORCE}
    if found:
        what = "; ".join(f"{NOT_IN_FORCE[code]} ({code})" for code in found)
        yield Reason(code="not-in-force", text=f"What was predicted may not have been in force: {what}.")


def _other_settings(options: E2eOptions) -> Iterator[Reason]:
    expected = options.expected
    if expected is not None and expected.beside:
        text = f"The arms also differ from the sweep's by {', '.join(expected.beside)}, which it did not measure."
        yield Reason(code="other-settings", text=text)


def _partly(one: Foretold, unlike: float | None) -> Iterator[Reason]:
    if one.covered < PARTLY:
        text = (
            f"The sweep's sizes stand for {one.covered:.0%} of the recorded run's communication, by an estimate; what "
            "the settings do to the rest was not predicted."
        )
        yield Reason(code="profile-partly", text=text)
    if unlike is not None and unlike > UNLIKE:
        text = f"{unlike:.0%} of the trials' {one.collective} operations are of sizes without a prediction."
        yield Reason(code="other-sizes", text=text)


def _bounds(one: Foretold) -> Iterator[Reason]:
    if one.basis is Basis.BOUND and one.agreement is not Agreement.BELOW:
        text = (
            "The share of communication is a bound, as no nsys export says it: what overlaps with computing saves "
            "nothing."
        )
        yield Reason(code="share-is-a-bound", text=text)
    if one.basis in (Basis.TRIAL_SHARE, Basis.PROFILE_SHARE) and one.agreement is not Agreement.BELOW:
        text = "The share of communication holds waiting for other ranks and what overlaps with computing."
        yield Reason(code="share-holds-waiting", text=text)
    if one.agreement is Agreement.BELOW:
        text = "Something else got faster, too, or operations take longer beside the computing than in the sweep."
        yield Reason(code="more-than-these", text=text)


def _wide(one: Foretold) -> Iterator[Reason]:
    ratio, measured = one.ratio, one.measured
    if ratio is None or measured is None or one.agreement is not Agreement.WITHIN:
        return
    if ratio.estimate != 1.0 and measured.low <= 1.0 <= measured.high:
        text = "The measured interval also holds that nothing is gained: it is too wide to confirm the prediction."
        yield Reason(code="interval-wide", text=text)
