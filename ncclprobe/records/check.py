"""What ``env check`` says: whether emitted settings are in force in fresh ranks."""

from __future__ import annotations

import enum

from ncclprobe.records.base import Document, Record
from ncclprobe.records.inspect import TunerRow


class Place(enum.StrEnum):
    """Where a size lies that is tried."""

    LOW = "low"
    """The smallest of the row that ranks can send."""
    HIGH = "high"
    """The largest."""
    BELOW = "below"
    """The next smaller one, outside."""
    ABOVE = "above"
    """The next larger one, outside."""


class Outcome(enum.StrEnum):
    """What became of a row, or of a size."""

    APPLIED = "applied"
    """The row's setting ran on every rank."""
    LEFT_ALONE = "left-alone"
    """No row matches, and the library chose for itself."""
    REFUSED = "refused"
    """NCCL cannot run the row's setting, and its own choice stood."""
    OTHER = "other"
    """Something else ran."""
    FAILED = "failed"
    """The operation summed wrongly or did not end."""
    UNTRIED = "untried"
    """It was not run."""


IN_FORCE = (Outcome.APPLIED, Outcome.LEFT_ALONE)


class CheckedSize(Record, frozen=True, kw_only=True):
    """What ran at a size."""

    size_bytes: int
    """Of the larger buffer."""
    place: Place
    """Where it lies in its row, or beside it."""
    wanted: str | None
    """Of the first row that matches: ``Tree/LL128/8ch``; None where none does."""
    ran: str | None
    """By NCCL's log (from 2.24), else by the plugin's record; None where neither says it."""
    outcome: Outcome
    """Whether what is wanted is in force."""
    reason: str = ""
    """Why it is not; empty where it is."""


class CheckedRow(Record, frozen=True, kw_only=True):
    """A row, and what ran at its ends and just outside."""

    row: TunerRow
    """As it was loaded."""
    outcome: Outcome
    """The worst of the sizes within."""
    sizes: tuple[CheckedSize, ...]
    """Ascending."""


class CheckedVariable(Record, frozen=True, kw_only=True):
    """A control variable of the MPI library, read back through MPI_T."""

    name: str
    """The environment's."""
    value: str
    """As it is to be set."""
    seen: tuple[str | None, ...]
    """On each rank, in the library's words; None where the library has no such variable."""
    in_force: bool
    """Whether every rank has the value."""


class EnvCheckDocument(Document, frozen=True, kw_only=True):
    """``ncclprobe.env-check/1``."""

    schema: str = "ncclprobe.env-check/1"
    source: str
    """The run or the table, as it was named."""
    library: str | None
    """What ran, with its version; None where nothing was run."""
    nranks: int | None
    """Ranks that were started."""
    nnodes: int | None
    """Nodes that the library saw them on; None where it does not say."""
    env: dict[str, str]
    """Variables that were set in the ranks."""
    rows: tuple[CheckedRow, ...] = ()
    """In the table's order."""
    variables: tuple[CheckedVariable, ...] = ()
    """Of the MPI library."""
