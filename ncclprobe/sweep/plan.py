"""From options to what competes: which points and cells."""

from __future__ import annotations

from collections.abc import Sequence

from ncclprobe.backends.base import Capabilities
from ncclprobe.backends.geometry import ITEM_BYTES
from ncclprobe.errors import UsageError
from ncclprobe.names import Collective
from ncclprobe.records.base import Record
from ncclprobe.records.prediction import Workload
from ncclprobe.records.sweep import Cell, Point
from ncclprobe.sweep.axes import Axis
from ncclprobe.units import format_size, parse_sizes

DEFAULT_SIZES = "8:8M:8"
DEFAULT_DTYPE = "float32"


class SweepOptions(Record, frozen=True, kw_only=True):
    """What was asked for; kept in the manifest, so that ``--resume`` goes on in the same way."""

    backend: str
    """By name, never ``auto``."""
    fabric: str | None = None
    """Path of a simulated fabric's description."""
    launcher: str = "local"
    """Which launcher starts the ranks."""
    hosts: tuple[str, ...] = ()
    """Where to start them; empty for this host."""
    nranks: int | None = None
    """None takes the backend's own default."""
    collective: str = Collective.ALL_REDUCE.value
    """In ncclprobe's spelling."""
    dtype: str | None = None
    """None takes what the backend has."""
    sizes: str | None = None
    """As given; None takes what the backend has."""
    workload: Workload | None = None
    """Whose sizes are measured and weighed; None measures sizes of equal weight."""
    algo: tuple[str, ...] = ()
    """Empty takes all."""
    proto: tuple[str, ...] = ()
    """Empty takes all."""
    channels: tuple[int, ...] = ()
    """0 stands for the library's own number; empty takes all."""
    env: tuple[Axis, ...] = ()
    """Variables of whole processes, with what they are tried with."""
    search: str = "grid"
    """How their combinations are tried: ``grid`` takes all, ``optuna`` looks for the best."""
    mode: str = "auto"
    """How operations reach a GPU: ``graph``, ``eager``, or ``auto`` by size."""
    in_place: bool = False
    """Whether operations on GPUs read and write the same buffer."""
    memory: str = "cuda"
    """Where buffers on GPUs come from: ``cuda`` or ``nccl``."""
    budget_s: float | None = None
    """Wall time."""
    timeout_s: float = 10.0
    """Of a single sample."""
    sample_s: float = 500e-6
    """At least, of a single sample of real ranks."""
    exhaustive: bool = False
    """Measure everything n times."""
    seed: int
    """Every random order follows from it."""


def planned_points(options: SweepOptions, offered: Sequence[Point]) -> tuple[Point, ...]:
    """Return the points to measure, ascending.

    Args:
        options: What was asked for.
        offered: The only points that the backend has; empty where it takes any.

    Raises:
        UsageError: A size or type is asked for that the backend does not have.
    """
    dtypes = sorted({point.dtype for point in offered})
    dtype = options.dtype or (dtypes[0] if dtypes and DEFAULT_DTYPE not in dtypes else DEFAULT_DTYPE)
    known = [point for point in offered if point.dtype == dtype]
    if offered and not known:
        raise UsageError(f"--dtype {dtype}: the backend has {', '.join(dtypes)} alone")
    if not offered and dtype not in ITEM_BYTES:
        raise UsageError(f"--dtype {dtype}: there is no such type; choose from {', '.join(ITEM_BYTES)}")
    if options.workload is not None:
        return _workload_points(options, options.workload, dtype)
    if options.sizes is None and known:
        return tuple(sorted(known))
    sizes = parse_sizes(options.sizes or DEFAULT_SIZES)
    points = tuple(Point(collective=options.collective, dtype=dtype, size_bytes=size) for size in sizes)
    missing = [point.size_bytes for point in points if offered and point not in known]
    if missing:
        there = ", ".join(format_size(point.size_bytes) for point in known)
        raise UsageError(f"--sizes: the backend has no {format_size(missing[0])}; it has {there}")
    return points


def _workload_points(options: SweepOptions, workload: Workload, dtype: str) -> tuple[Point, ...]:
    sizes = [weight.size_bytes for weight in workload.weights]
    if not sizes:
        raise UsageError(
            f"--profile {workload.source}: the backend has no size within a factor of three of its messages'"
        )
    return tuple(Point(collective=options.collective, dtype=dtype, size_bytes=size) for size in sizes)


def planned_cells(options: SweepOptions, capabilities: Capabilities) -> tuple[Cell, ...]:
    """Return the cells that compete with the default.

    Raises:
        UsageError: An algorithm, protocol or number of channels is named that the backend does not have.
    """
    if not capabilities.cells:
        raise UsageError(
            f"{capabilities.library} has no choice of algorithms for {options.collective}, so nothing to compare; "
            "choose another --collective"
        )
    algos = _named("--algo", options.algo, [cell.algo for cell in capabilities.cells])
    protos = _named("--proto", options.proto, [cell.proto for cell in capabilities.cells])
    channels = _channels(options.channels, capabilities)
    cells = [cell for cell in capabilities.cells if cell.algo in algos and cell.proto in protos]
    chosen = tuple(cell for cell in cells if cell.nchannels in channels)
    if not chosen:
        raise UsageError("no cell has all of the named algorithms, protocols and channels; name fewer")
    return chosen


def _named(option: str, wanted: Sequence[str], offered: Sequence[str]) -> set[str]:
    by_key = {_key(name): name for name in offered}
    unknown = [name for name in wanted if _key(name) not in by_key]
    if unknown:
        there = ", ".join(dict.fromkeys(offered))
        raise UsageError(f"{option} {unknown[0]}: the backend does not have it; it has {there}")
    return {by_key[_key(name)] for name in wanted} or set(offered)


def _key(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _channels(wanted: Sequence[int], capabilities: Capabilities) -> set[int | None]:
    offered = {cell.nchannels for cell in capabilities.cells}
    named = {number or None for number in wanted}
    unknown = sorted(filter(None, named - offered))
    if unknown:
        there = ", ".join(str(number) for number in sorted(filter(None, offered))) or "no choice of channels"
        raise UsageError(f"--channels {unknown[0]}: the backend does not have it; it has {there}")
    return named or offered
