"""Which rank this process is, from what its launcher put into the environment.

Source: MPICH 5.0 (hydra: ``PMI_*``, ``MPI_LOCALRANKID``), Open MPI 4.1 (``OMPI_COMM_WORLD_*``), OpenPMIx 4
(``PMIX_RANK``), Slurm 22.05 srun(1) (``SLURM_PROCID`` …), OpenPBS 22 pbs_tmrsh/pbsdsh(1B) (``PBS_TASKNUM``)
"""

from __future__ import annotations

from collections.abc import Mapping

from ncclprobe.records.base import Record

_SOURCES = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"),
    ("PMIX_RANK", "SLURM_NTASKS", "SLURM_LOCALID"),
    ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"),
    ("PBS_TASKNUM", "", ""),
    ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
)
"""Rank, number of ranks and rank on this host, the nearest launcher first: mpiexec inside a Slurm job sets both."""


class RankInfo(Record, frozen=True, kw_only=True):
    """A process's place among the ranks."""

    rank: int
    """From 0."""
    nranks: int | None
    """None where the launcher does not say."""
    local_rank: int | None
    """From 0 on each host, which is the GPU's number with one rank a GPU; None where the launcher does not say."""


def rank_from(environment: Mapping[str, str]) -> RankInfo | None:
    """Return which rank a launcher's environment makes a process, None where there is no launcher."""
    for rank, nranks, local_rank in _SOURCES:
        if (number := _number(environment, rank)) is not None:
            return RankInfo(
                rank=number - (rank == "PBS_TASKNUM"),
                nranks=_number(environment, nranks),
                local_rank=_number(environment, local_rank),
            )
    return None


def _number(environment: Mapping[str, str], name: str) -> int | None:
    value = environment.get(name, "")
    return int(value) if value.isdecimal() else None
