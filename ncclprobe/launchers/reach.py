"""Which hosts of a job answer: asked after its ranks died or fell silent, so that no setting is blamed for a host."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from ncclprobe.errors import HostsGoneError, LaunchError, MeasurementTimeout
from ncclprobe.launchers.allocation import hosts_of
from ncclprobe.launchers.base import Job, Launcher
from ncclprobe.launchers.run import run_ranks
from ncclprobe.launchers.slurm import QUEUE_PATIENCE, QUEUED, hindrance, hindrance_to, is_queued
from ncclprobe.nodesets import fold
from ncclprobe.units import format_seconds

ASK_S = 20.0
"""What the start of a program that does nothing may take on a host."""
AT_ONCE = 64
"""Hosts that are asked at the same time."""


def check_hosts(job: Job, launcher: Launcher, limit_s: float = ASK_S) -> None:
    """Have each host of a job start a program that does nothing; return where all of them do, or it names none.

    Args:
        job: Its ranks have ended.
        launcher: What started them.
        limit_s: For each host; all are asked at the same time.

    Raises:
        HostsGoneError: Some don't, with why.
    """
    if not (hosts := hosts_of(job, launcher.name)):
        return
    pool = ThreadPoolExecutor(min(AT_ONCE, len(hosts)))
    try:
        whys = pool.map(lambda host: why_silent(host, launcher, limit_s), hosts)
        silent = {host: why for host, why in zip(hosts, whys, strict=True) if why}
    finally:  # after Ctrl-C, those that have not been asked are not asked
        pool.shutdown(wait=False, cancel_futures=True)
    if silent:
        verb = "do" if len(silent) > 1 else "does"
        raise HostsGoneError(
            f"{fold(silent)} {verb} not answer ({next(iter(silent.values()))}); what was measured is kept: see to it"
            " and go on with --resume, or start another run without it"
        )


def why_silent(host: str, launcher: Launcher, limit_s: float) -> str:
    """Return why a host starts nothing; empty where it does, or a scheduler that hears of it keeps us waiting.

    Slurm notices only after a while that it hears nothing of a host, so where it queues the question it is asked twice.
    """
    for patience in (1.0, QUEUE_PATIENCE):
        why = _why_silent(host, launcher, limit_s * patience)
        if not why.startswith(QUEUED):
            return why
    return ""


def _why_silent(host: str, launcher: Launcher, limit_s: float) -> str:
    """Return why a host starts nothing, empty where it does; it begins with ``QUEUED`` where the scheduler waits."""
    if why := hindrance_to(launcher.name, host, limit_s):
        return why
    job = Job(program=("true",), nranks=1, hosts=(host,), ranks_per_host=1)
    try:
        list(run_ranks(job, launcher, timeout_s=limit_s, start_timeout_s=limit_s))
    except MeasurementTimeout as problem:
        if is_queued(str(problem)):
            return hindrance(host, 0.0) or QUEUED
        return f"{launcher.name} started nothing there within {format_seconds(limit_s)}"
    except LaunchError as problem:
        return f"{launcher.name} starts nothing there: {str(problem).splitlines()[-1].strip()}"
    return ""
