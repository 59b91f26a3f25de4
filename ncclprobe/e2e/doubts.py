"""What is doubtful about a comparison, as findings."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from ncclprobe.e2e.choice import matching
from ncclprobe.e2e.decode import message_bytes
from ncclprobe.e2e.plan import GIVE_UP_AFTER, Stop
from ncclprobe.findings import Finding, error, info, warning
from ncclprobe.records.e2e import Arm, E2eDocument, E2eOptions, E2eVerdict, Trial, TrialStatus

CHECKSUM = "checksum"
"""Name of the metric that must not depend on the settings."""
CHECKSUM_TOLERANCE = 1e-3
"""Relative: float32 sums in another order differ by about 1e-6 a layer, a lost or doubled term by far more."""


def doubts(document: E2eDocument, options: E2eOptions, stop: Stop, dropped: int) -> tuple[Finding, ...]:
    """Return the findings of a comparison.

    Args:
        document: Its result.
        options: What was asked.
        stop: Why no further trial was run.
        dropped: Bytes of a torn journal line that were dropped on resuming.
    """
    answer = (_arms(document, options), _answer(document, options, stop))
    groups = (_failures(document, stop), _results(document), *answer, _torn(dropped))
    return tuple(itertools.chain.from_iterable(groups))


def _failures(document: E2eDocument, stop: Stop) -> Iterator[Finding]:
    for arm in Arm:
        failed = [trial for trial in document.trials if trial.arm is arm and trial.status is TrialStatus.FAILED]
        if failed and not (stop is Stop.FAILURES and document.trials[-1].arm is arm):
            yield warning(
                "trial-failed",
                arm,
                f"{_count(failed)} of the {arm} failed and did not count; the last one: {failed[-1].message}",
                "See the output in the run directory's trials/.",
            )
    if stop is Stop.FAILURES:
        last = document.trials[-1]
        yield error(
            "arm-failed",
            last.arm,
            f"The {last.arm} failed {GIVE_UP_AFTER} times in a row, so nothing more was run: {last.message}",
            "Run the workload by hand with these settings; the output is in the run directory's trials/.",
        )


def _count(trials: list[Trial]) -> str:
    return "1 trial" if len(trials) == 1 else f"{len(trials)} trials"


def _results(document: E2eDocument) -> Iterator[Finding]:
    sums = [trial.metrics[CHECKSUM] for trial in document.trials if CHECKSUM in trial.metrics]
    if sums and max(sums) - min(sums) > CHECKSUM_TOLERANCE * abs(sums[0]):
        yield error(
            "result-differs",
            document.workload,
            f"The results' checksum ranges from {min(sums):.9g} to {max(sums):.9g}, so some trial computed wrongly.",
            "Do not use the candidate; find out with `ncclprobe sweep` which setting sums wrongly.",
        )


def _arms(document: E2eDocument, options: E2eOptions) -> Iterator[Finding]:
    if options.baseline == options.candidate:
        yield info(
            "identical-arms",
            document.workload,
            "Both arms have the same settings: the comparison shows the noise alone.",
            "Name what to compare with --candidate.",
        )
    shape, table = options.proxy, options.candidate.table
    if options.workload == "proxy" and table and not matching(table, message_bytes(shape), shape.nranks, nnodes=1):
        yield warning(
            "table-not-exercised",
            document.workload,
            f"No row of the candidate's table matches all-reduces of {message_bytes(shape)} bytes on {shape.nranks} "
            "ranks of one host, so both arms ran with the defaults.",
            "Choose --batch, --hidden and --nranks so that the workload sends what the table is for.",
        )


def _answer(document: E2eDocument, options: E2eOptions, stop: Stop) -> Iterator[Finding]:
    if document.verdict is E2eVerdict.INCONCLUSIVE and stop is not Stop.FAILURES:
        ended = "the budget ended" if stop is Stop.BUDGET else f"--trials {options.trials} was reached"
        yield warning(
            "inconclusive",
            document.workload,
            f"With {document.trials_per_arm} trials an arm, {ended} before the answer was clear.",
            _more(document),
        )
    if document.verdict in (E2eVerdict.FASTER, E2eVerdict.SLOWER) and _is_small(document):
        yield info(
            "effect-below-minimum",
            document.workload,
            f"The difference is real, but its whole interval lies within {document.min_effect:.1%}.",
            "Weigh it against the cost of keeping a setting.",
        )


def _is_small(document: E2eDocument) -> bool:
    ratio, least = document.ratio, document.min_effect
    return ratio is not None and 1 - least < ratio.low and ratio.high < 1 + least


def _more(document: E2eDocument) -> str:
    """Return how many trials would settle it, if the estimate and the noise stay as they are."""
    needed = trials_needed(document)
    if needed is None:
        return "Allow more trials with --trials or --budget."
    return f"About {needed} trials an arm would settle it, if the noise stays as it is; raise --trials and --budget."


def trials_needed(document: E2eDocument) -> int | None:
    """Return roughly how many pairs would give a verdict, None where nothing is known yet.

    The interval shrinks with the root of the number of pairs; it is clear once it is narrower than the distance of
    the estimate to 1, or to the edge of ``1 ± min_effect``.

    Source: docs/performance.md, validate-e2e.
    """
    if document.ratio is None:
        return None
    half = math.log(document.ratio.high / document.ratio.low) / 2
    effect = abs(math.log(document.ratio.estimate))
    target = max(effect, math.log1p(document.min_effect) - effect)
    return max(document.trials_per_arm + 1, math.ceil(document.trials_per_arm * (half / target) ** 2))


def _torn(dropped: int) -> Iterator[Finding]:
    if dropped:
        yield info(
            "torn-line",
            "journal",
            f"The last {dropped} bytes of the journal were half a line and were dropped; that trial was run again.",
            "Nothing to do: an interrupted run leaves this behind.",
        )
