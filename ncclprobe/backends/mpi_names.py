"""The variables that choose an MPI library's algorithms, and what ncclprobe calls the algorithms.

A name is the library's own, except that ``tree`` is ``Tree`` and ``ring`` is ``Ring``, as for NCCL.

Source: MPICH 5.0, src/mpi/coll/cvars.txt, coll_algorithms.txt and src/coll_impl.c; Open MPI 4.1,
ompi/mca/coll/tuned/coll_tuned_*_decision.c
"""

from __future__ import annotations

from collections.abc import Iterable

from ncclprobe.names import Collective
from ncclprobe.records.base import Record
from ncclprobe.records.sweep import Cell

_MPICH_NAMES = {
    Collective.ALL_REDUCE: "ALLREDUCE",
    Collective.ALL_GATHER: "ALLGATHER",
    Collective.REDUCE_SCATTER: "REDUCE_SCATTER_BLOCK",
    Collective.BROADCAST: "BCAST",
    Collective.ALLTOALL: "ALLTOALL",
}
_OPEN_MPI_NAMES = {
    Collective.ALL_REDUCE: "allreduce",
    Collective.ALL_GATHER: "allgather",
    Collective.REDUCE_SCATTER: "reduce_scatter_block",
    Collective.BROADCAST: "bcast",
    Collective.ALLTOALL: "alltoall",
}
_SPELLINGS = {"tree": "Tree", "ring": "Ring"}
_NOT_CELLS = {
    "auto": "the library's own choice",
    "ignore": "Open MPI's word for its own choice",
    "ccl": "takes another algorithm without a word where the library has no CCL",
    "pairwise_sendrecv_replace": "works in place only",
    "two_proc": "for two ranks only, where nothing else differs",
}
"""What a variable lists that is no algorithm of its own, with why."""

MPICH_FALLBACK = "MPIR_CVAR_COLLECTIVE_FALLBACK"
"""What MPICH does where an algorithm that was asked for cannot run; ``silent`` unless told otherwise."""

MPICH_COMPOSED = ("smp",)
"""Algorithms that run within hosts and then the same collective between them, where ``smp`` itself cannot run: told
to fail there instead of choosing for itself, one rank fails while the others wait for it."""


def mpich_algorithm(collective: Collective) -> str | None:
    """Return the variable that names MPICH's algorithm, None where it has no choice."""
    name = _MPICH_NAMES.get(collective)
    return name and f"MPIR_CVAR_{name}_INTRA_ALGORITHM"


def mpich_device(collective: Collective) -> str | None:
    """Return the variable that lets MPICH's device put its own composition in the algorithm's place.

    With it on, ranks that share a host may run a shared-memory algorithm whatever algorithm was asked for.
    """
    name = _MPICH_NAMES.get(collective)
    return name and f"MPIR_CVAR_{name}_DEVICE_COLLECTIVE"


def open_mpi_algorithm(collective: Collective) -> str | None:
    """Return the variable that names Open MPI's algorithm, None where it has no choice."""
    name = _OPEN_MPI_NAMES.get(collective)
    return name and f"coll_tuned_{name}_algorithm"


OPEN_MPI_START = (
    ("OMPI_MCA_coll_tuned_use_dynamic_rules", "1"),
    ("OMPI_MCA_coll_hcoll_enable", "0"),
)
"""What Open MPI reads at start: without the first, it ignores the algorithm that was asked for."""

MPICH_START = tuple((f"MPIR_CVAR_{name}_INTRA_ALGORITHM", "auto") for name in _MPICH_NAMES.values())
"""What MPICH ranks start with, so that ``default`` is MPICH's own choice and ``auto``'s number is known."""


def cell_name(library_name: str) -> str | None:
    """Return what an algorithm is called in a cell, None where the word stands for none."""
    return None if library_name in _NOT_CELLS else _SPELLINGS.get(library_name, library_name)


def library_name(cell: Cell) -> str:
    """Return what the library calls a cell's algorithm."""
    return next((own for own, ours in _SPELLINGS.items() if ours == cell.algo), cell.algo)


class Choices(Record, frozen=True, kw_only=True):
    """What the library that ranks run on can choose from."""

    library: str
    """With its version."""
    algorithms: dict[str, tuple[str, ...]]
    """Collective -> the library's own names, in its order."""
    ngpus: int | None = None
    """GPUs of the rank's host, None where the library has nothing to do with them."""

    def cells(self, collective: Collective) -> tuple[Cell, ...]:
        """Return the cells of a collective, the default not among them."""
        return tuple(Cell(algo=name) for name in cell_names(self.algorithms.get(collective, ())))


def cell_names(library_names: Iterable[str]) -> list[str]:
    """Return what the algorithms are called in cells, in their order, without what stands for none."""
    return [name for own in library_names if (name := cell_name(own)) is not None]


def cell_environment(library: str, collective: Collective, cell: Cell) -> dict[str, str]:
    """Return the variables that make a whole program run a collective as a cell does; empty for the default.

    Args:
        library: As in ``Choices``.
        collective: Which.
        cell: Of this library.
    """
    if cell.is_default:
        return {}
    if "Open MPI" in library:
        return {OPEN_MPI_START[0][0]: "1", f"OMPI_MCA_{open_mpi_algorithm(collective)}": library_name(cell)}
    return {str(mpich_algorithm(collective)): library_name(cell), str(mpich_device(collective)): "0"}
