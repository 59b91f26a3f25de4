"""What ``sweep`` measures and says."""

from __future__ import annotations

import enum

import msgspec

from ncclprobe.names import DEFAULT
from ncclprobe.records.base import Document, Record
from ncclprobe.records.normal import Normality
from ncclprobe.records.prediction import Prediction

Environment = tuple[tuple[str, str], ...]
"""Variables with their values, by name; empty for those that everything else has as well."""


class Cell(Record, frozen=True, kw_only=True):
    """One setting that a collective can run with; hashable."""

    algo: str = DEFAULT
    """The backend's spelling: ``Tree``; ``default`` leaves the choice to the library."""
    proto: str = DEFAULT
    """``LL``, ``LL128``, ``Simple``; ``default`` where the backend knows no protocols."""
    nchannels: int | None = None
    """None leaves it to the library."""
    variables: Environment | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="env")
    """Of the whole process, beyond those of the launch; unset for none (see ``env`` and ``under``)."""

    @property
    def env(self) -> Environment:
        """Return the variables of the whole process that the cell asks for; empty for none."""
        return () if self.variables is msgspec.UNSET else self.variables

    def under(self, env: Environment) -> Cell:
        """Return the same setting in a process with these variables, and no others of its own."""
        return self.with_(variables=env or msgspec.UNSET)

    @property
    def key(self) -> tuple[str, str, int, Environment]:
        """Return what sorts cells, those that leave the channels to the library first."""
        return self.algo, self.proto, self.nchannels or 0, self.env

    @property
    def is_default(self) -> bool:
        """Return whether the library chooses for itself, in the environment that everything is compared with."""
        return self.algo == DEFAULT and not self.env

    @property
    def label(self) -> str:
        """Return a short name for people: ``Tree/LL128/8ch``, ``default NCCL_NTHREADS=256``."""
        parts = (
            [self.algo]
            + [self.proto] * (self.proto != DEFAULT)
            + [f"{self.nchannels}ch"] * (self.nchannels is not None)
        )
        return " ".join(["/".join(parts), *(f"{name}={value}" for name, value in self.env)])


DEFAULT_CELL = Cell()


def environment_label(env: Environment) -> str:
    """Return an environment for people: ``NCCL_BUFFSIZE=8388608 NCCL_NTHREADS=256``."""
    return " ".join(f"{name}={value}" for name, value in env) or "no variable"


class Status(enum.StrEnum):
    """How a measurement, or a cell as a whole, ended."""

    OK = "ok"
    REFUSED = "refused"
    WRONG = "wrong"
    TIMEOUT = "timeout"
    ELIMINATED = "eliminated"


class Point(Record, order=True, frozen=True, kw_only=True):
    """Where cells compete: one collective, type and size; hashable."""

    collective: str
    """In ncclprobe's spelling."""
    dtype: str
    """``float32``, ``float16``, ``bfloat16``."""
    size_bytes: int
    """nccl-tests' size."""


class Block(Record, frozen=True, kw_only=True):
    """Cells measured one after the other at one point, the default among them: the unit in which drift cancels."""

    point: Point
    """Where."""
    cells: tuple[Cell, ...]
    """In the order in which they run."""
    repeat: int = 1
    """How often this block is to be run, each time in a new random order."""


class Launch(Record, frozen=True, kw_only=True):
    """One process environment and one communicator, and what it is to measure."""

    index: int
    """From 0; also the unit in which launch effects are drawn."""
    stage: str
    """``explore`` or ``confirm``."""
    nranks: int
    """Ranks to start."""
    blocks: tuple[Block, ...]
    """What to measure; the backend interleaves the points."""
    warmups: int
    """Samples that are run and thrown away first: so many of each of warmup_blocks()."""
    timeout_s: float
    """A single sample that takes longer is aborted."""
    seed: int
    """For the orders of blocks and cells, and a simulator's draws."""
    env: tuple[tuple[str, str], ...] = ()
    """Variables of this launch's processes."""
    sample_s: float = 500e-6
    """A sample of real ranks has so many operations that it lasts at least so long."""
    thorough: bool = False
    """Take every sample, even of cells that are several times slower than the default."""

    def warmup_blocks(self) -> tuple[Block, ...]:
        """Return each cell at the smallest point that has it, and the default at every point.

        The first use of an algorithm connects its peers, whatever the size; that of a size touches its buffers.
        """
        seen: set[Cell] = set()
        blocks = []
        for block in sorted(self.blocks, key=lambda block: block.point):
            cells = tuple(cell for cell in block.cells if cell.is_default or cell not in seen)
            blocks += [block.with_(cells=cells)] if cells else []
            seen.update(cells)
        return tuple(blocks)


class Measurement(Record, frozen=True, kw_only=True):
    """Samples as they come: of one block, or of a part of it."""

    launch: int
    """The launch's index."""
    point: Point
    """Where."""
    block: int
    """Running number within the launch and point."""
    cells: tuple[Cell, ...]
    """In the order in which they ran."""
    times_us: tuple[float | None, ...]
    """Of one operation, the maximum over ranks, a value a cell; None where there is none."""
    statuses: tuple[Status, ...]
    """``ok``, ``refused``, ``wrong`` or ``timeout``, one a cell."""
    wrong: tuple[int, ...]
    """Wrong elements, one a cell."""
    spent_s: float
    """What these samples took in all, inner repetitions, warm-ups and timeouts included."""
    warmup: bool = False
    """Whether the samples are thrown away."""
    operations: int = 1
    """Operations that a sample ran in a row; its time is their mean."""
    message: str = ""
    """Why something was refused or timed out."""
    mishap: bool = False
    """Whether ranks died, or one was stopped, while the cell of a ``timeout`` ran. That may be chance: the sample is
    taken again, and only a second mishap puts the cell out."""
    ran: tuple[Cell, ...] = ()
    """What the library says that it ran with, one a cell; empty where it does not say."""


class LaunchBroken(Record, frozen=True, kw_only=True):
    """That a launch's ranks died while no sample was in flight; what is left of it is measured by others."""

    launch: int
    """Its index."""
    message: str
    """Which rank, where and how, as far as that is known."""


class LaunchEnd(Record, frozen=True, kw_only=True):
    """That a launch came to its end, whatever became of its blocks."""

    launch: int
    """Its index."""
    seconds: float
    """Wall time, the start of the ranks included."""
    start_s: float = 0.0
    """Of it until the first sample."""


class Summary(Record, frozen=True, kw_only=True):
    """Median and interval of a cell's times."""

    median: float
    """In µs."""
    low: float
    """Lower end of the median's 95 % interval."""
    high: float
    """Upper end."""


WIDEST = 1000.0
"""Where the interval of a ratio ends that has too few launches to say anything; 1 / WIDEST below."""


class Ratio(Record, frozen=True, kw_only=True):
    """Default's time / cell's time; over 1 is faster than the default."""

    ratio: float
    """Estimate."""
    low: float
    """Lower end; all intervals of a sweep hold together at 95 %."""
    high: float
    """Upper end."""


class CellResult(Record, frozen=True, kw_only=True):
    """One cell at one point."""

    collective: str
    """In ncclprobe's spelling."""
    dtype: str
    """``float32``."""
    size_bytes: int
    """nccl-tests' size."""
    algo: str
    """``default`` for the library's own choice."""
    proto: str
    """``default`` likewise."""
    nchannels: int | None
    """None leaves it to the library."""
    env: dict[str, str] = msgspec.field(default_factory=dict)
    """Variables of the whole process (``--env``); empty where it has none of its own."""
    samples: int
    """Timed samples."""
    time_us: Summary | None
    """None where nothing was timed."""
    algbw_gbps: float | None
    """At the median."""
    busbw_gbps: float | None
    """At the median."""
    wrong: int
    """Wrong elements seen in all."""
    status: Status
    """``eliminated``: clearly not better, so measured less."""
    vs_default: Ratio | None
    """None for the default itself and where nothing was timed."""
    message: str = ""
    """Why it was refused, or what went wrong."""


class TableRow(Record, frozen=True, kw_only=True):
    """A row of the table that is recommended."""

    collective: str
    """In ncclprobe's spelling."""
    min_bytes: int
    """Inclusive."""
    max_bytes: int
    """Inclusive."""
    algo: str
    """The backend's spelling."""
    proto: str
    """The backend's spelling."""
    nchannels: int | None
    """None leaves it to the library."""


class Verdict(enum.StrEnum):
    """Whether anything beats the defaults."""

    KEEP_DEFAULTS = "keep-defaults"
    CHANGE = "change"


class Choice(Record, frozen=True, kw_only=True):
    """The answer."""

    verdict: Verdict
    """``change`` only where a size's interval excludes no gain; with an environment the whole gain's does."""
    env: dict[str, str]
    """What to set; empty with ``keep-defaults``."""
    table: tuple[TableRow, ...]
    """Per-size winners; the library decides everywhere else."""
    gain: Ratio
    """Geometric mean over the sizes, weighted by the profile; exactly 1 with ``keep-defaults``."""


class Cost(Record, frozen=True, kw_only=True):
    """What the answer cost, and what the plain design would."""

    measured_s: float
    """All samples, warm-ups, confirmation and timeouts."""
    exhaustive_s: float
    """Every working cell and the default n times at every size; docs/performance.md has n."""


class EnvironmentStatus(enum.StrEnum):
    """How far an environment came."""

    CHOSEN = "chosen"
    OK = "ok"
    ELIMINATED = "eliminated"
    REFUSED = "refused"
    SEARCHED = "searched"


class EnvironmentResult(Record, frozen=True, kw_only=True):
    """What became of one combination of ``--env``'s values."""

    env: dict[str, str]
    """The variables; empty for the environment that everything is compared with."""
    status: EnvironmentStatus
    """``eliminated``: clearly not better; ``searched``: the search looked at it, and others looked better;
    ``refused``: no rank starts with it, or the library's own choice breaks."""
    rounds: int
    """Launches of its own."""
    ratio: float | None
    """Default's time / that of its best cells, geometric mean over the sizes; an estimate from the exploration or the
    search. None where it was not measured at every size."""


class SweepDocument(Document, frozen=True, kw_only=True):
    """``ncclprobe.sweep/1``."""

    schema: str = "ncclprobe.sweep/1"
    backend: str
    """``mpi``, ``nccl`` or ``sim``."""
    library: str
    """What ran the collectives, with its version."""
    nranks: int
    """Of the communicator."""
    nnodes: int | None
    """Hosts that the ranks ran on."""
    launches: int
    """Fresh process environments."""
    seed: int
    """Of the run."""
    cells: tuple[CellResult, ...]
    """Every cell at every size, the default first."""
    choice: Choice
    """The answer."""
    cost: Cost
    """What it took."""
    normal: Normality | None = None
    """What the default's bandwidths are to be compared with; None where nothing is known of the nodes' hardware."""
    prediction: Prediction | None = None
    """What the choice saves the workload of ``--profile``; None without one, and where nothing was timed."""
    environments: tuple[EnvironmentResult, ...] = ()
    """The combinations of ``--env``'s values that were measured; empty without ``--env``."""
