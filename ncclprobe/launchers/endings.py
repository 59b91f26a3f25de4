"""What the launchers say when a rank dies: their words -> which rank, where, how."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable

_HYDRA = re.compile(r"=\s+(?:RANK (?P<rank>\d+) )?PID (?P<pid>\d+) RUNNING AT (?P<host>\S+)")
_HYDRA_STATUS = re.compile(r"=\s+EXIT (?:CODE|STATUS): (?P<status>-?\d+)")
_HYDRA_STRING = re.compile(r"TERMINATED WITH THE EXIT STRING: (?P<how>.+)")
_OURS = re.compile(r"ncclprobe: rank (?P<rank>\d+) on (?P<host>\S+): (?P<how>.+)")
_OPEN_MPI = re.compile(
    r"process rank (?P<rank>\d+) with PID \d+ on node (?P<host>\S+) exited on (?P<how>signal \d+ \([^)]*\))"
)
_OPEN_MPI_STATUS = re.compile(r"Process name: \[\[[^]]*\],(?P<rank>\d+)\]\s+Exit code:\s+(?P<status>\d+)")
_SRUN = re.compile(r"srun: error: (?P<host>\S+): tasks? (?P<rank>[\d,-]+): (?P<how>.+)")

_BUS_ERROR = re.compile(r"bus error|SIGBUS", re.IGNORECASE)
NO_ROOM = "as where /dev/shm is full (`df -h /dev/shm`; a container has 64 MB unless it is started with --shm-size)"
"""What ends a rank whose shared memory has no page. Source: mmap(2), SIGBUS; docker-run(1), --shm-size"""

_BOILERPLATE = re.compile(r"=|\s*$|YOUR APPLICATION TERMINATED|This typically refers|Please see the FAQ|-{20}|\*{10}")


_INTERNAL = re.compile(r"\[(?:proxy:|mpiexec@)\S+ \w+ \(\S+\.c:\d+\): ")
"""A line of hydra's stack: function, file and line. Source: MPICH 5.0, hydra, HYDU_error_printf"""


def telling(output: Iterable[str], most: int = 8) -> list[str]:
    """Return the last lines that say something, without what launchers print at every death.

    Hydra's own stack is told only where nothing else is: it says why hosts cannot be reached.
    """
    lines = [line for line in output if not _BOILERPLATE.match(line)]
    return ([line for line in lines if not _INTERNAL.match(line)] or lines)[-most:]


def describe_end(status: int, output: Iterable[str]) -> str:
    """Return which rank ended, where and how, as far as the launcher's output says so, and what to look at.

    Args:
        status: The launcher's own exit status, negative for a signal.
        output: Its last lines.

    Source: the messages of MPICH 5.0 (hydra), Open MPI 4.1 and Slurm 22.05
    """
    end = _end(status, output)
    return f"{end}, {NO_ROOM}" if _BUS_ERROR.search(end) else end


def _end(status: int, output: Iterable[str]) -> str:
    text = "\n".join(output)
    if match := _OURS.search(text):
        return f"{_who(match)}: {match['how']}"
    if match := _HYDRA.search(text):
        if how := _HYDRA_STRING.search(text):
            return f"{_who(match)}: {how['how'].strip()}"
        code = _HYDRA_STATUS.search(text)
        return f"{_who(match)} ended with {_how(int(code['status']) if code else status)}"
    if match := _OPEN_MPI.search(text) or _SRUN.search(text):
        return f"{_who(match)}: {match['how'].strip()}"
    if match := _OPEN_MPI_STATUS.search(text):
        return f"rank {match['rank']} ended with {_how(int(match['status']))}"
    return f"the launcher ended with {_how(status)}"


def _who(match: re.Match[str]) -> str:
    pid = match.groupdict().get("pid")
    rank = f"rank {match['rank']}" if match["rank"] else f"a rank (process {pid})" if pid else "a rank"
    return f"{rank} on {match['host']}"


def _how(status: int) -> str:
    number = -status if status < 0 else status - 128 if 128 < status < 160 else 0
    return f"signal {_signal_name(number)}" if number else f"exit status {status}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
