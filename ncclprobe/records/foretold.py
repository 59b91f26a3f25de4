"""What a sweep's choice was predicted to give the workload, beside what ``validate-e2e`` measured."""

from __future__ import annotations

import enum

from ncclprobe.records.base import Interval, Record
from ncclprobe.records.prediction import Prediction
from ncclprobe.records.profile import Message


class Sent(Record, frozen=True, kw_only=True):
    """What one rank sent in a trial, read from what the trial left behind."""

    messages: tuple[Message, ...]
    """The most bytes first; ``basis`` says which counts are inferred from graph replays."""
    steps: int | None = None
    """Decode steps, of all runs together; None where nothing says so."""
    runs: int = 1
    """Runs of the benchmark that the messages are of: against a server the warm-up's, too."""
    seconds: float | None = None
    """That one run took by the benchmark's own clock, its start left out."""
    comm_share: float | None = None
    """Share of these spent in the operations and in waiting for other ranks; None where the workload can't say."""


class Expectation(Record, frozen=True, kw_only=True):
    """What the run behind the candidate's settings predicts, kept in the manifest."""

    run: str
    """As it was named."""
    backend: str
    """On which it measured."""
    nranks: int
    """Ranks that measured."""
    nnodes: int | None
    """On so many nodes; None where the sweep does not know."""
    prediction: Prediction
    """Of that run."""
    beside: tuple[str, ...] = ()
    """Variables of the arms that the sweep did not measure, by name."""


class Basis(enum.StrEnum):
    """How a saving in operations was turned into one of the whole."""

    TRIAL_SHARE = "trial-share"
    """The workload measured its own share of communication."""
    PROFILE_SHARE = "profile-share"
    """An nsys export of the recorded run says it."""
    BOUND = "bound"
    """The operations of a trial, at the sweep's times, over the trial's own time."""


class Agreement(enum.StrEnum):
    """Where the prediction lies."""

    WITHIN = "within"
    """In the measured interval."""
    OVERLAPPING = "overlapping"
    """Not in it, but the two intervals overlap."""
    ABOVE = "above"
    """Above it: less was gained."""
    BELOW = "below"
    """Below it: more was gained."""
    UNKNOWN = "unknown"
    """There is nothing to compare."""


class Reason(Record, frozen=True, kw_only=True):
    """Why a prediction and a measurement may differ, or cannot be compared."""

    code: str
    """In kebab-case."""
    text: str
    """A sentence for people."""


class Foretold(Record, frozen=True, kw_only=True):
    """A prediction beside its measurement."""

    run: str
    """The sweep, as it was named."""
    collective: str
    """Whose operations it measured."""
    saved_share: Interval
    """Of the time that these operations take, predicted to be saved."""
    covered: float
    """Share of the recorded workload's communication, by an estimate, that the sweep's sizes stand for."""
    operations: int | None
    """Of those sizes, of one rank in one run of a trial, the median of the baseline's; None where nothing counts
    them."""
    inferred: bool = False
    """Whether some of these were counted at a graph's capture and multiplied by its replays."""
    default_s: float | None = None
    """That these operations take with the defaults, at the sweep's times."""
    saved_s: Interval | None = None
    """Of it."""
    trial_s: float | None = None
    """That a run of the baseline took by its own clock, the median; its start left out."""
    steps: float | None = None
    """Decode steps of such a run, the median; None where nothing says so."""
    basis: Basis | None = None
    """How the ratio was made; None where it could not be."""
    part: float | None = None
    """Share of the whole that these operations take by that basis; what overlaps with computing, or waits for other
    ranks, is in it."""
    ratio: Interval | None = None
    """The candidate's throughput / the baseline's at most, predicted: nothing of the saving overlaps with anything."""
    saved_per_step_us: Interval | None = None
    """Predicted, at most."""
    measured: Interval | None = None
    """The same ratio as the trials have it."""
    measured_per_step_us: Interval | None = None
    """Time of a step that was saved, by the measured ratio and trial_s; below 0 it took longer."""
    agreement: Agreement
    """Whether the predicted ratio's estimate lies in the measured interval."""
    reasons: tuple[Reason, ...] = ()
    """What may have made them differ, and what the comparison leaves open."""
