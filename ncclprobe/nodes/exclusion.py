"""Lists of nodes to leave out, as Slurm and PBS take them, and a hostfile of the good ones. Names stay data."""

from __future__ import annotations

from collections.abc import Iterable

from ncclprobe.nodesets import fold
from ncclprobe.records.nodes import NodesDocument, NodeStatus, NodeVerdict

SLURM_FILE, PBS_FILE, HOSTFILE = "exclude.slurm", "exclude.pbs", "hostfile"
"""In the run directory."""


def excluded(nodes: Iterable[NodeVerdict]) -> tuple[str, ...]:
    """Return the nodes to leave out of jobs: slow and unreachable ones."""
    return tuple(verdict.node for verdict in nodes if verdict.status in (NodeStatus.SLOW, NodeStatus.UNREACHABLE))


def exclusion_files(document: NodesDocument) -> dict[str, str]:
    """Return the files' names and contents: an option of sbatch and srun, a node a line for PBS, and good nodes.

    Nodes that are GPUs are none of a scheduler's, so there are no files.

    Source: Slurm 22.05, sbatch(1), --exclude; OpenPBS 22, pbsnodes(8B), -o; MPICH 5.0 and Open MPI 4.1, hostfiles
    """
    if document.each == "gpu":
        return {}
    good = [verdict.node for verdict in document.nodes if verdict.status is NodeStatus.OK]
    files = {HOSTFILE: "".join(f"{node}\n" for node in good)}
    if document.exclude:
        files[SLURM_FILE] = f"--exclude={fold(document.exclude)}\n"
        files[PBS_FILE] = "".join(f"{node}\n" for node in document.exclude)
    return files
