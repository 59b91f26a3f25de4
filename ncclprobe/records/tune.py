"""What ``tune`` records and says."""

from __future__ import annotations

import enum

from ncclprobe.records.base import Document, EnvVariable, Record
from ncclprobe.records.inspect import TunerRow
from ncclprobe.records.sweep import Verdict


class StageName(enum.StrEnum):
    """The stages, in order; each has a folder of that name in the run directory."""

    SCAN = "scan"
    SWEEP = "sweep"
    NODES = "nodes"
    ENV = "env"
    VALIDATE = "validate-e2e"


class StageStatus(enum.StrEnum):
    """How a stage ended."""

    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"


class Stage(Record, frozen=True, kw_only=True):
    """One stage of a run."""

    name: StageName
    """Which."""
    status: StageStatus
    """``failed`` ends the run; ``--resume`` tries it again."""
    seconds: float
    """Wall time, that of interrupted attempts not counted."""
    path: str | None
    """Its folder in the run directory; None where it was skipped."""
    message: str
    """Its answer, why it was skipped, or why it failed: a sentence for people."""


class TuneOptions(Record, frozen=True, kw_only=True):
    """What was asked for, and what ``--resume`` goes on with."""

    backend: str
    """By name, never ``auto``."""
    fabric: str | None = None
    """Path of a simulated fabric's description."""
    nranks: int | None = None
    """None takes the backend's own default."""
    sizes: str | None = None
    """As given; None takes the backend's own default."""
    sweep_budget_s: float | None
    """Wall time of the sweep; None measures until the answer is clear."""
    e2e_budget_s: float
    """Wall time of the workload's trials."""
    seed: int
    """Every random order follows from it."""


class TuneDocument(Document, frozen=True, kw_only=True):
    """``ncclprobe.tune/1``."""

    schema: str = "ncclprobe.tune/1"
    verdict: str
    """The answer, in a sentence or two for people."""
    choice: Verdict | None
    """Whether to change the collectives' settings; None until that is known."""
    backend: str
    """What ran the collectives: ``mpi`` or ``sim``."""
    stages: tuple[Stage, ...]
    """Those that have ended, in order."""
    env: tuple[EnvVariable, ...]
    """What to set, each variable once, with its reason."""
    table: tuple[TunerRow, ...]
    """The choice by message size; empty where there is none."""
    seed: int
    """Of the run."""
