"""What Nsight Systems saw of NCCL's kernels: rows of an SQLite export, and tables that were read elsewhere.

Source: Nsight Systems 2025.1, SQLite export schema (``CUPTI_ACTIVITY_KIND_KERNEL``, ``StringIds``)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ncclprobe.decoding import LARGEST
from ncclprobe.kernels import kernel_algo, kernel_dtype, nccl_kernel
from ncclprobe.records.inspect import Nsys
from ncclprobe.records.profile import CommKernel

KERNELS_TABLE, NAMES_TABLE = "CUPTI_ACTIVITY_KIND_KERNEL", "StringIds"
PLAIN = (
    "SELECT 1 FROM sqlite_master WHERE name = ? AND type = 'table' AND rootpage > 0 "
    "AND NOT EXISTS (SELECT 1 FROM pragma_table_xinfo(sqlite_master.name) WHERE hidden > 0)"
)
"""Holds of a table with rows of its own: a view's or a generated column's are computed, perhaps without end."""
QUERY = (
    'WITH k AS (SELECT deviceId, demangledName AS id, SUM("end" - start) AS total, COUNT(*) AS times '  # noqa: S608
    f"FROM {KERNELS_TABLE} GROUP BY 1, 2), s AS (SELECT id, MIN(value) AS value FROM {NAMES_TABLE} GROUP BY 1) "
    "SELECT k.deviceId, s.value, SUM(k.total), SUM(k.times) FROM k JOIN s ON s.id = k.id GROUP BY 1, 2"
)
"""One row a device and kernel, added up where the export lies: it may hold a hundred million kernels.

An id has one name, lest a file with many for one take a time that grows with their square."""


class KernelSum(NamedTuple):
    """One kernel on one device."""

    device: int
    name: str
    total_ns: float
    instances: int


def kernel_sum(row: Sequence[Any]) -> KernelSum:
    """Return a row that QUERY found.

    Raises:
        ValueError: Its time is none, or a field is no number; so do ``TypeError`` and ``OverflowError``.
    """
    device, name, total_ns, count = row
    if not 0 <= total_ns <= LARGEST:
        raise ValueError(f"the kernels {name!r} took {total_ns} ns")
    return KernelSum(int(device), str(name), float(total_ns), int(count))


class KernelTable(NamedTuple):
    """One export or table."""

    source: str
    kernels: tuple[CommKernel, ...]
    """NCCL's, of the device on which they took longest."""
    comm_share: float | None
    devices: int
    """With kernels of NCCL; 1 for a table, which doesn't tell them apart."""
    device: int | None
    """The one whose kernels these are."""


def table_of_sums(source: str, sums: Sequence[KernelSum]) -> KernelTable:
    """Return NCCL's kernels of the device on which they took longest, and their share of its kernels' time."""
    busy: dict[int, float] = {}
    for row in sums:
        if nccl_kernel(row.name):
            busy[row.device] = busy.get(row.device, 0.0) + row.total_ns
    device = min(busy, key=lambda one: (-busy[one], one), default=None)
    mine = [row for row in sums if row.device == device]
    whole = sum(row.total_ns for row in mine)
    kernels = (_kernel(source, row.name, row.total_ns / 1e3, row.instances) for row in mine if nccl_kernel(row.name))
    share = round(busy[device] / whole, 6) if device is not None and whole > 0 else (0.0 if sums else None)
    return KernelTable(source, tuple(kernels), share, len(busy), device)


def table_of_documents(documents: Iterable[Nsys]) -> list[KernelTable]:
    """Return the kernel tables of documents that ``inspect`` read."""
    return [
        KernelTable(
            document.source,
            tuple(_kernel(document.source, one.name, one.time_us, one.count) for one in document.kernels),
            document.comm_share,
            1,
            None,
        )
        for document in documents
    ]


def _kernel(source: str, name: str, time_us: float, count: int) -> CommKernel:
    collective, word = nccl_kernel(name) or ("generic", None)
    algo, dtype = kernel_algo(name), kernel_dtype(word)
    return CommKernel(
        collective=collective,
        algo=algo.value if algo else None,
        dtype=dtype.value if dtype else None,
        time_us=time_us,
        count=count,
        name=name.removeprefix("void ").partition("(")[0],
        source=source,
    )
