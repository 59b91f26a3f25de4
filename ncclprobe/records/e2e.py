"""What ``validate-e2e`` records and says."""

from __future__ import annotations

import enum
from typing import Any

from ncclprobe.records.base import Document, Interval, Record
from ncclprobe.records.foretold import Expectation, Foretold, Sent
from ncclprobe.records.inspect import TunerRow
from ncclprobe.records.telemetry import HostTelemetry

TELEMETRY_S = 0.5
"""Between samples of the machine, where nothing else is asked for."""

RESULT_DIFFERS = "result-differs"
"""The finding that takes every recommendation away: trials did not compute the same."""
ARM_FAILED = "arm-failed"
"""The finding that an arm failed too often for a comparison."""
IDENTICAL_ARMS = "identical-arms"
"""The finding that a comparison shows the noise alone."""
TABLE_VARIABLE = "NCCLPROBE_TUNER_TABLE"
"""Variable that names a table of settings by message size."""
OWN_TIME = ("total_latency", "duration")
"""SGLang's names for the time that a benchmark measured itself.

Source: SGLang 0.5.17, benchmark/offline_throughput.py, benchmark/one_batch.py (total_latency), benchmark/serving.py
(duration)
"""


class Arm(enum.StrEnum):
    """The two arms that have names of their own; further ones are named after what they vary."""

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


class Layout(Record, frozen=True, kw_only=True):
    """How a model is spread over GPUs, in SGLang's words."""

    tp: int = 1
    """Tensor-parallel ranks."""
    pp: int = 1
    """Pipeline stages."""
    dp: int = 1
    """Data-parallel replicas."""
    nnodes: int = 1
    """Nodes."""

    @property
    def label(self) -> str:
        """Return ``tp=8,pp=2``: the ranks, and what is not 1 of the rest."""
        rest = [f"{name}={getattr(self, name)}" for name in ("pp", "dp", "nnodes") if getattr(self, name) != 1]
        return ",".join([f"tp={self.tp}", *rest])


class ArmSettings(Record, frozen=True, kw_only=True):
    """What one arm sets."""

    env: dict[str, str] = {}
    """Variables beyond the inherited environment."""
    table: tuple[TunerRow, ...] = ()
    """Settings by message size; the first row that matches wins, the library decides where none does."""
    layout: Layout | None = None
    """Of the model; None where the workload has none."""


class ProxyShape(Record, frozen=True, kw_only=True):
    """The size of the tensor-parallel decode loop."""

    layers: int = 4
    """DeepSeek-V3 has 61."""
    hidden: int = 512
    """Width of the residual stream; DeepSeek-V3 has 7168."""
    batch: int = 64
    """Tokens decoded in one step: sequences in flight."""
    steps: int = 16
    """Decode steps of a trial that are timed."""
    nranks: int = 4
    """Tensor-parallel ranks."""


class Placement(Record, frozen=True, kw_only=True):
    """Where a workload's own ranks run."""

    launcher: str = "local"
    """What starts them."""
    hosts: tuple[str, ...] = ()
    """On these; empty for this machine, or for the launcher's allocation."""
    nnodes: int | None = None
    """So many hosts, as many ranks on each; None leaves that to the hosts or to the launcher."""


class Bench(enum.StrEnum):
    """Which of SGLang's benchmarks."""

    OFFLINE = "offline"
    ONE_BATCH = "one-batch"
    SERVING = "serving"


class SglangOptions(Record, frozen=True, kw_only=True):
    """How SGLang is run."""

    bench: Bench = Bench.OFFLINE
    """Which benchmark."""
    model: str = "tiny-deepseek"
    """A path, a name that SGLang resolves, or a model of our own making."""
    python: str | None = None
    """The program; None takes this Python, or with a prefix ``python3``."""
    prefix: tuple[str, ...] = ()
    """Tokens before the command: ``apptainer exec --nv image.sif``."""
    arguments: tuple[str, ...] = ()
    """SGLang's own, passed through."""
    client_arguments: tuple[str, ...] = ()
    """Of bench_serving, passed through."""
    repeats: int = 1
    """Client runs against each started server, whose medians are the trial's values."""
    launcher: str | None = None
    """What starts SGLang on several nodes; None where all arms run on one."""
    hosts: tuple[str, ...] = ()
    """For the launcher; empty leaves it to the scheduler."""
    measured_with: str = ""
    """The library with which the candidate's settings were found, such as ``NCCL 2.28.9``; empty where unknown."""
    measured_env: dict[str, str] | None = None
    """The variables with which that sweep was started, those that matter; None where unknown."""
    measured_argv: tuple[str, ...] = ()
    """That sweep's command line; empty where unknown."""
    gpu_bytes: int | None = None
    """Memory of a GPU here; None where there is none to look at."""


class E2eOptions(Record, frozen=True, kw_only=True):
    """Everything that a comparison needs, and what --resume goes on with."""

    workload: str
    """A name of the registry."""
    baseline: ArmSettings
    """What every other arm is compared with."""
    candidate: ArmSettings | None
    """The other side; None where only variants are compared."""
    variants: dict[str, ArmSettings] = {}
    """Further arms by name, in order."""
    trials: int
    """Successful ones an arm, at most."""
    warmups: int
    """Thrown away first, an arm."""
    min_effect: float
    """The smallest difference of interest: 0.02 is 2 %."""
    budget_s: float | None
    """Wall time of all trials; None leaves it to the number of trials."""
    timeout_s: float
    """Of one trial."""
    seed: int
    """The order follows from it."""
    metric: str = ""
    """The command's regular expression, SGLang's name for a value; empty for the workload's own."""
    lower_is_better: bool = False
    """Whether the metric is a time."""
    command: tuple[str, ...] = ()
    """The command's tokens."""
    proxy: ProxyShape = ProxyShape()
    """The decode loop's size."""
    placement: Placement = Placement()
    """Where the decode loop's ranks run."""
    sglang: SglangOptions = SglangOptions()
    """How SGLang is run."""
    telemetry_s: float = 0.0
    """Between samples of the machine while a trial runs; 0 takes none."""
    expected: Expectation | None = None
    """What the sweep behind the candidate's settings predicts; None without a profile."""
    inherited: dict[str, str] = {}
    """Of the variables that arms set, those that the environment had at the start, secrets aside."""

    @property
    def arms(self) -> dict[str, ArmSettings]:
        """Return all arms by name, the baseline first."""
        candidate = {} if self.candidate is None else {Arm.CANDIDATE.value: self.candidate}
        return {Arm.BASELINE.value: self.baseline, **candidate, **self.variants}

    def is_baseline_again(self, name: str) -> bool:
        """Return whether an arm runs with what the baseline runs with, also where that is inherited or read twice."""
        return self._in_all(self.arms[name]) == self._in_all(self.baseline)

    def _in_all(self, arm: ArmSettings) -> ArmSettings:
        named = {TABLE_VARIABLE} if arm.table else set()
        return arm.with_(env={k: v for k, v in (self.inherited | arm.env).items() if k not in named})


class Started(Record, frozen=True, kw_only=True):
    """A trial's process, written before its end so that a resumed run can end what a kill left over."""

    order: int
    """The trial's position."""
    pid: int
    """Leader of its process group."""
    birth: str
    """When it started, in the kernel's own count; empty where unknown."""
    where: str = ""
    """In which boot and namespace the number means it; empty where unknown."""


class Changed(Record, frozen=True, kw_only=True):
    """An inherited variable that was not what it had been at the start."""

    name: str
    """Which."""
    begun: str | None
    """Its value at the start; None for not set."""
    now: str | None
    """Its value when the comparison went on; None for not set."""


class Resumed(Record, frozen=True, kw_only=True):
    """That a comparison went on in another environment."""

    order: int
    """Position of the first trial in it."""
    changed: tuple[Changed, ...]
    """What was other than at the start."""


class Trial(Record, frozen=True, kw_only=True):
    """One run of the workload."""

    arm: str
    """``baseline``, ``candidate``, or a variant's name."""
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
    repeats: tuple[dict[str, float], ...] = ()
    """Of several runs within one start each one's values, in order; ``metrics`` has their medians. Else empty."""
    telemetry: tuple[HostTelemetry, ...] = ()
    """What was sampled meanwhile, a record a host; empty where nothing was."""
    sent: Sent | None = None
    """What one rank sent; None where nothing shows it, or nothing was predicted that it could be held against."""
    is_warm_up: bool = False
    """Whether it was run to be thrown away, also where it failed."""
    wild_checksum: bool = False
    """Whether the result's checksum was nan, infinite or beyond 1e100, which is like no other; ``metrics`` has none."""
    afresh: bool = False
    """Whether ``--resume`` began with it after failures had ended the comparison: those before it end it no more."""

    @property
    def number(self) -> int:
        """Return its position as people count, from 1."""
        return self.order + 1


class Comparison(Record, frozen=True, kw_only=True):
    """One arm against the baseline."""

    arm: str
    """``candidate``, or a variant's name."""
    verdict: E2eVerdict
    """The answer."""
    ratio: Interval | None
    """The arm's throughput / baseline's; the intervals of all arms hold together at 95 %."""
    trials: int
    """Complete pairs."""
    env: dict[str, str] = {}
    """What the arm sets beyond the inherited environment."""
    layout: Layout | None = None
    """Of the model; None where the workload has none."""


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
    """The candidate's environment beyond the inherited one; that of the best variant where there is no candidate."""
    trials: tuple[Trial, ...]
    """In order."""
    verdict: E2eVerdict
    """The answer: for the candidate, and where there is none for the variant with the highest estimate."""
    ratio: Interval | None
    """Candidate's throughput / baseline's, at 95 %; None with under two complete pairs."""
    trials_per_arm: int
    """Successful ones, the lesser of both arms."""
    comparisons: tuple[Comparison, ...] = ()
    """Each arm against the baseline, in order."""
    finished: bool = True
    """False for an interim answer, while trials are still to come."""
    collectives: tuple[str, ...] = ()
    """Those that an arm's table or variables name; empty where settings are for all."""
    layout: Layout | None = None
    """The baseline's, where the workload has one."""
    lower_is_better: bool = False
    """Whether the metric is a time; the ratio is of throughputs all the same."""
    min_effect: float = 0.02
    """The smallest difference of interest."""
    seed: int = 0
    """The order of the trials follows from it."""
    prediction: Foretold | None = None
    """What the sweep behind the candidate's settings predicted, beside the ratio; None without a profile."""
