"""What a sweep's choice is predicted to give the workload whose messages it measured."""

from __future__ import annotations

from ncclprobe.findings import Finding
from ncclprobe.records.base import Interval, Record


class Weight(Record, frozen=True, kw_only=True):
    """A size to measure, and the messages that it stands for."""

    size_bytes: int
    """What is measured."""
    operations: int
    """Of the workload, of all sizes that it stands for."""
    equivalent: float
    """Operations of just this size that would take as long, by the estimate of times."""
    sizes: int
    """Distinct sizes of the workload that it stands for."""
    low_bytes: int
    """The smallest of them, or the measured one."""
    high_bytes: int
    """The largest of them, or the measured one."""


class LeftOut(Record, frozen=True, kw_only=True):
    """Messages that no measured size stands for."""

    what: str
    """A collective, or ``other sizes``."""
    operations: int
    """Of the workload."""
    share: float
    """Of the estimated time of all its messages, 0 to 1."""


class Workload(Record, frozen=True, kw_only=True):
    """What a sweep takes from a profile; kept in the manifest, so that ``--resume`` goes on with the same."""

    source: str
    """The file as it was named."""
    rank: str | None = None
    """Whose messages these are."""
    collective: str
    """The one that is measured."""
    dtype: str | None = None
    """The type that carries most; None where the profile doesn't say."""
    weights: tuple[Weight, ...]
    """Ascending in size."""
    left_out: tuple[LeftOut, ...] = ()
    """The largest share first."""
    comm_share: float | None = None
    """Of the profile."""
    steps: int | None = None
    """Of the profile."""
    doubts: tuple[Finding, ...] = ()
    """The profile's findings that concern its counts."""

    @property
    def covered(self) -> float:
        """Return the share of the messages' estimated time that measured sizes stand for."""
        return max(0.0, 1.0 - sum(part.share for part in self.left_out))


class PredictedSize(Record, frozen=True, kw_only=True):
    """One size's part."""

    size_bytes: int
    """What was measured."""
    operations: int
    """Of the workload that it stands for."""
    time_us: float
    """That they take with the defaults: equivalent operations × the default's median."""
    saved_us: Interval
    """Of it; zero where the default stays."""


class Prediction(Record, frozen=True, kw_only=True):
    """What the choice saves."""

    workload: Workload
    """What was weighed."""
    sizes: tuple[PredictedSize, ...]
    """Ascending; sizes that were not timed are left out."""
    time_us: float
    """Of the covered operations with the defaults, measured."""
    saved_us: Interval
    """Of it."""
    saved_share: Interval
    """The same as a share of time_us."""
    saved_per_step_us: Interval | None = None
    """None where the profile knows no steps."""
    end_to_end: Interval | None = None
    """Workload's speed with the choice / with the defaults, to be compared with validate-e2e's ratio; None without
    comm_share."""
