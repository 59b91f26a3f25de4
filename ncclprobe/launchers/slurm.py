"""What Slurm itself is asked and told, beside srun: which hosts it hears nothing of, and that a killed srun is gone.

srun gives its allocation and its step back when it ends by itself. Where a host is silent it waits for that host, and
killed it gives nothing back: Slurm keeps the hosts allocated, for good unless the site has set InactiveLimit.

Source: Slurm 22.05, slurm.conf(5), InactiveLimit; srun(1), --job-name; squeue(1); scancel(1); sinfo(1), node states
"""

from __future__ import annotations

import functools
import re
import secrets
from collections.abc import Callable, Sequence

from ncclprobe import processes
from ncclprobe.errors import LaunchError

SAYS_S = 5.0
"""What Slurm's controller may take for an answer."""
QUEUE_PATIENCE = 4.0
"""A host for which the scheduler queues a question is asked a second time, with so many times the limit."""
_QUEUED = re.compile(r"queued and waiting for resources|step creation temporarily disabled", re.IGNORECASE)
"""What srun says of hosts that are not free for it. Source: Slurm 22.05 and 23.11, srun"""
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
"""Of a job or a step; steps that Slurm makes for itself, ``3.extern``, end with their jobs."""


def is_queued(said: str) -> bool:
    """Return whether srun says that Slurm keeps it waiting for its hosts."""
    return _QUEUED.search(said) is not None


def state_of_silent(host: str) -> str:
    """Return the state of a host that Slurm hears nothing of, as sinfo shows it; empty where it hears or knows none."""
    states = _said(["sinfo", "--noheader", f"--nodes={host}", "--format=%T"]).split()
    return states[0].rstrip("*") if states and states[0].endswith("*") else ""


def unique_name() -> str:
    """Return a name for a job that no other has."""
    return f"ncclprobe-{secrets.token_hex(8)}"


def canceller(launcher: str, name: str) -> Callable[[], object] | None:
    """Return what is to be done where a launcher had to be killed; None where that leaves nothing to a scheduler.

    Args:
        launcher: Its name.
        name: Of its job, and of no other.
    """
    return functools.partial(cancel, name) if launcher == "srun" and name else None


def cancel(name: str) -> None:
    """End all of Slurm's jobs and steps of a name. A controller that does not answer is left to the site."""
    if numbers := [*_numbers(name), *_numbers(name, "--steps")]:
        _said(["scancel", *numbers])


def _numbers(name: str, *which: str) -> list[str]:
    """Return the numbers of the jobs, or with ``--steps`` the steps, of a name."""
    said = _said(["squeue", "--noheader", *which, f"--name={name}", "--format=%i"])
    return [word for word in said.split() if _NUMBER.fullmatch(word)]


def _said(command: Sequence[str]) -> str:
    """Return what one of Slurm's programs prints; nothing where it is absent or gets no answer in time."""
    try:
        return processes.run(command, timeout_s=SAYS_S, at_the_end=True).stdout
    except LaunchError:
        return ""
