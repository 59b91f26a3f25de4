"""What ``inspect`` reads in other tools' outputs. None for what the text does not say."""

from __future__ import annotations

from ncclprobe.names import LinkLayer
from ncclprobe.records.base import Document, Record


class Source(Record, tag_field="kind", frozen=True, kw_only=True):
    """One file's reading of one kind."""

    source: str
    """The file as it was named."""


class LogHca(Record, frozen=True, kw_only=True):
    """An HCA that NCCL's log says it uses."""

    name: str
    """``mlx5_0``."""
    port: int | None = None
    """Counted from 1."""
    link: LinkLayer | None = None
    """``IB`` in the log is InfiniBand, ``RoCE`` is Ethernet."""


class Choice(Record, frozen=True, kw_only=True):
    """What NCCL chose for an operation, from its TUNING lines."""

    collective: str | None = None
    """In ncclprobe's spelling; None where the line names none, as up to NCCL 2.22."""
    size_bytes: int
    """As logged."""
    algo: str
    """NCCL's spelling."""
    proto: str
    """NCCL's spelling."""
    nchannels: int | None = None
    """Channels used."""
    count: int = 1
    """How often the log has it."""


class Plugin(Record, frozen=True, kw_only=True):
    """A plugin that NCCL looked for."""

    kind: str
    """``net``, ``tuner``, ``profiler``."""
    name: str
    """As logged."""
    loaded: bool
    """Whether it was loaded."""


class LogError(Record, frozen=True, kw_only=True):
    """Something that stopped or failed."""

    code: str
    """Kebab-case: ``ib-completion-error``, ``unhandled-cuda-error``."""
    text: str
    """The log's words, with the figures in them."""
    host: str | None = None
    """Who said it; None where the line has no NCCL prefix."""
    count: int = 1
    """How often."""


class LogWarning(Record, frozen=True, kw_only=True):
    """Something NCCL warned of that stopped nothing."""

    text: str
    """The log's words."""
    count: int = 1
    """How often."""


class NcclLog(Source, tag="nccl-log", frozen=True, kw_only=True):
    """An NCCL_DEBUG log: what ran."""

    version: str | None = None
    """``2.28.9``."""
    nranks: int | None = None
    """Of the largest communicator."""
    nnodes: int | None = None
    """None unless the log shows all ranks or says so."""
    hosts: tuple[str, ...] = ()
    """In order of appearance."""
    transports: dict[str, int] = {}
    """NCCL's own words before the slash-options, and their channel lines."""
    hcas: tuple[LogHca, ...] = ()
    """What NET/IB uses."""
    gdr: bool | None = None
    """GPUDirect RDMA in use; None without NET connections."""
    nchannels: int | None = None
    """Collective channels of the largest communicator."""
    choices: tuple[Choice, ...] = ()
    """Distinct, with a count."""
    env: dict[str, str] = {}
    """Variables that the log says were set."""
    plugins: tuple[Plugin, ...] = ()
    """Looked for or loaded."""
    errors: tuple[LogError, ...] = ()
    """What stopped or failed."""
    warnings: tuple[LogWarning, ...] = ()
    """A refused SHARP or merge is one."""


class Half(Record, frozen=True, kw_only=True):
    """Out-of-place or in-place half of a row."""

    time_us: float | None
    """Of one operation; None where it is printed as nan or inf."""
    algbw_gbps: float | None
    """GB/s; None likewise."""
    busbw_gbps: float | None
    """GB/s; None likewise."""
    wrong: int | None = None
    """Wrong elements; None for N/A or an old version's error column."""


class Row(Record, frozen=True, kw_only=True):
    """A row of an nccl-tests table."""

    size_bytes: int
    """As printed."""
    count: int | None = None
    """Elements."""
    dtype: str | None = None
    """As printed."""
    redop: str | None = None
    """As printed; None where the column is absent or says none."""
    out_of_place: Half
    """The first half."""
    in_place: Half | None = None
    """None where the table has one half."""


class NcclTests(Source, tag="nccl-tests", frozen=True, kw_only=True):
    """One nccl-tests table."""

    collective: str | None = None
    """In ncclprobe's spelling."""
    nranks: int | None = None
    """From the device list, else from busbw/algbw."""
    rows: tuple[Row, ...] = ()
    """In order."""
    avg_busbw_gbps: float | None = None
    """As printed."""


class SglangResults(Source, tag="sglang", frozen=True, kw_only=True):
    """Result blocks of SGLang's benchmarks."""

    results: tuple[dict[str, float], ...] = ()
    """In SGLang's JSONL names; labels without one in snake_case. Warm-up blocks left out."""


class Kernel(Record, frozen=True, kw_only=True):
    """One of NCCL's kernels."""

    collective: str
    """In ncclprobe's spelling; NCCL's own word for what is none, such as ``generic``."""
    dtype: str | None = None
    """As the kernel's name says; None for kernels that copy without looking at the type."""
    name: str
    """Without its arguments. Algorithm and protocol in it are hints: ``RING_LL`` stands for anything but Tree."""
    time_us: float
    """Of all instances."""
    count: int
    """Instances."""


class Nsys(Source, tag="nsys", frozen=True, kw_only=True):
    """An Nsight Systems kernel table."""

    kernels: tuple[Kernel, ...] = ()
    """NCCL's."""
    comm_share: float | None = None
    """NCCL's kernels' share of all kernels' time in the table, 0 to 1."""


class TunerRow(Record, frozen=True, kw_only=True):
    """A row of a tuner table."""

    collective: str
    """In ncclprobe's spelling."""
    min_bytes: int
    """Inclusive."""
    max_bytes: int
    """Inclusive."""
    algo: str
    """NCCL's spelling."""
    proto: str
    """NCCL's spelling."""
    nchannels: int | None = None
    """None leaves it to NCCL."""
    nnodes: int | None = None
    """None matches any."""
    nranks: int | None = None
    """None matches any."""
    num_pipe_ops: int | None = None
    """None matches any."""
    reg_buff: bool | None = None
    """Whether the user's buffer is registered; None matches both."""

    def contested(self, later: TunerRow) -> tuple[int, int] | None:
        """Return the sizes, from and to, that this row takes from a later one by standing before it; None for none.

        A row for fewer cases above one for more is meant so, and contests nothing.
        """
        low, high = max(self.min_bytes, later.min_bytes), min(self.max_bytes, later.max_bytes)
        pairs = [(getattr(self, key), getattr(later, key)) for key in ("nnodes", "nranks", "num_pipe_ops", "reg_buff")]
        meet = all(own is None or other is None or own == other for own, other in pairs)
        narrower = any(own is not None and other is None for own, other in pairs)
        if self.collective != later.collective or low > high or not meet or narrower:
            return None
        return low, high


class TunerCsv(Source, tag="tuner-csv", frozen=True, kw_only=True):
    """A tuner table."""

    rows: tuple[TunerRow, ...] = ()
    """In order; the first that matches wins."""


Inspected = NcclLog | NcclTests | SglangResults | Nsys | TunerCsv


class InspectDocument(Document, frozen=True, kw_only=True):
    """``ncclprobe.inspect/1``."""

    schema: str = "ncclprobe.inspect/1"
    documents: tuple[Inspected, ...] = ()
    """One a file and kind."""
