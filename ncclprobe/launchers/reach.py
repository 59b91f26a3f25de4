"""Which hosts of a job answer: asked after its ranks died or fell silent, so that no setting is blamed for a host."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

from ncclprobe.errors import HostsGoneError, LaunchError, MeasurementTimeout
from ncclprobe.launchers.base import Job, Launcher
from ncclprobe.launchers.run import run_ranks
from ncclprobe.nodesets import fold
from ncclprobe.units import format_seconds

ASK_S = 20.0
"""What the start of a program that does nothing may take on a host."""
AT_ONCE = 64
"""Hosts that are asked at the same time."""
_QUEUED = re.compile(r"queued and waiting for resources|step creation temporarily disabled", re.IGNORECASE)
"""What Slurm says of hosts that it has not cleared of the last job yet. Source: Slurm 22.05 and 23.11, srun"""


def check_hosts(job: Job, launcher: Launcher, limit_s: float = ASK_S) -> None:
    """Have each host of a job start a program that does nothing; return where all of them do, or it names none.

    Args:
        job: Its ranks have ended.
        launcher: What started them.
        limit_s: For each host; all are asked at the same time.

    Raises:
        HostsGoneError: Some don't, with why.
    """
    if not job.hosts:
        return
    pool = ThreadPoolExecutor(min(AT_ONCE, len(job.hosts)))
    try:
        whys = pool.map(lambda host: why_silent(host, launcher, limit_s), job.hosts)
        silent = {host: why for host, why in zip(job.hosts, whys, strict=True) if why}
    finally:  # after Ctrl-C, those that have not been asked are not asked
        pool.shutdown(wait=False, cancel_futures=True)
    if silent:
        verb = "do" if len(silent) > 1 else "does"
        raise HostsGoneError(
            f"{fold(silent)} {verb} not answer ({next(iter(silent.values()))}); what was measured is kept: see to it"
            " and go on with --resume, or leave it out of --hosts"
        )


def why_silent(host: str, launcher: Launcher, limit_s: float) -> str:
    """Return why a host starts nothing; empty where it does, or a scheduler only keeps the question waiting."""
    job = Job(program=("true",), nranks=1, hosts=(host,), ranks_per_host=1)
    try:
        list(run_ranks(job, launcher, timeout_s=limit_s, start_timeout_s=limit_s))
    except MeasurementTimeout as problem:
        queued = _QUEUED.search(str(problem))
        return "" if queued else f"{launcher.name} started nothing there within {format_seconds(limit_s)}"
    except LaunchError as problem:
        return f"{launcher.name} starts nothing there: {str(problem).splitlines()[-1].strip()}"
    return ""
