"""The seam between a comparison and what it runs; workloads by name, each imported when it is asked for."""

from __future__ import annotations

import importlib
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from ncclprobe.errors import UsageError
from ncclprobe.findings import Finding
from ncclprobe.records.base import Record
from ncclprobe.records.e2e import ArmSettings, E2eOptions, Trial
from ncclprobe.records.foretold import Sent
from ncclprobe.records.inspect import NcclLog
from ncclprobe.records.profile import ProfileDocument
from ncclprobe.records.tuner import Recorded

WORKLOADS = {
    "proxy": "ncclprobe.e2e.proxy:ProxyWorkload",
    "command": "ncclprobe.e2e.command:CommandWorkload",
    "sglang": "ncclprobe.e2e.sglang:SglangWorkload",
}
"""Name -> module and class."""


class Surroundings(NamedTuple):
    """What a workload is lent."""

    directory: pathlib.Path
    """The run's, absolute; it may not be there yet."""
    read_log: Callable[[str, bytes], NcclLog | None]
    """Reads NCCL's log; None where it is none."""
    read_record: Callable[[bytes, str], Recorded]
    """Reads the tuner plugin's record."""
    read_profile: Callable[[Sequence[pathlib.Path]], ProfileDocument]
    """Reads what files and folders tell of a workload's messages."""


class Limit(NamedTuple):
    """How long one run may take."""

    seconds: float
    """After which it is ended and has failed."""
    is_budget: bool = False
    """Whether that is what is left of the budget, rather than the limit of each trial."""

    @property
    def said(self) -> str:
        """Return why a run that reached it has failed."""
        name = "all that was left of --budget" if self.is_budget else "the --timeout of a trial"
        return f"ended after {self.seconds:.6g} s, {name}"


class Outcome(Record, frozen=True, kw_only=True):
    """What one run of a workload gave."""

    metrics: dict[str, float]
    """Positive and finite; empty where it failed."""
    effective: dict[str, Any]
    """What was in force, as far as it could be seen."""
    repeats: tuple[dict[str, float], ...] = ()
    """Each run's values where a start had several; ``metrics`` has their medians."""
    wild_checksum: bool = False
    """Whether the result's checksum is no finite number, or one that no JSON of ours holds; metrics has none then."""
    message: str = ""
    """Why it failed; empty where it did not."""
    sent: Sent | None = None
    """What one rank sent; None where nothing shows it or nobody asks."""


class Workload(Protocol):
    """Something that serves or trains, and says how fast."""

    metric: str
    """The name of what is compared."""
    opening: str
    """What people should know before the first warm-up; empty for nothing."""

    def run(self, arm: ArmSettings, log: pathlib.Path, limit: Limit, started: Callable[[int], None]) -> Outcome:
        """Run it once with an arm's settings; return when it has ended with all its children.

        Args:
            arm: What is set beyond the inherited environment.
            log: Takes all that it prints.
            limit: After which it is ended and has failed.
            started: Told the leader of the process group.

        Raises:
            MissingDependencyError: A program is absent.
            LaunchError: It could not be started at all.
        """
        ...

    def checks(self) -> tuple[Finding, ...]:
        """Return what is doubtful before anything has been run."""
        ...

    def doubts(self, trials: Sequence[Trial]) -> tuple[Finding, ...]:
        """Return what is doubtful about how the trials ran, beyond their values."""
        ...


def make_workload(options: E2eOptions, surroundings: Surroundings) -> Workload:
    """Return the workload that the options name.

    Raises:
        UsageError: There is none of that name, or it cannot do what the options ask.
        MissingDependencyError: Its library is absent; the message says which extra brings it.
    """
    if options.workload not in WORKLOADS:
        raise UsageError(f"there is no workload {options.workload!r}; choose from {', '.join(WORKLOADS)}")
    module, _, class_name = WORKLOADS[options.workload].partition(":")
    workload: Workload = getattr(importlib.import_module(module), class_name)(options, surroundings)
    return workload
