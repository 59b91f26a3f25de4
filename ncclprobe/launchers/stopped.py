"""Which ranks a signal has stopped, or are gone: they are silent, and no setting is to blame for that.

``python -m ncclprobe.launchers.stopped MARK`` says it of its host's ranks; a launcher starts it on each.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import msgspec

from ncclprobe import processes
from ncclprobe.errors import LaunchError
from ncclprobe.launchers.allocation import allocated_hosts
from ncclprobe.launchers.base import Job, Launcher, python_job
from ncclprobe.launchers.channel import Channel, unframe
from ncclprobe.launchers.slurm import beside, canceller, unique_name
from ncclprobe.ranks import rank_from

ASK_S = 10.0
"""What a host may take to say which of its ranks are stopped; it is asked while they are still there."""
AT_ONCE = 64
"""Hosts that are asked at the same time."""


def stopped_ranks(mark: str, job: Job, launcher: Launcher) -> list[str]:
    """Return the ranks that a signal has stopped, with their hosts and processes; hosts that don't answer have none.

    Args:
        mark: Of the ranks' MARK variable.
        job: Which they run.
        launcher: What started them.
    """
    hosts = job.hosts or allocated_hosts(launcher.name, os.environ)  # asking one without a rank does no harm
    if not hosts:
        return _here(mark)
    own = beside(launcher.name, _name(mark))
    pool = ThreadPoolExecutor(min(AT_ONCE, len(hosts)))
    try:
        found = list(pool.map(lambda host: _on(host, mark, launcher, own), hosts))
    finally:  # after Ctrl-C, those that have not been asked are not asked
        pool.shutdown(wait=False, cancel_futures=True)
    return [f"{name} on {host}" for host, names in zip(hosts, found, strict=True) for name in names]


def gone_ranks(mark: str, nranks: int) -> list[str]:
    """Return which ranks of a job that runs on this host alone have ended; none where no process of it is known.

    Args:
        mark: Of the ranks' MARK variable.
        nranks: That were started.
    """
    known = [rank_from(processes.environment_of(pid)) for pid in processes.marked(mark)]
    there = {info.rank for info in known if info is not None}
    return [f"rank {rank}" for rank in range(nranks) if known and rank not in there]


def marked(job: Job, mark: str) -> Job:
    """Return the job with the mark in its name and among its variables, which reach every host by any launcher."""
    return job.with_(env=(*job.env, (processes.MARK, mark)), name=_name(mark))


def _name(mark: str) -> str:
    """Return the name by which a scheduler shows ranks with a mark."""
    return f"ncclprobe-{mark}"


def _here(mark: str) -> list[str]:
    return [_rank_name(pid) for pid in processes.stopped(mark)]


def _rank_name(pid: int) -> str:
    """Return which rank a process of this host is."""
    info = rank_from(processes.environment_of(pid))
    return f"rank {info.rank} (process {pid})" if info is not None else f"process {pid}"


def _on(host: str, mark: str, launcher: Launcher, beside_ranks: dict[str, str]) -> list[str]:
    asked = python_job(__name__, (mark,), nranks=1, hosts=(host,), ranks_per_host=1)
    job = asked.with_(name=unique_name())
    environment = {**os.environ, **launcher.environment(job), **beside_ranks}
    try:
        on_kill = canceller(launcher.name, job.name)
        said = processes.run(launcher.command(job), timeout_s=ASK_S, env=environment, on_kill=on_kill).stdout
    except LaunchError:
        return []
    records = [record for line in said.split("\n") if (record := unframe(line.encode())) is not None]
    return msgspec.json.decode(records[0], type=list[str]) if records else []


if __name__ == "__main__":
    Channel().send(msgspec.json.encode(_here(sys.argv[1])))
