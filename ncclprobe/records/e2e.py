"""What ``validate-e2e`` records and says."""

from __future__ import annotations

import enum
from typing import Any

from ncclprobe.records.base import Document, Interval, Record


class Arm(enum.StrEnum):
    """One side of the comparison."""

    BASELINE = "baseline"
    CANDIDATE = "candidate"


class TrialStatus(enum.StrEnum):
    """How a trial ended."""

    OK = "ok"
    FAILED = "failed"
    WARM_UP = "warm-up"


class E2eVerdict(enum.StrEnum):
    """The answer."""

    FASTER = "faster"
    SLOWER = "slower"
    NO_DIFFERENCE = "no-difference"
    INCONCLUSIVE = "inconclusive"


class Trial(Record, frozen=True, kw_only=True):
    """One run of the workload."""

    arm: Arm
    """Which settings."""
    order: int
    """Position in time, from 0, failed ones and warm-ups counted."""
    status: TrialStatus
    """How it ended."""
    metrics: dict[str, float]
    """In the workload's own names; empty where it failed."""
    effective: dict[str, Any]
    """What was in force, as far as it could be seen."""
    started: str
    """UTC, ISO 8601."""
    seconds: float
    """Wall time."""
    message: str = ""
    """Why it failed."""


class E2eDocument(Document, frozen=True, kw_only=True):
    """``ncclprobe.validate-e2e/1``."""

    schema: str = "ncclprobe.validate-e2e/1"
    workload: str
    """``proxy``, ``command`` or ``sglang``."""
    metric: str
    """What is compared."""
    baseline: dict[str, str]
    """The baseline's environment beyond the inherited one."""
    candidate: dict[str, str]
    """The candidate's environment beyond the inherited one."""
    trials: tuple[Trial, ...]
    """In order."""
    verdict: E2eVerdict
    """The answer."""
    ratio: Interval | None
    """Candidate's throughput / baseline's, at 95 %; None with under two complete pairs."""
    trials_per_arm: int
    """Successful ones, the lesser of both arms."""
