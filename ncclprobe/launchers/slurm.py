"""What Slurm itself is asked and told, beside srun: which hosts it hears nothing of, and that a killed srun is gone.

srun gives its allocation and its step back when it ends by itself. Where a host is silent it waits for that host, and
killed it gives nothing back: Slurm keeps the hosts allocated, for good unless the site has set InactiveLimit.

Source: Slurm 22.05, slurm.conf(5), InactiveLimit; srun(1), --job-name; squeue(1); scancel(1); sinfo(1)
"""

from __future__ import annotations

import functools
import os
import re
import secrets
import time
from collections.abc import Callable, Sequence

from ncclprobe import processes
from ncclprobe.errors import LaunchError, MissingDependencyError

SAYS_S = 5.0
"""What Slurm's controller may take for an answer."""
QUEUE_PATIENCE = 4.0
"""A host for which the scheduler queues a question is asked a second time, with so many times the limit."""
QUEUED = "the scheduler did not let a process start on it"
POLL_S = 0.5
"""Between two looks at a host's state."""
REGISTERS_S = 3.0
"""What a host may take to be heard of that was drained and has been given back."""
UNHEARD = "*"
"""How states end of hosts that Slurm hears nothing of."""
_QUEUED = re.compile(r"queued and waiting for resources|step creation temporarily disabled", re.IGNORECASE)
"""What srun says of hosts that are not free for it. Source: Slurm 22.05 and 23.11, srun"""
_NUMBER = re.compile(r"[0-9]+(?:_[0-9]+)?(?:\.[0-9]+)?")
"""Of a job or a step, of an array's task too; steps that Slurm makes for itself, ``3.extern``, end with their jobs."""
_UNUSABLE = ("down", "drain", "fail", "inval", "maint")
"""How states of hosts begin on which nothing new is started."""


def is_queued(said: str) -> bool:
    """Return whether srun says that Slurm keeps it waiting for its hosts."""
    return _QUEUED.search(said) is not None


def hindrance(host: str, limit_s: float) -> str:
    """Return why Slurm would start nothing on a host outside of an allocation; empty where it would, or says nothing.

    A host that it clears of its last job is waited for. Asked for such a host, srun would queue, and what is asked for
    other hosts after that queues behind it.

    Args:
        host: Its name.
        limit_s: How long it may take to clear it. Where it takes longer, what is returned begins with ``QUEUED``.
    """
    begin = time.monotonic()
    while state := _state(host):
        waited_s, unheard = time.monotonic() - begin, state.endswith(UNHEARD)
        if state.startswith(_UNUSABLE) or (unheard and waited_s >= min(REGISTERS_S, limit_s)):
            return f"Slurm has it {state.rstrip(UNHEARD)}{' and hears nothing of it' * unheard}"
        if not unheard and not state.startswith("completing"):
            break
        if waited_s >= limit_s:
            return f"{QUEUED}: Slurm has it completing"
        time.sleep(POLL_S)
    return ""


def hindrance_to(launcher: str, host: str, limit_s: float) -> str:
    """Return ``hindrance`` where a launcher would need an allocation of its own to start something; empty else."""
    return hindrance(host, limit_s) if launcher == "srun" and not is_inside() else ""


def _state(host: str) -> str:
    """Return a host's state as sinfo shows it, empty where there is no answer."""
    states = (_said(["sinfo", "--noheader", f"--nodes={host}", "--format=%T"]) or "").split()
    return states[0] if states else ""


def is_inside() -> bool:
    """Return whether this process is in an allocation, whose hosts need not be waited for."""
    return "SLURM_JOB_ID" in os.environ


def beside(launcher: str, name: str) -> dict[str, str]:
    """Return variables with which srun starts on the hosts of a job of that name, at once; none with other launchers.

    Source: Slurm 22.05, srun(1), INPUT ENVIRONMENT VARIABLES
    """
    if launcher != "srun" or is_inside():
        return {}
    numbers = _numbers(name, at_the_end=False) or []
    return {"SLURM_JOB_ID": numbers[0], "SLURM_OVERLAP": "1", "SLURM_OVERCOMMIT": "1"} if numbers else {}


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
    jobs = _numbers(name)
    steps = [] if jobs is None else _numbers(name, "--steps")
    if numbers := [*(jobs or []), *(steps or [])]:
        _said(["scancel", *numbers], at_the_end=True)


def _numbers(name: str, *which: str, at_the_end: bool = True) -> list[str] | None:
    """Return the numbers of the jobs, or with ``--steps`` the steps, of a name; None where there is no answer.

    The names are looked at here: of steps, squeue shows all whatever name it is asked for.

    Source: Slurm 22.05, src/squeue/print.c
    """
    said = _said(["squeue", "--noheader", *which, f"--name={name}", "--format=%i %j"], at_the_end=at_the_end)
    if said is None:
        return None
    pairs = (line.strip().partition(" ") for line in said.splitlines())
    return [number for number, _, shown in pairs if shown.strip() == name and _NUMBER.fullmatch(number)]


def _said(command: Sequence[str], *, at_the_end: bool = False) -> str | None:
    """Return what one of Slurm's programs prints; None where it is absent, fails, or gets no answer in time."""
    try:
        ended = processes.run(command, timeout_s=SAYS_S, at_the_end=at_the_end)
    except (LaunchError, MissingDependencyError):
        return None
    return None if ended.returncode else ended.stdout
