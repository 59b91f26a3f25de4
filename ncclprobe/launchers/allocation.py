"""The hosts of the scheduler's job that this process is part of.

Source: Slurm 22.05, srun(1), SLURM_JOB_NODELIST; OpenPBS 22, pbs_environment(7B), PBS_NODEFILE
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from ncclprobe.launchers.base import Job
from ncclprobe.launchers.pbs import PbsLauncher
from ncclprobe.nodesets import expand


def allocated_hosts(launcher: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the hosts on which a launcher starts ranks where nobody names any; none where that is this host alone.

    Raises:
        UsageError: The launcher is PBS's, and this is no PBS job.
    """
    if launcher == "pbs":
        return PbsLauncher.find().hosts
    nodes = environment.get("SLURM_JOB_NODELIST", "")
    return expand(nodes) if nodes and launcher != "local" else ()


def rank_hosts(launcher: str, nranks: int | None, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the hosts of the scheduler's job on which a sweep starts its ranks where nobody names any.

    Else in a job of two hosts it would have the ranks of one, spread over both.

    Args:
        launcher: What starts the ranks; ``local`` does on this host alone.
        nranks: How many are asked for; None for as many as the hosts have use for.
        environment: This process's variables.

    Returns:
        Their names; none outside of a job, nor for fewer ranks than hosts: which of them have one is not known.

    Raises:
        UsageError: The launcher is PBS's, and this is no PBS job.
    """
    hosts = allocated_hosts(launcher, environment)
    return hosts if nranks is None or nranks >= len(hosts) else ()


def hosts_of(job: Job, launcher: str) -> tuple[str, ...]:
    """Return the hosts that a job's ranks are on, as far as that is known: those it names, or the allocation's.

    An allocation of more hosts than there are ranks does not say which of them have one.
    """
    if job.hosts:
        return job.hosts
    hosts = allocated_hosts(launcher, os.environ)
    return hosts if len(hosts) <= job.nranks // (job.ranks_per_host or 1) else ()
