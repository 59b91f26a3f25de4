"""The seam between what runs on ranks and what starts them."""

from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import Iterable, Sequence
from typing import Protocol

import ncclprobe
from ncclprobe.errors import UsageError
from ncclprobe.nodesets import fold
from ncclprobe.records.base import Record


class Job(Record, frozen=True, kw_only=True):
    """A program and the ranks to run it on."""

    program: tuple[str, ...]
    """Tokens, the same on every rank."""
    nranks: int
    """Ranks to start."""
    hosts: tuple[str, ...] = ()
    """Hosts to start them on; empty for this one, or for all that the scheduler's allocation has."""
    ranks_per_host: int | None = None
    """Consecutive ranks on one host; None spreads the ranks evenly over the hosts."""
    env: tuple[tuple[str, str], ...] = ()
    """Variables of the ranks, on every host, beyond the inherited ones; they may stand in command lines."""
    inherited: tuple[tuple[str, str], ...] = ()
    """Further ones that no command line shows: the launcher has them, and hands its environment on."""

    name: str = ""
    """By which a scheduler's users see it, and by which what a killed launcher leaves there is found."""

    @property
    def per_host(self) -> int:
        """Return how many ranks a host gets: ``ranks_per_host``, else an even share rounded up."""
        return self.ranks_per_host or -(-self.nranks // max(1, len(self.hosts)))


class Launcher(Protocol):
    """Turns a job into one command that starts all its ranks and ends with them."""

    name: str

    def command(self, job: Job) -> list[str]:
        """Return the command's tokens. Nothing is started and nothing looked up.

        Raises:
            UsageError: The launcher cannot do what the job asks.
        """
        ...

    def environment(self, job: Job) -> dict[str, str]:
        """Return variables that the command itself needs, beyond the inherited ones."""
        ...


def python_job(
    module: str,
    arguments: Iterable[str] = (),
    *,
    nranks: int,
    hosts: tuple[str, ...] = (),
    ranks_per_host: int | None = None,
    env: tuple[tuple[str, str], ...] = (),
) -> Job:
    """Return the job that runs ``python -m MODULE`` with this very Python and this very ncclprobe.

    The package's directory goes first on PYTHONPATH, so that ranks find it where it was not installed, and the ranks'
    numpy keeps to one thread each: they are as many as the cores.
    """
    root = str(pathlib.Path(ncclprobe.__file__).resolve().parent.parent)
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    return Job(
        program=(sys.executable, "-m", module, *arguments),
        nranks=nranks,
        hosts=hosts,
        ranks_per_host=ranks_per_host,
        env=(("PYTHONPATH", path), ("OPENBLAS_NUM_THREADS", "1"), ("OMP_NUM_THREADS", "1"), *env),
    )


def refuse_strangers(job: Job, given: Sequence[str], scheduler: str) -> None:
    """Return if the scheduler gave its job every host that ours names.

    Raises:
        UsageError: It did not: a name is wrong, or a run goes on that began in another job.
    """
    if strangers := [host for host in job.hosts if host not in given]:
        raise UsageError(
            f"{strangers[0]} is not among this {scheduler} job's hosts: {fold(given)}; name some of these with --hosts,"
            " and go on with a run in a job that has the run's hosts"
        )
