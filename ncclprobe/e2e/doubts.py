"""What is doubtful about a comparison, as findings."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from ncclprobe.e2e.choice import matching
from ncclprobe.e2e.decode import message_bytes
from ncclprobe.e2e.plan import GIVE_UP_AFTER, Standing, Stop
from ncclprobe.e2e.results import alike, checksums
from ncclprobe.e2e.telemetry_doubts import is_withheld, telemetry_doubts
from ncclprobe.findings import Finding, error, info, warning
from ncclprobe.records.e2e import (
    ARM_FAILED,
    IDENTICAL_ARMS,
    RESULT_DIFFERS,
    Arm,
    Comparison,
    E2eDocument,
    E2eOptions,
    E2eVerdict,
    Trial,
    TrialStatus,
)


def doubts(document: E2eDocument, options: E2eOptions, standing: Standing, dropped: int) -> tuple[Finding, ...]:
    """Return the findings of a comparison.

    Args:
        document: Its result.
        options: What was asked.
        standing: Why no further trial was run, and which arms were given up.
        dropped: Bytes of a torn journal line that were dropped on resuming.
    """
    answers = (_answer(document, options, one, standing) for one in document.comparisons)
    groups = (_failures(document, options, standing.given_up), _results(document), _arms(document, options))
    return tuple(itertools.chain(*groups, *answers, telemetry_doubts(document, options), _torn(dropped)))


def _failures(document: E2eDocument, options: E2eOptions, given_up: Sequence[str]) -> Iterator[Finding]:
    for arm in options.arms:
        failed = [trial for trial in document.trials if trial.arm == arm and trial.status is TrialStatus.FAILED]
        if failed and arm not in given_up:
            yield warning(
                "trial-failed",
                arm,
                f"{_count(failed)} of the {arm} failed and did not count; the last one: {failed[-1].message}",
                "See the output in the run directory's trials/.",
            )
        elif failed:
            ended = (
                "nothing more was run"
                if len(options.arms) - len(given_up) < 2 or arm == Arm.BASELINE
                else "it was left out"
            )
            yield error(
                ARM_FAILED,
                arm,
                f"The {arm} failed {GIVE_UP_AFTER} times in a row, so {ended}: {failed[-1].message}",
                "Run the workload by hand with these settings; the output is in the run directory's trials/. Once "
                "it is mended, --resume goes on.",
            )


def _count(trials: list[Trial]) -> str:
    return "1 trial" if len(trials) == 1 else f"{len(trials)} trials"


def _results(document: E2eDocument) -> Iterator[Finding]:
    sums = checksums(document.trials)
    if not alike(sums):
        baseline = Arm.BASELINE.value
        arms = [one.arm for one in document.comparisons if not alike(checksums(document.trials, baseline, one.arm))]
        yield error(
            RESULT_DIFFERS,
            document.workload,
            f"The results' checksum {_range(sums)}, so some trial computed wrongly; how fast it was says "
            f"nothing, and there is no verdict on {', '.join(arms)}.",
            "Do not use the candidate; find out with `ncclprobe sweep` which setting sums wrongly.",
        )


def _range(sums: Sequence[float]) -> str:
    """Return what checksums were, for a sentence."""
    finite = [one for one in sums if math.isfinite(one)]
    wild = f"is no finite number in {len(sums) - len(finite)} of {len(sums)} trials" if len(finite) < len(sums) else ""
    known = f"ranges from {min(finite):.9g} to {max(finite):.9g}" if finite else ""
    return " and ".join(filter(None, (known, wild)))


def _arms(document: E2eDocument, options: E2eOptions) -> Iterator[Finding]:
    if any(options.is_baseline_again(name) for name in options.arms if name != Arm.BASELINE):
        yield info(
            IDENTICAL_ARMS,
            document.workload,
            "Both arms ran with the same settings, set or inherited: the comparison shows the noise alone.",
            "Name what to compare with --candidate.",
        )
    shape = options.proxy
    tables = {name: arm.table for name, arm in options.arms.items() if arm.table and options.workload == "proxy"}
    for name, table in tables.items():
        if matching(table, message_bytes(shape), shape.nranks, nnodes=1):
            continue
        yield warning(
            "table-not-exercised",
            document.workload,
            f"No row of the {name}'s table matches all-reduces of {message_bytes(shape)} bytes on {shape.nranks} "
            f"ranks of one host, so the {name} ran with the defaults.",
            "Choose --batch, --hidden and --nranks so that the workload sends what the table is for.",
        )


def _answer(document: E2eDocument, options: E2eOptions, one: Comparison, standing: Standing) -> Iterator[Finding]:
    subject = document.workload if one.arm == Arm.CANDIDATE else one.arm
    unclear = one.verdict is E2eVerdict.INCONCLUSIVE and not is_withheld(one, document.min_effect)
    unclear = unclear and not options.is_baseline_again(one.arm)  # which no number of trials tells apart
    same = alike(checksums(document.trials, Arm.BASELINE, one.arm))
    if unclear and same and standing.step in (Stop.BUDGET, Stop.TRIALS, Stop.CLEAR):
        by_budget = standing.step is Stop.BUDGET
        ended = "the budget ended" if by_budget else f"--trials {options.trials} was reached"
        yield warning(
            "inconclusive",
            subject,
            f"With {one.trials} trial{'s' * (one.trials != 1)} an arm, {ended} before the answer was clear.",
            _more(one, document.min_effect),
        )
    if one.verdict in (E2eVerdict.FASTER, E2eVerdict.SLOWER) and _is_small(one, document.min_effect):
        yield info(
            "effect-below-minimum",
            subject,
            f"The difference is real, but its whole interval lies within {document.min_effect:.1%}.",
            "Weigh it against the cost of keeping a setting.",
        )


def _is_small(one: Comparison, least: float) -> bool:
    return one.ratio is not None and 1 - least < one.ratio.low and one.ratio.high < 1 + least


def _more(one: Comparison, min_effect: float) -> str:
    """Return how many trials would settle it, if the estimate and the noise stay as they are."""
    needed = trials_needed(one, min_effect)
    if needed is None:
        return "Allow more trials with --trials or --budget."
    return f"About {needed} trials an arm would settle it, if the noise stays as it is; raise --trials and --budget."


def trials_needed(one: Comparison, min_effect: float) -> int | None:
    """Return roughly how many pairs would give a verdict, None where nothing is known yet or no number is enough.

    The interval shrinks with the root of the number of pairs; it is clear once it is narrower than the distance of
    the estimate to 1, or to the edge of ``1 ± min_effect``.

    Source: docs/performance.md, validate-e2e.
    """
    if one.ratio is None:
        return None
    half = (math.log(one.ratio.high) - math.log(one.ratio.low)) / 2
    effect = abs(math.log(one.ratio.estimate))
    target = max(effect, math.log1p(min_effect) - effect)
    needed = one.trials * (half / target) * (half / target)
    return max(one.trials + 1, math.ceil(needed)) if math.isfinite(needed) else None


def _torn(dropped: int) -> Iterator[Finding]:
    if dropped:
        yield info(
            "torn-line",
            "journal",
            f"The last {dropped} bytes of the journal were half a line and were dropped; that trial was run again.",
            "Nothing to do: an interrupted run leaves this behind.",
        )
