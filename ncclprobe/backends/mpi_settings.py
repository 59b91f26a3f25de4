"""What fresh ranks of an MPI library have in force of variables that were set in their environment."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ncclprobe.backends.mpi import giving_way
from ncclprobe.backends.mpi_names import MPICH_START, OPEN_MPI_START
from ncclprobe.errors import LaunchError
from ncclprobe.launchers import make_launcher
from ncclprobe.launchers.base import python_job
from ncclprobe.launchers.run import START_TIMEOUT_S, run_ranks
from ncclprobe.records.base import Record
from ncclprobe.records.check import CheckedVariable

RANK = "ncclprobe.backends.mpi_settings_rank"
PREFIXES = ("MPIR_CVAR_", "OMPI_MCA_")
"""Of variables that MPI libraries read."""


class SeenVariable(Record, frozen=True, kw_only=True):
    """A control variable as a rank reads it."""

    value: int
    """In force."""
    choices: dict[str, int]
    """Names of its values; right in ranks that were started without a choice (``mpit``)."""


class SeenVariables(Record, frozen=True, kw_only=True):
    """What ranks read."""

    library: str
    """With its version."""
    ranks: tuple[dict[str, SeenVariable], ...]
    """By the library's name, a rank each; those that it does not have are left out."""


class MpiSettings(Record, frozen=True, kw_only=True):
    """How ranks are started."""

    nranks: int
    """Ranks."""
    launcher: str = "local"
    """Starts them."""
    hosts: tuple[str, ...] = ()
    """Where; empty for this one."""

    def checked(self, env: Mapping[str, str]) -> tuple[str, tuple[CheckedVariable, ...]]:
        """Return the library, and which variables are in force in fresh ranks that have them in their environment.

        Raises:
            LaunchError: The ranks could not be started or died.
        """
        names = {name: library_variable(name) for name in env if name.startswith(PREFIXES)}
        plain = self._seen(tuple(names.values()), dict((*MPICH_START, *OPEN_MPI_START)))
        there = self._seen(tuple(names.values()), dict(env))
        numbers = {name: plain.ranks[0][own].choices for name, own in names.items() if own in plain.ranks[0]}
        checked = (
            compared(name, env[name], [rank.get(own) for rank in there.ranks], numbers.get(name, {}))
            for name, own in names.items()
        )
        return there.library, tuple(checked)

    def _seen(self, names: tuple[str, ...], env: dict[str, str]) -> SeenVariables:
        everything = dict(giving_way(self.nranks, self.launcher)) | env
        job = python_job(RANK, names, nranks=self.nranks, hosts=self.hosts, env=tuple(everything.items()))
        for line in run_ranks(job, make_launcher(self.launcher), timeout_s=START_TIMEOUT_S):
            return msgspec.json.decode(line, type=SeenVariables)
        raise LaunchError("the ranks ended without a word; try `mpiexec -n 1 python -m mpi4py --mpi-library`")


def library_variable(name: str) -> str:
    """Return the library's own name of a variable: Open MPI's environment has a prefix.

    Source: Open MPI 4.1, FAQ, "How do I set the value of MCA parameters?"
    """
    return name.removeprefix("OMPI_MCA_")


def compared(name: str, value: str, seen: list[SeenVariable | None], numbers: Mapping[str, int]) -> CheckedVariable:
    """Return whether ranks have a value in force.

    Args:
        name: The variable's.
        value: As it was set: a choice's name, or a number.
        seen: What each rank reads, None where its library has no such variable.
        numbers: The choices' numbers.
    """
    words = {number: word for word, number in numbers.items()}
    shown = tuple(None if one is None else words.get(one.value, str(one.value)) for one in seen)
    return CheckedVariable(name=name, value=value, seen=shown, in_force=all(word == value for word in shown))
